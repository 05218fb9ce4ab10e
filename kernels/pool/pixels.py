"""Pooling of channels-last memory: the channels of a pixel are the lanes of vectors, so nothing is gathered and nothing depends on the data.

Forward, a task is a row of windows: for each window and vector of channels the taps are compared or added in registers, and the result is written once.

Backward, a task is a row of the image, and looks the other way: for each element the windows that see it are gone through (a table says which, and as which of
their taps), and what they send is added up in a register. Each dx is written once, by one thread, whether windows overlap, leave elements out, or neither:

    maximum    dx += dy where the winner is this tap            average    dx += dy / number

Napkin (float32, 16x64x112x112, 3x3 windows 2 apart): the maximum reads 51 MB and writes 13 MB of maxima and 3 MB of winners (bytes; PyTorch writes 26 MB of indices);
its backward reads those 16 MB and writes 51 MB. A row of the image stays in the nearest caches while the windows go over it, so memory is the bound.

Measured (float32, batch 16, two cores of an Intel Xeon (Sapphire Rapids, AVX-512) virtual machine; copy 23 GB/s; time over that of PyTorch 2.13 in its better layout,
which is channels-last): maximum 0.55-0.78 forward, 0.5-0.85 backward, mean 1.1-1.3 forward, 0.5-0.6 backward, on 64x112x112 (3x3 and 2x2 windows 2 apart: 3.5 and 3.3 ms
forward, 4.9 and 3.8 backward), 256x56x56 and 192x28x28 (3x3 windows 1 apart); mean of whole 7x7 maps 0.95, backward 1.0.
"""
from numba import prange

from ..runtime import jit
from ..simd.choose import div, load_bytes, number, put, store_bytes, take, where_equal, where_larger
from ..simd.vector import add, fma, lanes, splat, zero


@jit(parallel=True)
def max_forward(x, N, C, H, W, rows, columns, S, past_cache, y, winners):
    """y and winners of x, all flat. rows (P, 3), columns (Q, 3): first, end and step of what a window sees; S: the most columns that one sees."""
    P = len(rows)
    for task in prange(N * P):
        _max_row(x, task // P * H * W * C, C, W, rows[task % P], columns, S, past_cache, y, winners, task * len(columns) * C)


@jit
def _max_row(x, image, C, W, row, columns, S, past_cache, y, winners, out):
    for q in range(len(columns)):
        first, end, step = columns[q]
        for c in range(0, C, lanes(x)):
            best, winner = take(x, image + (row[0] * W + first) * C + c, C - c), zero(x)
            tap = 0
            for h in range(row[0], row[1], row[2]):
                for s, w in enumerate(range(first, end, step)):
                    new = take(x, image + (h * W + w) * C + c, C - c)
                    winner = where_larger(new, best, number(x, tap + s), winner)
                    best = where_larger(new, best, new, best)
                tap += S
            put(y, out + q * C + c, C - c, past_cache, best)
            store_bytes(winners, out + q * C + c, C - c, winner)


@jit(parallel=True)
def max_values(x, N, C, H, W, rows, columns, past_cache, y):
    """The maxima alone, for inference: half the instructions."""
    P = len(rows)
    for task in prange(N * P):
        _max_values_row(x, task // P * H * W * C, C, W, rows[task % P], columns, past_cache, y, task * len(columns) * C)


@jit
def _max_values_row(x, image, C, W, row, columns, past_cache, y, out):
    for q in range(len(columns)):
        first, end, step = columns[q]
        for c in range(0, C, lanes(x)):
            best = take(x, image + (row[0] * W + first) * C + c, C - c)
            for h in range(row[0], row[1], row[2]):
                for w in range(first, end, step):
                    new = take(x, image + (h * W + w) * C + c, C - c)
                    best = where_larger(new, best, new, best)
            put(y, out + q * C + c, C - c, past_cache, best)


@jit(parallel=True)
def max_backward(dy, winners, N, C, H, W, P, Q, S, by_row, by_column, past_cache, dx):
    """dx from dy and winners, all flat. by_row, by_column: windows.seen_by of the rows and of the columns."""
    for task in prange(N * H):
        _max_backward_row(dy, winners, task // H * P * Q * C, task % H, C, W, Q, S, by_row, by_column, past_cache, dx, task * W * C)


@jit
def _max_backward_row(dy, winners, image, h, C, W, Q, S, by_row, by_column, past_cache, dx, out):
    row_starts, ps, rs = by_row
    column_starts, qs, ss = by_column
    for w in range(W):
        for c in range(0, C, lanes(dx)):
            total = zero(dx)
            for i in range(row_starts[h], row_starts[h + 1]):
                for j in range(column_starts[w], column_starts[w + 1]):
                    o = image + (ps[i] * Q + qs[j]) * C + c
                    total = add(total, where_equal(load_bytes(dx, winners, o, C - c), number(dx, rs[i] * S + ss[j]), take(dy, o, C - c)))
            put(dx, out + w * C + c, C - c, past_cache, total)


@jit(parallel=True)
def avg_forward(x, N, C, H, W, rows, columns, numbers, past_cache, y):
    """y of x, both flat; numbers (P, Q) to divide by."""
    P = len(rows)
    for task in prange(N * P):
        _avg_row(x, task // P * H * W * C, C, W, rows[task % P], columns, numbers[task % P], past_cache, y, task * len(columns) * C)


@jit
def _avg_row(x, image, C, W, row, columns, numbers, past_cache, y, out):
    for q in range(len(columns)):
        first, end, step = columns[q]
        for c in range(0, C, lanes(x)):
            total = zero(x)
            for h in range(row[0], row[1], row[2]):
                for w in range(first, end, step):
                    total = add(total, take(x, image + (h * W + w) * C + c, C - c))
            put(y, out + q * C + c, C - c, past_cache, div(total, splat(numbers[q])))


@jit(parallel=True)
def avg_backward(dy, N, C, H, W, P, Q, shares, by_row, by_column, past_cache, dx):
    """dx from dy, both flat; shares (P, Q): 1 / number."""
    for task in prange(N * H):
        _avg_backward_row(dy, task // H * P * Q * C, task % H, C, W, Q, shares, by_row, by_column, past_cache, dx, task * W * C)


@jit
def _avg_backward_row(dy, image, h, C, W, Q, shares, by_row, by_column, past_cache, dx, out):
    row_starts, ps, _ = by_row
    column_starts, qs, _ = by_column
    for w in range(W):
        for c in range(0, C, lanes(dx)):
            total = zero(dx)
            for i in range(row_starts[h], row_starts[h + 1]):
                for j in range(column_starts[w], column_starts[w + 1]):
                    total = fma(take(dy, image + (ps[i] * Q + qs[j]) * C + c, C - c), splat(shares[ps[i], qs[j]]), total)
            put(dx, out + w * C + c, C - c, past_cache, total)
