"""Layers: operations together with their parameters. Names, arguments and defaults are those of torch.nn."""
from . import functional, init
from .activation import LogSoftmax, ReLU, ScaledTanh, Sigmoid, Softmax, Tanh
from .containers import ModuleDict, ModuleList, Sequential
from .conv import Conv2d, ConvTranspose2d
from .dropout import Dropout, Dropout2d
from .fold import Fold, Unfold
from .linear import Flatten, Identity, Linear, Unflatten
from .loss import CrossEntropyLoss, MSELoss, NLLLoss
from .module import Module
from .norm import BatchNorm1d, BatchNorm2d, LocalResponseNorm
from .padding import ConstantPad2d, ZeroPad2d
from .parameter import Parameter
from .pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, MaxPool2d

__all__ = ["AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "AvgPool2d", "BatchNorm1d", "BatchNorm2d", "ConstantPad2d", "Conv2d", "ConvTranspose2d", "CrossEntropyLoss",
           "Dropout", "Dropout2d", "Flatten", "Fold", "Identity", "Linear", "LocalResponseNorm", "LogSoftmax", "MSELoss", "MaxPool2d", "Module", "ModuleDict",
           "ModuleList", "NLLLoss", "Parameter", "ReLU", "ScaledTanh", "Sequential", "Sigmoid", "Softmax", "Tanh", "Unflatten", "Unfold", "ZeroPad2d",
           "functional", "init"]
