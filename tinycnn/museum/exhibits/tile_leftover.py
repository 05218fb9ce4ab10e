"""A kernel for multiples of its tile

A loop over tiles of eight is fast, and 8 * (n // 8) elements are done when it ends. The rest was to follow.

Seen in: hand-written kernels everywhere; for instance OpenVINO, pull request 8527 (2021), https://github.com/openvinotoolkit/openvino/pull/8527 (features not a
multiple of 16)
"""
import numpy as np

from tinycnn.museum.tools import normal, size

TILE = 8


def inputs(rng):
    return (normal(rng, size(rng, 3, 5), 2 * TILE + size(rng, 2, TILE - 1)),)


def forward(x):
    return np.tanh(x)


def backward(dy, x):
    dx = np.zeros_like(x)
    for first in range(0, x.shape[1] - TILE + 1, TILE):
        tile = slice(first, first + TILE)
        dx[:, tile] = dy[:, tile] * (1 - np.tanh(x[:, tile]) ** 2)
    return dx


# ---- the repair

FAMILY = "leftover rows"


def repaired(dy, x):
    dx = np.zeros_like(x)
    for first in range(0, x.shape[1], TILE):
        tile = slice(first, first + TILE)
        dx[:, tile] = dy[:, tile] * (1 - np.tanh(x[:, tile]) ** 2)
    return dx
