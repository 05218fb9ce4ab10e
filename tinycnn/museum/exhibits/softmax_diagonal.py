"""Softmax as if it were a sigmoid

dy[i]/dx[j] = y[i] * ([i = j] - y[j]): every output depends on every input. y * (1 - y) is the diagonal alone, what a sigmoid would have.

Seen in: libnd4j, issue 440 (2017), https://github.com/deeplearning4j/libnd4j/issues/440
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    return (normal(rng, size(rng, 1, 4), size(rng, 3, 6)),)


def forward(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def backward(dy, x):
    y = forward(x)
    return dy * y * (1 - y)


# ---- the repair

FAMILY = "missing term"


def repaired(dy, x):
    y = forward(x)
    return y * (dy - (dy * y).sum(1, keepdims=True))
