"""A leaky ReLU judged by its output

In place, only y is left for the backward, and y > 0 says that x was positive: for slopes of at least 0. With a negative slope a negative x gives a positive y,
and the mask is wrong there. PyTorch now refuses.

Seen in: PyTorch, issue 31938 and pull request 33639 (2020), https://github.com/pytorch/pytorch/pull/33639
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    return normal(rng, size(rng, 3, 5), size(rng, 5, 7)), -0.3


def forward(x, slope):
    return np.where(x > 0, x, slope * x)


def backward(dy, x, slope):
    y = forward(x, slope)
    return dy * np.where(y > 0, 1, slope)


# ---- the repair

FAMILY = "mask"


def repaired(dy, x, slope):
    return dy * np.where(x > 0, 1, slope)
