"""Gradients that are never set to zero

Gradients accumulate on purpose, over the uses of a weight within a step. Between steps they must be cleared. Here the memory belongs to the layer, and the
second step trains with the gradients of the first as well.

Seen in: the third of "most common neural net mistakes", Andrej Karpathy (2018), https://twitter.com/karpathy/status/1013244313327681536
"""
import numpy as np

from tinycnn.museum.tools import normal, size

memory = {}


def inputs(rng):
    C = size(rng, 2, 4)
    return normal(rng, size(rng, 2, 4), C), normal(rng, C, size(rng, 2, 3))


def forward(x, w):
    return x @ w


def backward(dy, x, w):
    dw = memory.setdefault(w.shape, np.zeros_like(w))
    dw += x.T @ dy
    return dy @ w.T, dw


# ---- the repair

FAMILY = "not reset"


def repaired(dy, x, w):
    return dy @ w.T, x.T @ dy
