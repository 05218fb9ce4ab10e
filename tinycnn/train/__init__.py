"""Training: from a network's name to a trained network.

    from tinycnn.train import begin, configure, resume

    trainer = begin(configure("lenet5", epochs=3), "runs/mine")
    score = trainer.run()
    resume("runs/mine").run()                   after Ctrl-C, a crash, a power cut

recipes.py says how, build.py makes the objects, run.py gives them a folder, trainer.py is the loop.
"""
from .build import configure, make_model, make_trainer
from .captured import CapturedGradients, compute_gradients
from .checkpoint import CheckpointError
from .diagnose import NotFiniteError
from .interrupt import Interrupted
from .run import begin, resume
from .trainer import Trainer

__all__ = ["CapturedGradients", "CheckpointError", "Interrupted", "NotFiniteError", "Trainer", "begin", "compute_gradients", "configure", "make_model",
           "make_trainer", "resume"]
