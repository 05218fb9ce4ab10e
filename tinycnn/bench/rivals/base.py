"""What a contestant is."""
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from ..machine import version


class Unsupported(Exception):
    """What this contestant cannot do, and why. It is left out and the reason is shown."""


class Place(NamedTuple):
    """Where and how everybody computes. math, on a GPU: "fp32", or "tf32" where factors may be rounded to 10 bits. cold: inputs are not in the GPU's cache."""

    device: str = "cpu"
    math: str = ""
    cold: bool = False


class Contestant:
    """A library in one of its settings, on so many threads, at a Place.

    conv, inference and training prepare everything that a user of the library would prepare once (layouts, sessions, compilation) and return functions without
    arguments, which are timed. Results come as the library has them; `array` turns them into NumPy's, outside the time.
    """

    library = ""  # its name in the table
    package = ""  # whose version counts
    levels = ()  # of "conv", "operation", "layer", "inference", "training"; who does networks does layers too
    settings = {"default": ""}  # name: what it means

    def __init__(self, setting, threads, place=Place()):  # noqa: B008  it cannot be changed
        self.setting, self.threads, self.place = setting, threads, place

    @classmethod
    def takes_part(cls, level):
        return level in cls.levels or (level == "layer" and "inference" in cls.levels)

    @classmethod
    def settings_of(cls, level):
        """Names of the settings that are worth measuring at this level."""
        return tuple(cls.settings)

    @property
    def name(self):
        return self.library if len(self.settings) == 1 else f"{self.library} {self.setting}"

    def details(self):
        """What is recorded beside its figures."""
        return {"version": version(self.package), "threads": self.threads, "setting": self.setting, "means": self.settings[self.setting]}

    @contextmanager
    def running(self):
        """The state that the process must be in while this contestant runs."""
        yield

    def conv(self, layer, x, w, bias, dy):
        """{form: function} for the forms that it can do, of the arrays x, w, bias (or None) and dy of a layers.Layer."""
        raise Unsupported("no convolution")

    def operation(self, name, arrays):
        """A function that gives the tuple of results of one of operations.OPERATIONS for these arrays."""
        raise Unsupported(f"no {name}")

    def inference(self, model, graph, x):
        """A function that gives the scores of the images x. model: ours; graph: what it does (graph.Graph)."""
        raise Unsupported("no inference")

    def training(self, model, graph, x, target):
        """A TrainingStep."""
        raise Unsupported("no training")

    def layer(self, model, graph, x, dy):
        """A function that runs a single layer in training mode, forward and backward from dy, and gives the gradients of x and of the weights."""
        raise Unsupported("no training")

    def array(self, result):
        """A result as a NumPy array (N, C, H, W) or (N, C)."""
        return np.asarray(result)


class TrainingStep:
    """One step of training: call it to take the step.

    The learning rate is 0, which saves no work but lets every step see the same weights, so that gradients can be checked at any time.
    """

    LR, MOMENTUM, WEIGHT_DECAY, AUXILIARY = 0.0, 0.9, 5e-4, 0.3

    def __call__(self):
        raise NotImplementedError

    def dropout(self, on):
        """Switch dropout on (as in training) or off: each library draws numbers of its own, so gradients can only be compared without."""
        raise NotImplementedError

    def gradients(self):
        """(loss, {name of a parameter: its gradient}) of the last step, as NumPy has them."""
        raise NotImplementedError
