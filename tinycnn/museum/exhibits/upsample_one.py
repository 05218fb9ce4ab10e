"""Upsampling whose gradient takes one pixel of four

Nearest-neighbour upsampling copies every pixel s * s times, so its gradient is the sum over the copies. Downsampling dy instead takes only the first of them:
it looks like the inverse of the forward, and the inverse is not the gradient.

A classic; compare davisking/dlib, pull request 336 (2017), where the sum is argued about
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    return normal(rng, size(rng, 1, 2), size(rng, 1, 2), size(rng, 2, 3), size(rng, 2, 4)), size(rng, 2, 3)


def forward(x, s):
    return np.repeat(np.repeat(x, s, 2), s, 3)


def backward(dy, x, s):
    return dy[:, :, ::s, ::s]


# ---- the repair

FAMILY = "overwritten"


def repaired(dy, x, s):
    N, C, H, W = x.shape
    return dy.reshape(N, C, H, s, W, s).sum((3, 5))
