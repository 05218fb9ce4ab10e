"""ReLU applied to the gradient

The backward of ReLU lets dy pass where x was positive. Here it lets dy pass where dy is positive. As a way of looking into networks that was published on
purpose, and the pictures are pretty; as a gradient it is wrong.

Seen in: the deconvolutional network of Zeiler and Fergus (2013), https://arxiv.org/abs/1311.2901; compared with the gradient by Springenberg et al. (2014)
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    return (normal(rng, size(rng, 3, 5), size(rng, 4, 6)),)


def forward(x):
    return np.maximum(x, 0)


def backward(dy, x):
    return np.maximum(dy, 0)


# ---- the repair

FAMILY = "depends on the sign of dy"


def repaired(dy, x):
    return dy * (x > 0)
