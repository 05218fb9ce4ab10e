"""Pooling on the CPU, parallel over the planes (n, c): a plane's overlapping windows add up in one thread, always in the same order.

Maximum: a table says for each tap of the window which element of the plane every window has under it. A tap's elements are gathered first and compared after,

    candidate[o] = x[seen[tap, o]]                                     a scalar load and store, but no decision
    y[o], index[o] = the larger of (y[o], candidate[o])                contiguous: vector instructions

so that no branch depends on the data; one loop with a comparison for each element of each window mispredicts its way through (measured: 4x the time).
The backward pass scatters along the indices.

Average: the rows under a row of windows are added first (contiguous), then the columns of that one row; the backward pass goes the other way.

Napkin (float32, AlexNet's 3x3 windows 2 apart on 55x55, per plane): max_forward reads 12 KB and writes 3 KB of maxima and 6 KB of indices; max_backward reads those
9 KB and writes 12 KB; averages move 15 KB either way. The gathers, 9 for each output, take longer than that: they, not memory, bound max_forward.

Measured (that layer, batch 16, CPU time on one thread of an AMD EPYC with AVX-512, PyTorch 2.13 on the same layout in brackets): max_forward 7.4 ms (35), its
backward 1.9 (1.6), average 6.2 (9.9), its backward 7.5 (10.3), a copy of x 0.9. On channels-last memory, where channels are the vector lanes and nothing needs to
be gathered, PyTorch's maximum takes 2.1. Averages of whole small planes (ResNet's last layer, 7x7) are mostly overhead: 66 ns a plane, 10x PyTorch's.
"""
from functools import lru_cache

import numpy as np
from numba import prange

from ..runtime import contiguous, jit
from . import windows
from .reference import max_gather

__all__ = ["adaptive_avg_backward", "adaptive_avg_forward", "adaptive_max_forward", "avg_backward", "avg_forward", "max_backward", "max_forward", "max_gather"]


def max_forward(x, window):
    """y and indices (int64), both (N, C, P, Q), of x (N, C, H, W)."""
    positions = window.positions(x.shape[2:])
    return _maxima(x, positions, _seen_sliding(x.shape[2:], window))


def adaptive_max_forward(x, output_size):
    """y and indices (int64), both (N, C, P, Q) with (P, Q) = output_size."""
    return _maxima(x, output_size, _seen_adaptive(x.shape[2:], output_size))


def max_backward(dy, indices, x_shape):
    """dx (N, C, H, W): every dy (N, C, P, Q) added to the element that won its window."""
    N, C, H, W = x_shape
    dx = np.zeros(x_shape, dy.dtype)
    _max_backward(_planes(dy), _planes(indices), dx.reshape(N * C, H * W))
    return dx


def avg_forward(x, window, count_include_pad=True, divisor=None):
    """y (N, C, P, Q) of x (N, C, H, W)."""
    return _averages(x, *_sliding(x.shape[2:], window), windows.counts(x.shape[2:], window, count_include_pad, divisor))


def avg_backward(dy, x_shape, window, count_include_pad=True, divisor=None):
    """dx (N, C, H, W) from dy (N, C, P, Q)."""
    return _averages_backward(dy, x_shape, *_sliding(x_shape[2:], window), windows.counts(x_shape[2:], window, count_include_pad, divisor))


def adaptive_avg_forward(x, output_size):
    """y (N, C, P, Q) with (P, Q) = output_size."""
    return _averages(x, *_adaptive(x.shape[2:], output_size))


def adaptive_avg_backward(dy, x_shape):
    """dx (N, C, H, W) from dy (N, C, P, Q)."""
    return _averages_backward(dy, x_shape, *_adaptive(x_shape[2:], dy.shape[2:]))


# ------------------------------------------------------------------------------------------------ what each window sees, as tables that a kernel can read


@lru_cache(maxsize=32)  # a network has few poolings, and asks for the same tables in every step
def _seen_sliding(image, window):
    """(taps, P*Q): the elements h*W + w that each window sees."""
    return windows.elements(*windows.sliding(image, window), image[1])


@lru_cache(maxsize=32)
def _seen_adaptive(image, output_size):
    return windows.elements(*windows.adaptive(image, output_size), image[1])


@lru_cache(maxsize=32)
def _sliding(image, window):
    """rows (P, 3) and columns (Q, 3): first, end and step of what each window sees."""
    return tuple(map(_table, windows.sliding(image, window)))


@lru_cache(maxsize=32)
def _adaptive(image, output_size):
    """The same for adaptive windows, and the number of elements in each."""
    rows, columns = windows.adaptive(image, output_size)
    return _table(rows), _table(columns), windows.areas(rows, columns)


def _table(slices):
    return np.array([(s.start, s.stop, s.step) for s in slices], np.int64).reshape(-1, 3)


def _planes(a):
    """a (N, C, H, W) as (N*C, H, W)."""
    N, C, H, W = a.shape
    return contiguous(a).reshape(N * C, H, W)


# ------------------------------------------------------------------------------------------------ maximum


def _maxima(x, positions, seen):
    N, C, H, W = x.shape
    P, Q = positions
    y = np.empty((N * C, P * Q), x.dtype)
    indices = np.empty((N * C, P * Q), np.int64)
    _max_forward(contiguous(x).reshape(N * C, H * W), seen, y, indices)
    return y.reshape(N, C, P, Q), indices.reshape(N, C, P, Q)


@jit(parallel=True)
def _max_forward(x, seen, y, indices):
    for plane in prange(len(x)):
        _max_plane(x[plane], seen, y[plane], indices[plane])


@jit
def _max_plane(x, seen, y, indices):
    candidate = np.empty(y.size, y.dtype)
    _gather(x, seen[0], y)
    indices[:] = seen[0]
    for tap in range(1, len(seen)):
        _gather(x, seen[tap], candidate)
        _keep_larger(candidate, seen[tap], y, indices)


@jit
def _gather(x, at, to):
    for i in range(to.size):
        to[i] = x[at[i]]


@jit
def _keep_larger(candidate, at, y, indices):
    for i in range(y.size):
        new, old, new_at, old_at = candidate[i], y[i], np.int64(at[i]), indices[i]
        better = (new > old) | (new != new)  # larger, so the first of equals stays; or NaN
        y[i] = new if better else old
        indices[i] = new_at if better else old_at


@jit(parallel=True)
def _max_backward(dy, indices, dx):
    P, Q = dy.shape[1:]
    for plane in prange(len(dy)):
        to = dx[plane]
        for p in range(P):
            for q in range(Q):
                to[indices[plane, p, q]] += dy[plane, p, q]


# ------------------------------------------------------------------------------------------------ average


def _averages(x, rows, columns, numbers):
    y = np.empty((*x.shape[:2], len(rows), len(columns)), x.dtype)
    _avg_forward(_planes(x), rows, columns, numbers.astype(x.dtype), _planes(y))
    return y


def _averages_backward(dy, x_shape, rows, columns, numbers):
    dx = np.zeros(x_shape, dy.dtype)
    _avg_backward(_planes(dy), rows, columns, numbers.astype(dy.dtype), _planes(dx))
    return dx


@jit(parallel=True)
def _avg_forward(x, rows, columns, numbers, y):
    for plane in prange(len(x)):
        _avg_plane(x[plane], rows, columns, numbers, y[plane])


@jit
def _avg_plane(x, rows, columns, numbers, y):
    total = np.empty(x.shape[1], x.dtype)  # the sum of each column under a row of windows
    for p in range(len(rows)):
        total[:] = 0
        for h in range(rows[p, 0], rows[p, 1], rows[p, 2]):
            _add_row(total, x[h])
        for q in range(len(columns)):
            first, end, step = columns[q]
            s = total[first]
            for w in range(first + step, end, step):
                s += total[w]
            y[p, q] = s / numbers[p, q]


@jit(parallel=True)
def _avg_backward(dy, rows, columns, numbers, dx):
    for plane in prange(len(dy)):
        _avg_backward_plane(dy[plane], rows, columns, numbers, dx[plane])


@jit
def _avg_backward_plane(dy, rows, columns, numbers, dx):
    share = np.empty(dx.shape[1], dx.dtype)  # what each element of a row gets from a row of windows
    for p in range(len(rows)):
        share[:] = 0
        for q in range(len(columns)):
            for w in range(columns[q, 0], columns[q, 1], columns[q, 2]):
                share[w] += dy[p, q] / numbers[p, q]
        for h in range(rows[p, 0], rows[p, 1], rows[p, 2]):
            _add_row(dx[h], share)


@jit
def _add_row(total, row):
    for w in range(row.size):
        total[w] += row[w]
