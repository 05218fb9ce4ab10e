"""Unfolding on the CPU: im2col and col2im of the reference, a channel of an image at a time, in parallel.

Threads share out the channels: those of the columns and those of the image are the same, so folding too is written by one thread per element.  Memory is the bound:
R*S elements are written for each one read, at 0.1 to 0.3 ns each per core (kernels/unfold/tile.py).
"""
import numpy as np
from numba import prange

from ..runtime import contiguous, jit, zeros
from .tile import fold_tile, unfold_tile


def im2col(x, window):
    """columns (N, C*R*S, P*Q) from x (N, C, H, W)."""
    N, C, H, W = x.shape
    P, Q = window.positions((H, W))
    columns = np.empty((N, C * window.size[0] * window.size[1], P * Q), x.dtype)
    _unfold(contiguous(x).reshape(-1), N * C, (H, W), (P, Q), window.size, window.stride, window.padding, window.dilation, columns.reshape(-1))
    return columns


def col2im(columns, x_shape, window):
    """x (N, C, H, W) from columns (N, C*R*S, P*Q): each element is the sum of its copies, zero where no window came."""
    N, C, H, W = x_shape
    P, Q = window.positions((H, W))
    x = zeros(x_shape, columns.dtype)
    _fold(contiguous(columns).reshape(-1), N * C, (H, W), (P, Q), window.size, window.stride, window.padding, window.dilation, x.reshape(-1))
    return x


@jit(parallel=True)
def _unfold(x, channels, image, positions, size, stride, padding, dilation, columns):
    taps, PQ = size[0] * size[1], positions[0] * positions[1]
    for c in prange(channels):
        unfold_tile(x, c * image[0] * image[1], image, positions[1], size[1], stride, padding, dilation, 1, (0, taps), 0, PQ, columns, c * taps * PQ, PQ)


@jit(parallel=True)
def _fold(columns, channels, image, positions, size, stride, padding, dilation, x):
    taps, PQ = size[0] * size[1], positions[0] * positions[1]
    for c in prange(channels):
        fold_tile(columns, c * taps * PQ, PQ, image, positions[1], size[1], stride, padding, dilation, 1, (0, taps), 0, PQ, x, c * image[0] * image[1])
