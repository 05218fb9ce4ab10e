"""ReLU6 that is only half a clamp

ReLU6 is min(max(x, 0), 6): constant below 0 and above 6, so its gradient is zero on both sides. The mask of the plain ReLU was kept.

A classic; a clip layer for Caffe, pull request 3791 (2016), could not be merged as its gradient did not pass the check (at the bounds)
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    return (4 + 4 * normal(rng, size(rng, 4, 6), size(rng, 6, 8)),)


def forward(x):
    return np.clip(x, 0, 6)


def backward(dy, x):
    return dy * (x > 0)


# ---- the repair

FAMILY = "mask"


def repaired(dy, x):
    return dy * ((x > 0) & (x < 6))
