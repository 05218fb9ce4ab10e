"""In which order the numbers of an image batch lie in memory. The logical shape is (N, C, H, W) always; there are two orders:

    contiguous       (N, C, H, W), a map after the other: what NumPy and PyTorch make unless told otherwise
    channels-last    (N, H, W, C), a pixel after the other, seen through a transposed view

Fast kernels take and give channels-last: the channels of a pixel are the lanes of vectors, a 1x1 convolution is a matrix product, and no kernel ever shuffles.
A kernel that is given the other order converts once, here; results have the order that the kernel works in. Nobody needs to know: to NumPy both are arrays of
the same shape, with different strides. Where C or H*W is 1, an array is in both orders at once.

Conversion is a transposition of an (H*W, C) matrix for each image, done in squares as wide as a vector (kernels/simd/tile.py).

**Napkin.** 8 bytes an element in float32, as for a copy; memory is the bound.
"""
import numpy as np
from numba import prange

from .runtime import contiguous, jit
from .simd.choose import put, take
from .simd.tile import load_square, store_tile, transpose
from .simd.vector import lanes

TILE = 1024  # pixels of an image to a task


def is_channels_last(x):
    """Whether x (N, C, H, W) lies channels-last. Also true of an array that is in both orders."""
    return x.ndim == 4 and x.transpose(0, 2, 3, 1).flags.c_contiguous


def nhwc(x):
    """x (N, C, H, W) as a C-contiguous array (N, H, W, C): a view if it lies channels-last, else a copy."""
    turned = x.transpose(0, 2, 3, 1)
    if turned.flags.c_contiguous:
        return turned
    N, C, H, W = x.shape
    if are_some_channels(x):
        out = np.empty((N, H, W, C), x.dtype)
        _close_gaps(*span(x), C, out.reshape(-1))
        return out
    return _turn(contiguous(x), N, C, H, W).reshape(N, H, W, C)


def nchw(x):
    """x (N, C, H, W) as a C-contiguous array: itself, or a copy."""
    if x.flags.c_contiguous or not is_channels_last(x):
        return contiguous(x)
    N, C, H, W = x.shape
    return _turn(x.transpose(0, 2, 3, 1), N, H * W, C, 1).reshape(x.shape)


def from_nhwc(y):
    """An array (N, H, W, C) as what it stands for: a view (N, C, H, W)."""
    return y.transpose(0, 3, 1, 2)


def are_some_channels(x):
    """Whether x (N, C, H, W) is larger[:, a:b] of a channels-last array: pixels with gaps between them. So gradients come out of a concatenation."""
    _, C, H, W = x.shape
    pitch = x.strides[3]
    return x.size > 0 and x.dtype.char in "fd" and x.strides == (H * W * pitch, x.itemsize, W * pitch, pitch) and pitch % x.itemsize == 0 and pitch > C * x.itemsize


def span(x):
    """(all that lies between the first and the last element of such an x, as a flat array; the number of elements from pixel to pixel)."""
    N, C, H, W = x.shape
    pitch = x.strides[3] // x.itemsize
    return np.lib.stride_tricks.as_strided(x, ((N * H * W - 1) * pitch + C,), (x.itemsize,), writeable=False), pitch


def empty(shape, dtype, like):
    """A new array of shape (N, C, H, W) in the order of the array `like`; contiguous if that is in both."""
    if like.flags.c_contiguous or not is_channels_last(like):
        return np.empty(shape, dtype)
    N, C, H, W = shape
    return from_nhwc(np.empty((N, H, W, C), dtype))


def _turn(x, N, rows, *columns):
    """N matrices (rows, columns) that lie one after the other, transposed."""
    columns = columns[0] * columns[1]
    out = np.empty(N * rows * columns, x.dtype)
    if x.dtype.char not in "fd" or min(rows, columns) == 1:
        out[:] = x.reshape(N, rows, columns).transpose(0, 2, 1).reshape(-1)
    elif rows <= columns:  # the tasks are cuts of the longer side
        _transpose(x.reshape(-1), N, rows, columns, True, out)
    else:
        _transpose(x.reshape(-1), N, rows, columns, False, out)
    return out


@jit(parallel=True)
def _close_gaps(x, pitch, C, out):
    pixels = out.size // C
    for task in prange((pixels + TILE - 1) // TILE):
        for pixel in range(task * TILE, min(pixels, (task + 1) * TILE)):
            for c in range(0, C, lanes(out)):
                put(out, pixel * C + c, C - c, False, take(x, pixel * pitch + c, C - c))


@jit(parallel=True)
def _transpose(x, N, rows, columns, wide, out):
    cuts = ((columns if wide else rows) + TILE - 1) // TILE
    for task in prange(N * cuts):
        first = np.intp(task % cuts * TILE)
        start = np.intp(task // cuts) * rows * columns
        i0, i1, j0, j1 = (0, rows, first, min(columns, first + TILE)) if wide else (first, min(rows, first + TILE), 0, columns)
        _transpose_part(x, start, rows, columns, i0, i1, j0, j1, out)


@jit
def _transpose_part(x, start, rows, columns, i0, i1, j0, j1, out):
    """out[j, i] = x[i, j] for i0 <= i < i1, j0 <= j < j1: squares, and what is left over element by element."""
    L = lanes(x)
    i_end, j_end = i1 - (i1 - i0) % L, j1 - (j1 - j0) % L
    for j in range(j0, j_end, L):
        for i in range(i0, i_end, L):
            store_tile(transpose(load_square(x, start + i * columns + j, columns)), out, start + j * rows + i, rows, L)
        for jj in range(j, j + L):
            for i in range(i_end, i1):
                out[start + jj * rows + i] = x[start + i * columns + jj]
    for j in range(j_end, j1):
        for i in range(i0, i1):
            out[start + j * rows + i] = x[start + i * columns + j]
