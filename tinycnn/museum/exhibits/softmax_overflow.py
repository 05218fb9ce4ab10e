"""Softmax without the shift

exp(x) is infinite from x = 710 on. The forward subtracts the largest x, which changes nothing but the range. The backward computes the probabilities again,
without.

Seen in: manassharma07/crysx_nn, issue 7 (2022), https://github.com/manassharma07/crysx_nn/issues/7 (the maximum of the wrong axis), and every softmax written
for the first time
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    return (normal(rng, size(rng, 2, 4), size(rng, 3, 6)) + 800,)


def forward(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def backward(dy, x):
    with np.errstate(all="ignore"):
        y = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    return y * (dy - (dy * y).sum(1, keepdims=True))


# ---- the repair

FAMILY = "not finite"


def repaired(dy, x):
    y = forward(x)
    return y * (dy - (dy * y).sum(1, keepdims=True))
