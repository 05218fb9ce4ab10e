"""Batch normalisation of channels-last memory: pixel after pixel, channels as the lanes of vectors.

The array is walked over as it lies, in rows of whole pixels whose length `period` is a multiple of both C and a vector (of 3 channels: 256 pixels to a row of 768),
so that even a few channels fill vectors, and what belongs to a channel (its mean, its scale) is an array of one row. A row of sums stays in the nearest cache.

Forward there are two passes over memory, since no output can be known before the last input was seen: sums (4 bytes an element in float32), then the outputs
(read 4, write 4; written past the cache when they are large). Backward the same with dy and x: 8 bytes, then 12. A rectifier behind the normalisation costs nothing:
forward it is one instruction, and backward its mask is computed anew from x. Only when a residual was added before the rectifier must y be read; the rectified
dy, which is the residual's gradient, is then written by the first pass and read by the second in place of dy.

dy may be some channels of a larger array, as it is where results were concatenated: then both passes read it where it lies, and nothing is copied first.

Sums of x - centre, centre being the mean of some pixels from everywhere: so no digits are lost where the mean is much larger than the deviation. They are taken in
x's precision over ROWS rows at most, the results added in float64.

All of a batch is one kernel: Python and NumPy, whose code and objects a layer's megabytes drive out of the caches, took some 0.2 ms for what goes on between the
passes (of small arrays that stay in the caches, 0.03).
"""
from functools import lru_cache
from math import lcm

import numpy as np
from numba import prange

from ..layout import are_some_channels, span
from ..memory import flat, in_order_of, lanes_of
from ..runtime import jit
from ..simd.choose import put, take, where_positive
from ..simd.vector import add, fma, lanes, load, maximum, mul, prefetch, store, sub, zero
from .channel import coefficients, gradients

ROWS = 64  # rows that are summed in x's precision
TILES = 64  # at most so many tiles, and so many float64 sums for each channel
SHORTEST = 256  # elements in a row at least
AHEAD = 1024  # elements: so early we ask for what will be read. Beside the sums too few loads are under way for memory to be busy: 18 GB/s instead of 23


@lru_cache(maxsize=1024)
def period(C, dtype):
    """The length of a row: whole pixels and whole vectors."""
    shared = lcm(C, lanes_of(dtype))
    return shared * -(-SHORTEST // shared)


def pieces(dy, x):
    """(dy as a flat array, length, pitch): elements of it that lie together, a row or, of some channels of a larger array, a pixel; and from there to the next."""
    C, dtype = x.shape[1], x.dtype
    if dy.ndim == 4 and C % lanes_of(dtype) == 0 and are_some_channels(dy):
        dy, pitch = span(dy)
        return dy, C, pitch
    dy = flat(in_order_of(x, dy))
    dy.flags.writeable = False  # as span's: one kernel for both
    length = period(C, dtype)
    return dy, length, length


@jit(parallel=True)
def forward(x, row, weight, bias, eps, added, relu, past_cache, y, mean, var):
    """y, mean and var, float64 (C,), of the flat x; added is flat, or empty."""
    size, tiles = _tiles(x, row)
    centre, sums = _some_mean(x, weight.size, row), np.empty((tiles, 2, row))
    for tile in prange(tiles):
        _sums_tile(x, centre, tile * size, min(x.size, (tile + 1) * size), sums[tile])
    _statistics(sums, centre, x.size // weight.size, mean, var)
    numbers = _coefficients(x, row, weight, bias, mean, var, eps)
    for tile in prange(tiles):
        _normalise_tile(x, numbers, added, relu, past_cache, tile * size, min(x.size, (tile + 1) * size), y)


@jit(parallel=True)
def normalise(x, row, weight, bias, mean, var, eps, added, relu, past_cache, y):
    """y with a given mean and variance."""
    size, tiles = _tiles(x, row)
    numbers = _coefficients(x, row, weight, bias, mean, var, eps)
    for tile in prange(tiles):
        _normalise_tile(x, numbers, added, relu, past_cache, tile * size, min(x.size, (tile + 1) * size), y)


@jit(parallel=True)
def backward(dy, length, pitch, x, y, row, weight, bias, mean, var, eps, relu, past_cache, passed, dx, dweight, dbias):
    """dx, dweight and dbias of the dy (its `pieces`) that pass the rectifier.

    relu: dy passes where (x - centre) * scale + shift is positive; or, if y is not empty, where y is: then the dy that pass are written to `passed`.
    """
    size, tiles = _tiles(x, row)
    numbers, sums = _coefficients(x, row, weight, bias, mean, var, eps), np.empty((tiles, 2, row))
    for tile in prange(tiles):
        _gradient_sums_tile(dy, length, pitch, x, y, numbers, relu, past_cache, passed, tile * size, min(x.size, (tile + 1) * size), sums[tile])
    _parameter_gradients(x, sums, mean, var, eps, numbers, dweight, dbias)
    for tile in prange(tiles):
        if y.size:  # what has passed needs no mask any more
            _project_tile(passed, row, row, x, numbers, False, past_cache, tile * size, min(x.size, (tile + 1) * size), dx)
        else:
            _project_tile(dy, length, pitch, x, numbers, relu, past_cache, tile * size, min(x.size, (tile + 1) * size), dx)


@jit
def _tiles(x, row):
    """(elements to a tile, whole blocks of ROWS rows; number of tiles)"""
    block = ROWS * row
    size = block * ((x.size + block * TILES - 1) // (block * TILES))
    return size, (x.size + size - 1) // size


@jit
def _some_mean(x, C, row):
    """The mean of about ROWS pixels from everywhere, in x's precision, over a row."""
    pixels, total, seen = x.size // C, np.zeros(C), 0
    for pixel in range(0, pixels, max(1, pixels // ROWS)):
        seen += 1
        for c in range(C):
            total[c] += x[pixel * C + c]
    centre = np.empty(row, x.dtype)
    for i in range(C):
        centre[i] = total[i] / seen
    _repeat(centre, C)
    return centre


@jit
def _repeat(values, C):
    """The first C values over the whole row."""
    for i in range(C, values.size):
        values[i] = values[i - C]


@jit
def _per_channel(sums, C):
    """(2, C) from (tiles, 2, row): added in the order of the tiles, then of the pixels within a row."""
    for tile in range(1, len(sums)):
        for k in range(2):
            for i in range(sums.shape[2]):
                sums[0, k, i] += sums[tile, k, i]
    for k in range(2):
        for i in range(C, sums.shape[2]):
            sums[0, k, i % C] += sums[0, k, i]
    return sums[0, :, :C]


@jit
def _statistics(sums, centre, M, mean, var):
    both = _per_channel(sums, mean.size)
    for c in range(mean.size):
        off = both[0, c] / M
        mean[c] = centre[c] + off
        var[c] = np.maximum(both[1, c] / M - off * off, 0)


@jit
def _coefficients(x, row, weight, bias, mean, var, eps):
    """(5, row): centre, scale and shift, and room for common and along."""
    numbers = np.empty((5, row), x.dtype)
    for c in range(weight.size):
        numbers[0, c], numbers[1, c], numbers[2, c] = coefficients(x, weight[c], bias[c], mean[c], var[c], eps)
    for k in range(3):
        _repeat(numbers[k], weight.size)
    return numbers


@jit
def _parameter_gradients(x, sums, mean, var, eps, numbers, dweight, dbias):
    both, C = _per_channel(sums, mean.size), mean.size
    for c in range(C):
        dbias[c] = both[0, c]
        dweight[c], numbers[3, c], numbers[4, c] = gradients(x, both[0, c], both[1, c], mean[c], numbers[0, c], var[c], eps, x.size // C)
    for k in range(3, 5):
        _repeat(numbers[k], C)


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
                prefetch(x, row + i + AHEAD)
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


@jit
def _normalise_tile(x, numbers, added, relu, past_cache, start, end, y):
    L, period, centre, scale, shift = lanes(x), numbers.shape[1], numbers[0], numbers[1], numbers[2]
    for row in range(start, end, period):
        for i in range(0, min(period, end - row), L):
            at, left = row + i, end - row - i
            z = fma(sub(take(x, at, left), load(centre, i)), load(scale, i), load(shift, i))
            if added.size:
                z = add(z, take(added, at, left))
            put(y, at, left, past_cache, maximum(zero(x), z) if relu else z)


@jit
def _gradient_sums_tile(dy, length, pitch, x, y, numbers, relu, past_cache, passed, start, end, out):
    L, period, pieces = lanes(x), numbers.shape[1], max(1, AHEAD // length)
    centre, scale, shift = numbers[0], numbers[1], numbers[2]
    total, product = np.zeros(period, x.dtype), np.zeros(period, x.dtype)
    out[:] = 0
    for block in range(start, end, ROWS * period):
        stop = min(end, block + ROWS * period)
        for piece in range(block, stop, length):
            in_row, in_dy = piece % period, piece // length * pitch
            for i in range(0, min(length, stop - piece), L):
                at, left, j = piece + i, stop - piece - i, in_row + i
                prefetch(x, at + pieces * length)
                prefetch(dy, in_dy + i + pieces * pitch)
                off, d = sub(take(x, at, left), load(centre, j)), take(dy, in_dy + i, left)
                if y.size:
                    d = where_positive(take(y, at, left), d)
                    put(passed, at, left, past_cache, d)
                elif relu:
                    d = where_positive(fma(off, load(scale, j), load(shift, j)), d)
                store(total, j, add(load(total, j), d))
                store(product, j, fma(d, off, load(product, j)))
        flush(total, out[0])
        flush(product, out[1])


@jit
def _project_tile(dy, length, pitch, x, numbers, relu, past_cache, start, end, dx):
    """dx = scale * (dy - common - (x - centre) * along), of the dy that pass the rectifier."""
    L, period, pieces = lanes(x), numbers.shape[1], max(1, AHEAD // length)
    centre, scale, shift, common, along = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    for piece in range(start, end, length):
        in_row, in_dy = piece % period, piece // length * pitch
        for i in range(0, min(length, end - piece), L):
            at, left, j = piece + i, end - piece - i, in_row + i
            prefetch(x, at + pieces * length)
            prefetch(dy, in_dy + i + pieces * pitch)
            off, d = sub(take(x, at, left), load(centre, j)), take(dy, in_dy + i, left)
            if relu:
                d = where_positive(fma(off, load(scale, j), load(shift, j)), d)
            d = sub(sub(d, load(common, j)), mul(off, load(along, j)))
            put(dx, at, left, past_cache, mul(d, load(scale, j)))
