"""Optimisers, and schedules for their learning rates. Names, arguments and state dicts are those of torch.optim."""
from . import lr_scheduler
from .optimizer import Optimizer
from .optimizers import SGD, Adam, AdamW, RMSprop

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler"]
