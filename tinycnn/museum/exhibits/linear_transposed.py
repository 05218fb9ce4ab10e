"""A weight matrix that was not transposed

y = x @ w, so dx = dy @ w.T. In a hidden layer as wide as the one before, w is square, and dy @ w has the right shape too.

A classic: the shapes agree, so nothing complains
"""
from tinycnn.museum.tools import normal, size


def inputs(rng):
    C = size(rng, 2, 5)
    return normal(rng, size(rng, 1, 4), C), normal(rng, C, C)


def forward(x, w):
    return x @ w


def backward(dy, x, w):
    return dy @ w, x.T @ dy


# ---- the repair

FAMILY = "transposed"


def repaired(dy, x, w):
    return dy @ w.T, x.T @ dy
