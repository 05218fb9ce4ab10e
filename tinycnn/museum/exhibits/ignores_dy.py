"""A layer that does not listen

The derivative of the activation is right, but it is not multiplied by what arrives. As the last layer before a plain sum, where dy is one everywhere, it is
even right.

Seen in: DiffSharp, issue 16 (2015), https://github.com/DiffSharp/DiffSharp/issues/16: "there should be an `at` in there somewhere"
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    return (normal(rng, size(rng, 2, 4), size(rng, 2, 5)),)


def forward(x):
    return 1 / (1 + np.exp(-x))


def backward(dy, x):
    y = forward(x)
    return y * (1 - y)


# ---- the repair

FAMILY = "ignores dy"


def repaired(dy, x):
    y = forward(x)
    return dy * y * (1 - y)
