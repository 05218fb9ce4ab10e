"""Max pooling padded with zeros

Padding for a maximum is minus infinity: whatever is there must never win. The forward here knows that. The backward looks for the winners again, in an image
padded with zeros; where a window at the border holds only negative numbers, a zero wins, and the gradient goes into the padding and is cut off.

Seen in: the documentation of PyTorch's max pooling, which long promised zero padding, issue 33384 (2020), https://github.com/pytorch/pytorch/issues/33384, and
those who believed it
"""
import numpy as np

from tinycnn.museum.tools import normal, pad, size


def inputs(rng):
    return normal(rng, size(rng, 1, 2), 1, size(rng, 10, 12), size(rng, 10, 12)) - 2.0, 3, 1


def windows(padded, R):
    """(N, C, P, Q, R, R)"""
    return np.lib.stride_tricks.sliding_window_view(padded, (R, R), (2, 3))


def forward(x, R, padding):
    return windows(pad(x, padding, -np.inf), R).max((4, 5))


def backward(dy, x, R, padding):
    seen = windows(pad(x, padding), R)
    r, s = np.unravel_index(seen.reshape(*dy.shape, R * R).argmax(-1), (R, R))  # the winner's place in its window
    n, c, p, q = np.indices(dy.shape)
    dx = np.zeros_like(pad(x, padding))
    np.add.at(dx, (n, c, p + r, q + s), dy)
    H, W = x.shape[2:]
    return dx[:, :, padding:padding + H, padding:padding + W]


# ---- the repair

FAMILY = "borders"


def repaired(dy, x, R, padding):
    seen = windows(pad(x, padding, -np.inf), R)
    r, s = np.unravel_index(seen.reshape(*dy.shape, R * R).argmax(-1), (R, R))  # the winner's place in its window
    n, c, p, q = np.indices(dy.shape)
    dx = np.zeros_like(pad(x, padding))
    np.add.at(dx, (n, c, p + r, q + s), dy)
    H, W = x.shape[2:]
    return dx[:, :, padding:padding + H, padding:padding + W]
