"""Batch normalisation of contiguous memory, parallel over the channels: one thread computes a channel's mean, variance and output, so no sums of threads meet.

Each step goes over the channel again (mean, variance, output; backward: sums, dx), but a channel is small, N*H*W values: 800 KB for ResNet's 112x112 at batch 16. The
first pass brings it from memory to the second-level cache, and the others find it there. So memory moves about 8 bytes an element forward and 12 backward.

Sums are kept in float64, exact enough for any size; there is time for it in the cache. They are compiled with leave to reassociate (otherwise the additions form one
chain and run one at a time), which changes roundings but always in the same way.

All arrays are flat; the rows of channel c begin at (n * C + c) * length.
"""
from numba import prange

from ..runtime import jit
from ..simd.choose import put, take, where_positive
from ..simd.vector import add, fma, lanes, maximum, mul, splat, sub, total, zero
from .channel import coefficients, gradients

BLOCK = 64  # vectors that are summed in x's precision
SUM = {"reassoc"}  # the one liberty of -ffast-math that a sum needs; NaN and infinity stay what they are


@jit(parallel=True)
def forward(x, N, C, length, weight, bias, eps, added, relu, past_cache, y, mean, var):
    for c in prange(C):
        values, squares = 0.0, 0.0
        for n in range(N):
            start = (n * C + c) * length
            values += _sum(x[start:start + length])
        mean[c] = values / max(1, N * length)
        for n in range(N):
            start = (n * C + c) * length
            squares += _sum_of_squares(x[start:start + length], mean[c])
        var[c] = squares / max(1, N * length)
        numbers = coefficients(x, weight[c], bias[c], mean[c], var[c], eps)
        for n in range(N):
            _normalise(x, (n * C + c) * length, length, numbers, added, relu, past_cache, y)


@jit(parallel=True)
def normalise(x, N, C, length, weight, bias, mean, var, eps, added, relu, past_cache, y):
    for row in prange(N * C):
        c = row % C
        numbers = coefficients(x, weight[c], bias[c], mean[c], var[c], eps)
        _normalise(x, row * length, length, numbers, added, relu, past_cache, y)


@jit(parallel=True)
def backward(dy, x, y, N, C, length, weight, bias, mean, var, eps, relu, past_cache, passed, dx, dweight, dbias):
    """dx, dweight and dbias of the dy that pass the rectifier (see pixels.backward, also for y and passed)."""
    for c in prange(C):
        numbers = coefficients(x, weight[c], bias[c], mean[c], var[c], eps)
        sum_dy, product = 0.0, 0.0
        for n in range(N):
            a, b = _gradient_sums(dy, x, y, (n * C + c) * length, length, numbers, relu, passed)
            sum_dy += a
            product += b
        dbias[c] = sum_dy
        dweight[c], common, along = gradients(x, sum_dy, product, mean[c], numbers[0], var[c], eps, max(1, N * length))
        for n in range(N):
            start = (n * C + c) * length
            if y.size:
                _project(passed, x, start, length, numbers, common, along, False, past_cache, dx)
            else:
                _project(dy, x, start, length, numbers, common, along, relu, past_cache, dx)


@jit(fastmath=SUM)
def _sum(a):
    values = 0.0
    for i in range(a.size):
        values += a[i]
    return values


@jit(fastmath=SUM)
def _sum_of_squares(a, mean):
    squares = 0.0
    for i in range(a.size):
        squares += (a[i] - mean) * (a[i] - mean)
    return squares


@jit
def _normalise(x, start, length, numbers, added, relu, past_cache, y):
    L, (centre, scale, shift) = lanes(x), numbers
    for i in range(0, length, L):
        at, left = start + i, length - i
        z = fma(sub(take(x, at, left), splat(centre)), splat(scale), splat(shift))
        if added.size:
            z = add(z, take(added, at, left))
        put(y, at, left, past_cache, maximum(zero(x), z) if relu else z)


@jit
def _gradient_sums(dy, x, y, start, length, numbers, relu, passed):
    """(sum of dy, sum of dy * (x - centre)), of the dy that pass; in x's precision over BLOCK vectors, beyond in float64."""
    L, end, (centre, scale, shift) = lanes(x), start + length, numbers
    sum_dy, sum_dy_x = 0.0, 0.0
    for block in range(start, end, BLOCK * L):
        a, b, stop = zero(x), zero(x), min(end, block + BLOCK * L)
        for at in range(block, stop, L):
            off, d = sub(take(x, at, stop - at), splat(centre)), take(dy, at, stop - at)
            if y.size:
                d = where_positive(take(y, at, stop - at), d)
                put(passed, at, stop - at, False, d)
            elif relu:
                d = where_positive(fma(off, splat(scale), splat(shift)), d)
            a, b = add(a, d), fma(d, off, b)
        sum_dy += total(a)
        sum_dy_x += total(b)
    return sum_dy, sum_dy_x


@jit
def _project(dy, x, start, length, numbers, common, along, relu, past_cache, dx):
    """dx = scale * (dy - common - (x - centre) * along), of the dy that pass."""
    L, (centre, scale, shift) = lanes(x), numbers
    for i in range(0, length, L):
        at, left = start + i, length - i
        off, d = sub(take(x, at, left), splat(centre)), take(dy, at, left)
        if relu:
            d = where_positive(fma(off, splat(scale), splat(shift)), d)
        put(dx, at, left, past_cache, mul(sub(sub(d, splat(common)), mul(off, splat(along))), splat(scale)))
