"""A shortcut whose gradient is overwritten

y = x + f(x): x is used twice and gets two gradients, which are added. Here the layer inside clears the memory of dx before it writes its own, and what the
shortcut had put there is gone.

Seen in: AlexeyAB/darknet, issue 7320 (2021), https://github.com/AlexeyAB/darknet/issues/7320; asked about in pjreddie/darknet, issue 1229 (2018)
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    n = size(rng, 3, 5)
    return normal(rng, size(rng, 2, 4), n), normal(rng, n, n)


def forward(x, w):
    return x + np.tanh(x @ w)


def backward(dy, x, w):
    inner = dy * (1 - np.tanh(x @ w) ** 2)
    dx = dy.copy()
    dx[...] = inner @ w.T
    return dx, x.T @ inner


# ---- the repair

FAMILY = "missing path"


def repaired(dy, x, w):
    inner = dy * (1 - np.tanh(x @ w) ** 2)
    dx = dy.copy()
    dx += inner @ w.T
    return dx, x.T @ inner
