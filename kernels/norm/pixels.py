"""Batch normalisation of channels-last memory: pixel after pixel, channels as the lanes of vectors.

The array is walked over as it lies, in rows of whole pixels whose length `period` is a multiple of both C and a vector (of 3 channels: 256 pixels to a row of 768),
so that even a few channels fill vectors, and what belongs to a channel (its mean, its scale) is an array of one row. A row of sums stays in the nearest cache.

Forward there are two passes over memory, since no output can be known before the last input was seen: sums (4 bytes an element in float32), then the outputs
(read 4, write 4; written past the cache when they are large). Backward the same with dy and x: 8 bytes, then 12. A rectifier behind the normalisation costs nothing:
forward it is one instruction, and backward its mask is computed anew from x. Only when a residual was added before the rectifier must y be read; the rectified
dy, which is the residual's gradient, is then written by the first pass and read by the second in place of dy.

Sums of x - centre, centre being the mean of some pixels from everywhere: so no digits are lost where the mean is much larger than the deviation. They are taken in
x's precision over ROWS rows at most, the results added in float64.
"""
from math import lcm

import numpy as np
from numba import prange

from ..memory import lanes_of
from ..runtime import jit
from ..simd.choose import put, take, where_positive
from ..simd.vector import add, fma, lanes, load, maximum, mul, store, sub, zero

ROWS = 64  # rows that are summed in x's precision
TILES = 64  # at most so many tiles, and so many float64 sums for each channel
SHORTEST = 256  # elements in a row at least


def period(C, dtype):
    """The length of a row: whole pixels and whole vectors."""
    shared = lcm(C, lanes_of(dtype))
    return shared * -(-SHORTEST // shared)


def tile_size(x, row):
    """Elements to a tile: whole blocks of ROWS rows."""
    block = ROWS * row
    return block * max(1, -(-x.size // (block * TILES)))


def spread(values, row, dtype):
    """values (C,) repeated over a row."""
    return np.tile(values.astype(dtype), row // len(values))


def per_channel(sums, C):
    """(2, C) from (tiles, 2, period): added in the order of the tiles, then of the pixels within a row."""
    return sums.sum(0).reshape(2, -1, C).sum(1)


def statistics(x, C):
    """(mean, var), float64 (C,), of the flat x."""
    row = period(C, x.dtype)
    size = tile_size(x, row)
    pixels = x.reshape(-1, C)
    centre = pixels[::max(1, len(pixels) // ROWS)].mean(0, dtype=np.float64).astype(x.dtype)
    sums = np.empty((-(-x.size // size), 2, row))
    _sums(x, spread(centre, row, x.dtype), size, sums)
    off, square = per_channel(sums, C) / len(pixels)
    return centre + off, np.maximum(square - off * off, 0)


def normalise(x, centre, scale, shift, added, relu, past_cache, y):
    """y = (x - centre) * scale + shift [+ added], rectified if relu. All flat; centre, scale, shift (C,); added may be empty."""
    row = period(len(centre), x.dtype)
    _normalise(x, *(spread(values, row, x.dtype) for values in (centre, scale, shift)), added, relu, past_cache, tile_size(x, row), y)


def gradient_sums(dy, x, y, centre, scale, shift, relu, past_cache, passed):
    """(sum of dy, sum of dy * (x - centre)), float64 (2, C), of the dy that pass the rectifier.

    relu: dy passes where (x - centre) * scale + shift is positive; or, if y is not empty, where y is: then the dy that pass are written to `passed`.
    """
    C, row = len(centre), period(len(centre), x.dtype)
    size = tile_size(x, row)
    sums = np.empty((-(-x.size // size), 2, row))
    _gradient_sums(dy, x, y, *(spread(values, row, x.dtype) for values in (centre, scale, shift)), relu, past_cache, passed, size, sums)
    return per_channel(sums, C)


def project(dy, x, centre, scale, shift, common, along, relu, past_cache, dx):
    """dx = scale * (dy - common - (x - centre) * along), of the dy that pass the rectifier."""
    row = period(len(centre), x.dtype)
    _project(dy, x, *(spread(values, row, x.dtype) for values in (centre, scale, shift, common, along)), relu, past_cache, tile_size(x, row), dx)


@jit(parallel=True)
def _sums(x, centre, size, out):
    for tile in prange(len(out)):
        _sums_tile(x, centre, tile * size, min(x.size, (tile + 1) * size), out[tile])


@jit
def _sums_tile(x, centre, start, end, out):
    L, period = lanes(x), centre.size
    total, square = np.zeros(period, x.dtype), np.zeros(period, x.dtype)
    out[:] = 0
    for block in range(start, end, ROWS * period):
        stop = min(end, block + ROWS * period)
        for row in range(block, stop, period):
            for i in range(0, min(period, stop - row), L):
                left = stop - row - i
                off = sub(take(x, row + i, left), take(centre, i, left))
                store(total, i, add(load(total, i), off))
                store(square, i, fma(off, off, load(square, i)))
        flush(total, out[0])
        flush(square, out[1])


@jit
def flush(part, total):
    """Add a block's sums to those in float64, and begin anew."""
    for i in range(part.size):
        total[i] += part[i]
        part[i] = 0


@jit(parallel=True)
def _normalise(x, centre, scale, shift, added, relu, past_cache, size, y):
    for tile in prange((x.size + size - 1) // size):
        _normalise_tile(x, centre, scale, shift, added, relu, past_cache, tile * size, min(x.size, (tile + 1) * size), y)


@jit
def _normalise_tile(x, centre, scale, shift, added, relu, past_cache, start, end, y):
    L, period = lanes(x), centre.size
    for row in range(start, end, period):
        for i in range(0, min(period, end - row), L):
            at, left = row + i, end - row - i
            z = fma(sub(take(x, at, left), load(centre, i)), load(scale, i), load(shift, i))
            if added.size:
                z = add(z, take(added, at, left))
            put(y, at, left, past_cache, maximum(zero(x), z) if relu else z)


@jit(parallel=True)
def _gradient_sums(dy, x, y, centre, scale, shift, relu, past_cache, passed, size, out):
    for tile in prange(len(out)):
        _gradient_sums_tile(dy, x, y, centre, scale, shift, relu, past_cache, passed, tile * size, min(x.size, (tile + 1) * size), out[tile])


@jit
def _gradient_sums_tile(dy, x, y, centre, scale, shift, relu, past_cache, passed, start, end, out):
    L, period = lanes(x), centre.size
    total, product = np.zeros(period, x.dtype), np.zeros(period, x.dtype)
    out[:] = 0
    for block in range(start, end, ROWS * period):
        stop = min(end, block + ROWS * period)
        for row in range(block, stop, period):
            for i in range(0, min(period, stop - row), L):
                at, left = row + i, stop - row - i
                off, d = sub(take(x, at, left), load(centre, i)), take(dy, at, left)
                if y.size:
                    d = where_positive(take(y, at, left), d)
                    put(passed, at, left, past_cache, d)
                elif relu:
                    d = where_positive(fma(off, load(scale, i), load(shift, i)), d)
                store(total, i, add(load(total, i), d))
                store(product, i, fma(d, off, load(product, i)))
        flush(total, out[0])
        flush(product, out[1])


@jit(parallel=True)
def _project(dy, x, centre, scale, shift, common, along, relu, past_cache, size, dx):
    for tile in prange((x.size + size - 1) // size):
        _project_tile(dy, x, centre, scale, shift, common, along, relu, past_cache, tile * size, min(x.size, (tile + 1) * size), dx)


@jit
def _project_tile(dy, x, centre, scale, shift, common, along, relu, past_cache, start, end, dx):
    L, period = lanes(x), centre.size
    for row in range(start, end, period):
        for i in range(0, min(period, end - row), L):
            at, left = row + i, end - row - i
            off, d = sub(take(x, at, left), load(centre, i)), take(dy, at, left)
            if relu:
                d = where_positive(fma(off, load(scale, i), load(shift, i)), d)
            d = sub(sub(d, load(common, i)), mul(off, load(along, i)))
            put(dx, at, left, past_cache, mul(d, load(scale, i)))
