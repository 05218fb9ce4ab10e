"""Local response normalisation of channels-last memory (see the reference for the formulas): the neighbours of a channel lie beside it.

A pixel at a time. What its channels give to their neighbours (the squares; backward dy * y / base) is written to a row with zeros at both ends, channels that are not
there; the sum over a window is then the sum of `size` vectors, each beginning one element after the last. The row stays in the nearest cache.
"""
import numpy as np
from numba import prange

from ..runtime import jit
from ..simd.choose import div, put, sqrt, take
from ..simd.vector import add, fma, lanes, load, mul, splat, store, sub, zero

PIXELS = 128  # to a task


@jit(parallel=True)
def forward(x, C, size, alpha, beta, k, past_cache, y, base):
    """y and base of x, all flat."""
    pixels = x.size // C
    for task in prange((pixels + PIXELS - 1) // PIXELS):
        row, scratch = np.zeros(C + size + lanes(x), x.dtype), np.empty(lanes(x), x.dtype)
        for pixel in range(task * PIXELS, min(pixels, (task + 1) * PIXELS)):
            _forward_pixel(x, pixel * C, C, size, alpha, beta, k, past_cache, y, base, row, scratch)


@jit
def _forward_pixel(x, at, C, size, alpha, beta, k, past_cache, y, base, row, scratch):
    for c in range(0, C, lanes(x)):
        value = take(x, at + c, C - c)
        put(row, size // 2 + c, C - c, False, mul(value, value))
    for c in range(0, C, lanes(x)):
        b = fma(splat(alpha), _window(row, c, size), splat(k))
        put(base, at + c, C - c, past_cache, b)
        put(y, at + c, C - c, past_cache, mul(take(x, at + c, C - c), _power(b, beta, scratch)))


@jit(parallel=True)
def backward(dy, x, base, C, size, factor, beta, past_cache, dx):
    """dx of dy, x and base, all flat; factor: 2 * alpha * beta."""
    pixels = x.size // C
    for task in prange((pixels + PIXELS - 1) // PIXELS):
        row, powers, scratch = np.zeros(C + size + lanes(x), x.dtype), np.empty(C, x.dtype), np.empty(lanes(x), x.dtype)
        for pixel in range(task * PIXELS, min(pixels, (task + 1) * PIXELS)):
            _backward_pixel(dy, x, base, pixel * C, C, size, factor, beta, past_cache, dx, row, powers, scratch)


@jit
def _backward_pixel(dy, x, base, at, C, size, factor, beta, past_cache, dx, row, powers, scratch):
    for c in range(0, C, lanes(x)):
        b = take(base, at + c, C - c)
        power = _power(b, beta, scratch)
        put(powers, c, C - c, False, power)
        put(row, (size - 1) // 2 + c, C - c, False, div(mul(mul(take(dy, at + c, C - c), take(x, at + c, C - c)), power), b))
    for c in range(0, C, lanes(x)):
        along = mul(splat(factor), mul(take(x, at + c, C - c), _window(row, c, size)))
        put(dx, at + c, C - c, past_cache, sub(mul(take(dy, at + c, C - c), take(powers, c, C - c)), along))


@jit
def _window(row, c, size):
    """The sums of what lies under the windows of a vector of channels."""
    total = zero(row)
    for i in range(size):
        total = add(total, load(row, c + i))
    return total


@jit
def _power(base, beta, scratch):
    """base^-beta; other powers than the papers' go number by number."""
    if beta == 0.75:
        root = sqrt(base)
        return div(splat(scratch.dtype.type(1)), mul(root, sqrt(root)))
    store(scratch, 0, base)
    for i in range(scratch.size):
        scratch[i] = scratch[i] ** -beta
    return load(scratch, 0)
