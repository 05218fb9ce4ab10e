"""The rectifier's gradient together with its sum in every channel: all that a convolution with a bias in front of a rectifier needs before its own gradients.

    dx = dy where y > 0, else 0        db[c] = the sum of dx over images and pixels

In a pass of its own the sum would read 4 bytes an element (float32) again; here dx is still in a register when it is added. Channels-last memory is walked over in rows
of whole pixels and whole vectors, and a row of sums stays in the nearest cache (as in kernels/norm/pixels.py). dy may be some channels of a larger array, as it is
where results were concatenated: then a row is a pixel, and nothing is copied first.

**Napkin.** Reads 8 bytes an element, writes 4; memory is the bound.
"""
import numpy as np
from numba import prange

from ..layout import are_some_channels, span
from ..memory import empty, flat, in_order_of, lanes_of, past_cache
from ..norm.pixels import ROWS, TILES, flush, period
from ..runtime import jit, summed
from ..simd.choose import put, take, where_positive
from ..simd.vector import add, lanes, load, store


def relu_backward_sums(dy, y):
    """(dx, db) for a y that lies channels-last."""
    C, L = y.shape[1], lanes_of(y.dtype)
    if are_some_channels(dy):
        row, (dy, pitch) = C, span(dy)
    else:
        row = pitch = period(C, y.dtype)
        dy = flat(in_order_of(y, dy))
        dy.flags.writeable = False  # as span's: one kernel for both
    dx = empty(y.shape, dy.dtype, y)
    size = ROWS * max(1, -(-y.size // (ROWS * row * TILES)))  # rows of a tile
    sums = np.empty((-(-y.size // (size * row)), -(-row // L) * L))
    _relu_backward_sums(dy, flat(y), row, pitch, size, past_cache(flat(dx), row), flat(dx), sums)
    return dx, summed(sums[:, :row], C, dx.dtype)


@jit(parallel=True)
def _relu_backward_sums(dy, y, row, pitch, size, past_cache, dx, out):
    for tile in prange(len(out)):
        _tile(dy, y, row, pitch, tile * size, size, past_cache, dx, out[tile])


@jit
def _tile(dy, y, row, pitch, first, size, past_cache, dx, out):
    """The rows first, first + 1, ..., `size` of them; row r begins at r*row in y and dx, and at r*pitch in dy."""
    sums = np.zeros(out.size, y.dtype)
    out[:] = 0
    end = min((y.size + row - 1) // row, first + size)
    for block in range(first, end, ROWS):
        for r in range(block, min(end, block + ROWS)):
            length = min(row, y.size - r * row)
            for i in range(0, length, lanes(y)):
                d = where_positive(take(y, r * row + i, length - i), take(dy, r * pitch + i, length - i))
                put(dx, r * row + i, length - i, past_cache, d)
                store(sums, i, add(load(sums, i), d))
        flush(sums, out)
