"""Constant padding on the CPU: a row of y (its last axis) is either all `value`, or `value`, a row of x, `value`.

Which row of x stands in a row of y is the same question for any number of dimensions, so it is answered by a table made with the reference's slices, and
the kernel is two copies in a loop. No arithmetic: y is written once and x read once, as fast as memory goes.
"""
import numpy as np
from numba import prange

from ..graph import record
from ..runtime import contiguous, jit
from .reference import output_shape, overlap

TILE = 1 << 14  # elements of y to a tile


def constant(x, pads, value):
    """x surrounded by `value`.  pads: a (before, after) pair for each dimension of x; negative numbers crop."""
    y = np.empty(output_shape(x.shape, pads), x.dtype)
    if y.size == 0 or x.ndim == 0 or x.size == 0:
        y[...] = value if x.ndim else x
        return y
    inside, kept = overlap(x.shape, pads)
    source = np.full(y.shape[:-1], -1, np.int64)  # for each row of y, the row of x in it
    source[inside[:-1]] = np.arange(x.size // x.shape[-1]).reshape(x.shape[:-1])[kept[:-1]]
    rows = y.reshape(-1, y.shape[-1])
    _fill_rows(rows, contiguous(x).reshape(-1, x.shape[-1]), record.constant(source).reshape(-1), inside[-1].start, inside[-1].stop, kept[-1].start, x.dtype.type(value))
    return y


@jit(parallel=True)
def _fill_rows(y, x, source, start, stop, skip, value):
    """Row i of y holds x[source[i], skip:] in start..stop and `value` elsewhere; only `value` where source[i] is -1."""
    rows, length = y.shape
    per_tile = max(1, TILE // length)
    for tile in prange((rows + per_tile - 1) // per_tile):
        for i in range(tile * per_tile, min(rows, (tile + 1) * per_tile)):
            if source[i] < 0:
                _fill(y[i], value)
            else:
                _fill(y[i, :start], value)
                _copy(y[i, start:stop], x[source[i], skip:])
                _fill(y[i, stop:], value)


@jit
def _fill(y, value):
    for i in range(y.size):
        y[i] = value


@jit
def _copy(y, x):
    for i in range(y.size):
        y[i] = x[i]
