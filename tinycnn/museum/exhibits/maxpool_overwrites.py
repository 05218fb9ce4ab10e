"""Max pooling that overwrites

Where windows overlap (AlexNet's 3 x 3 windows, 2 apart) one element may win several of them, and its gradient is the sum of theirs. With = for += the last
window takes all. With windows side by side nothing shows.

Seen in: FluxML/NNlib.jl, issue 205 (2020), https://github.com/FluxML/NNlib.jl/issues/205; 0809zheng/CS231n-assignment2019, issue 19 (2020)
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    return normal(rng, size(rng, 1, 2), 1, size(rng, 9, 11), size(rng, 9, 11)), 3, size(rng, 1, 2)


def windows(x, R, stride):
    """(N, C, P, Q, R, R)"""
    return np.lib.stride_tricks.sliding_window_view(x, (R, R), (2, 3))[:, :, ::stride, ::stride]


def forward(x, R, stride):
    return windows(x, R, stride).max((4, 5))


def backward(dy, x, R, stride):
    seen = windows(x, R, stride)
    r, s = np.unravel_index(seen.reshape(*dy.shape, R * R).argmax(-1), (R, R))  # the winner's place in its window
    n, c, p, q = np.indices(dy.shape)
    dx = np.zeros_like(x)
    dx[n, c, p * stride + r, q * stride + s] = dy
    return dx


# ---- the repair

FAMILY = "overwritten"


def repaired(dy, x, R, stride):
    seen = windows(x, R, stride)
    r, s = np.unravel_index(seen.reshape(*dy.shape, R * R).argmax(-1), (R, R))  # the winner's place in its window
    n, c, p, q = np.indices(dy.shape)
    dx = np.zeros_like(x)
    np.add.at(dx, (n, c, p * stride + r, q * stride + s), dy)
    return dx
