"""A gradient that arrives by addition

By the chain rule dx = dy - softmax(x) * sum(dy): linear in dy, like every gradient. Here dy was added where it should have been multiplied, and what comes out
is not even zero for dy = 0.

Seen in: mlpack, issue 2360 (2020), https://github.com/mlpack/mlpack/issues/2360
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    return (normal(rng, size(rng, 1, 4), size(rng, 2, 6)),)


def forward(x):
    shifted = x - x.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def backward(dy, x):
    return dy + np.exp(forward(x))


# ---- the repair

FAMILY = "not linear in dy"


def repaired(dy, x):
    return dy - np.exp(forward(x)) * dy.sum(1, keepdims=True)
