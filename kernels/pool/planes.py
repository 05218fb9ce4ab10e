"""Pooling of contiguous memory, parallel over the planes (n, c): a plane's overlapping windows add up in one thread, always in the same order.

Maximum: a table says for each tap of the window which element of the plane every window has under it. A tap's elements are gathered first and compared after,

    candidate[o] = x[seen[tap, o]]                                     a scalar load and store, but no decision
    y[o], winners[o] = the larger of (y[o], candidate[o])              contiguous: vector instructions

so that no branch depends on the data; one loop with a comparison for each element of each window mispredicts its way through (measured: 4x the time).
The backward pass scatters to where the winners are.

Average: the rows under a row of windows are added first (contiguous), then the columns of that one row; the backward pass goes the other way. One window that sees
everything is a sum over contiguous memory, and has loops of its own.

Napkin (float32, AlexNet's 3x3 windows 2 apart on 55x55, per plane): the maximum reads 12 KB and writes 3 KB of maxima and 0.7 KB of winners; its backward reads those
4 KB and writes 12 KB; averages move 15 KB either way. The gathers, 9 for each output, take longer than that: they, not memory, bound the maximum.

Measured (float32, 16x64x112x112, 3x3 windows 2 apart, two cores of an Intel Xeon (Sapphire Rapids, AVX-512) virtual machine; copy 23 GB/s; PyTorch 2.13 on the same
layout in brackets): maximum 10.4 ms (57), backward 4.2 (8.2), mean 10.8 (17), backward 12 (20); mean of 7x7 maps (16x2048) 0.59 (0.65), backward 0.47 (1.2).
"""
import numpy as np
from numba import prange

from ..runtime import jit

SMALL = 64  # planes to a task where a plane is a matter of nanoseconds


@jit(parallel=True)
def max_forward(x, seen, y, winners):
    """y and winners (N*C, P*Q) of x (N*C, H*W); seen (taps, P*Q) from windows.elements."""
    for plane in prange(len(x)):
        _max_plane(x[plane], seen, y[plane], winners[plane])


@jit
def _max_plane(x, seen, y, winners):
    candidate = np.empty(y.size, y.dtype)
    _gather(x, seen[0], y)
    winners[:] = 0
    for tap in range(1, len(seen)):
        _gather(x, seen[tap], candidate)
        _keep_larger(candidate, winners.dtype.type(tap), y, winners)


@jit
def _gather(x, at, to):
    for i in range(to.size):
        to[i] = x[at[i]]


@jit
def _keep_larger(candidate, tap, y, winners):
    for i in range(y.size):
        new, old, winner = candidate[i], y[i], winners[i]
        better = (new > old) | (new != new)  # larger, so the first of equals stays; or NaN
        y[i] = new if better else old
        winners[i] = tap if better else winner


@jit(parallel=True)
def max_backward(dy, winners, seen, dx):
    """dx (N*C, H*W) from dy and winners (N*C, P*Q)."""
    for plane in prange(len(dy)):
        to = dx[plane]
        to[:] = 0
        for o in range(dy.shape[1]):
            to[seen[winners[plane, o], o]] += dy[plane, o]


@jit(parallel=True)
def avg_forward(x, rows, columns, numbers, y):
    """y (N*C, P, Q) of x (N*C, H, W); rows (P, 3) and columns (Q, 3): first, end and step of what each window sees; numbers (P, Q) to divide by."""
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
def avg_backward(dy, rows, columns, numbers, dx):
    """dx (N*C, H, W) from dy (N*C, P, Q)."""
    for plane in prange(len(dy)):
        _avg_backward_plane(dy[plane], rows, columns, numbers, dx[plane])


@jit
def _avg_backward_plane(dy, rows, columns, numbers, dx):
    share = np.empty(dx.shape[1], dx.dtype)  # what each element of a row gets from a row of windows
    dx[:] = 0
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


@jit(parallel=True)
def mean_forward(x, number, y):
    """y (N*C) of x (N*C, H*W): one window that sees all."""
    for task in prange((len(x) + SMALL - 1) // SMALL):
        for plane in range(task * SMALL, min(len(x), (task + 1) * SMALL)):
            y[plane] = _sum(x[plane]) / number


@jit(fastmath={"reassoc"})  # otherwise the additions form one chain and run one at a time
def _sum(a):
    s = a.dtype.type(0)
    for i in range(a.size):
        s += a[i]
    return s


@jit(parallel=True)
def mean_backward(dy, number, dx):
    """dx (N*C, H*W) from dy (N*C)."""
    for task in prange((len(dx) + SMALL - 1) // SMALL):
        for plane in range(task * SMALL, min(len(dx), (task + 1) * SMALL)):
            dx[plane] = dy[plane] / number
