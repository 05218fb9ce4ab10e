"""Dropout that scales one way only

Inverted dropout divides what it keeps by 1 - p, so that the mean stays; its gradient is divided by the same. Here the mask alone was kept for the backward.

A classic of dropout layers that were once scaled at test time instead (Srivastava et al. 2014), and were changed in the forward only
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    return normal(rng, size(rng, 3, 5), size(rng, 4, 6)), 0.3


CACHE = True  # forward returns (y, what the backward needs), backward gets (dy, that)


def forward(x, p):
    mask = np.random.random(x.shape) >= p
    return x * mask / (1 - p), (mask, p)


def backward(dy, cache):
    mask, _ = cache
    return dy * mask


# ---- the repair

FAMILY = "factor"


def repaired(dy, cache):
    mask, p = cache
    return dy * mask / (1 - p)
