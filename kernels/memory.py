"""Memory for the results of kernels that are bound by it: in the order of their input, large ones on cache lines and written past the cache.

    y = empty(shape, dtype, x)              new memory in x's order (kernels/layout.py)
    flat(x)                                 all elements in the order in which they lie: what an elementwise kernel walks over, whatever the order
    in_order_of(x, dy)                      dy lying as x does, converted if it must be

NumPy's memory begins on any multiple of 16 bytes. Non-temporal stores (kernels/simd/choose.py) want a multiple of a vector, and others take twice as long where each
vector lies across two cache lines. So arrays that are more than a matter of microseconds are cut from somewhat larger ones, to begin with a cache line.

LARGE is where writing past the cache begins to pay although the next kernel has to fetch the result from memory. Alone, relu and then a sum of it took 0.64 ms through
the cache and 0.87 past it for 4 MB, 1.35 and 1.14 ms for 8 MB, 5.7 and 4.1 ms for 49 MB (two cores of an Intel Xeon, Sapphire Rapids, AVX-512). In a network other
results want to stay in the cache too: with 3 MB in place of 8 a step of training took 0.96 of the time for GoogLeNet, 0.98 for ResNet-50, 0.99 for AlexNet and as
long for VGG-16 (two Zen 4 cores, 1 MB of second-level cache each; on the Xeon GoogLeNet's 0.99), inference 0.98 to 1.02.
"""
from math import prod

import numpy as np

from .layout import are_some_channels, from_nhwc, is_channels_last, nchw, nhwc
from .runtime import contiguous
from .simd.vector import WIDTH

LINE, SMALL, LARGE = 64, 1 << 15, 3 << 20  # bytes


def empty(shape, dtype, like):
    """A new array of shape (N, C, ...) in the order of the array `like`."""
    return empty_channels_last(shape, dtype) if lies_channels_last(like) else _on_a_line(shape, np.dtype(dtype))


def empty_channels_last(shape, dtype):
    """A new array of shape (N, C, H, W) that lies channels-last."""
    N, C, H, W = shape
    return from_nhwc(_on_a_line((N, H, W, C), np.dtype(dtype)))


def lies_channels_last(x):
    """Whether x lies channels-last and not contiguously: results go where x points, and an array in both orders is contiguous."""
    return not x.flags.c_contiguous and is_channels_last(x)


def ordered(x):
    """x itself if it lies in one of the two orders, else a copy in the nearer one."""
    if x.flags.c_contiguous or is_channels_last(x):
        return x
    return from_nhwc(nhwc(x)) if x.ndim == 4 and are_some_channels(x) else contiguous(x)


def in_order_of(x, dy):
    """dy in the order of x, an array of as many dimensions that lies in one of the two."""
    if lies_channels_last(x):
        return dy if is_channels_last(dy) else from_nhwc(nhwc(dy))
    return nchw(dy) if dy.ndim == 4 else contiguous(dy)


def flat(x):
    """The elements of x, which lies in one of the two orders, as they lie: a view of one dimension."""
    return x.ravel("K")


def past_cache(y, row=0):
    """Whether to write y (flat, in rows of `row` elements that each begin with a vector) past the cache."""
    return y.nbytes >= LARGE and row % lanes_of(y.dtype) == 0 and y.__array_interface__["data"][0] % LINE == 0


def lanes_of(dtype):
    """How many elements a vector has (kernels/simd/vector.py)."""
    return max(1, WIDTH * 4 // dtype.itemsize)


def _on_a_line(shape, dtype):
    count = prod(shape)
    if count * dtype.itemsize < min(SMALL, LARGE):
        return np.empty(shape, dtype)
    spare = np.empty(count + LINE // dtype.itemsize, dtype)
    start = -spare.__array_interface__["data"][0] % LINE // dtype.itemsize
    return spare[start:start + count].reshape(shape)
