"""Matrix product on the GPU (matmul.cu): operands are read where they lie, transposed, sliced, or broadcast over a batch; nothing is copied beforehand.

TINYCNN_CUDA_MATMUL=cublas takes NVIDIA's library, through CuPy, in place of our kernel (where there is CuPy: the simulator has our kernel alone).
How the work is cut is a function of the shape: neither the device nor what else runs on it changes a bit of the result.
"""
import math
import os
from functools import lru_cache

import numpy as np

from ..cuda import array_module, blocks, empty, launch, layout, strided
from ..cuda.backend import is_simulated
from ..cuda.layout import Lying
from ..cuda.roofline import BANDWIDTH, EFFICIENCY, MULTIPROCESSORS, PEAK, rounds

SOURCE = "matmul/matmul.cu"
THREADS = 256  # of a block
SIDES = {"small": 64, "large": 128}  # of tiles; in double a large one is small (tile.h)
BLOCKS = 264  # of large tiles, at least: two for each multiprocessor
MOST_BLOCKS = 528  # of parts: beyond four for each multiprocessor there is nothing to gain
LEAST_DEPTH = 256  # of a part of the sum over K
CHOICES = ("own", "cublas")


def matmul(a, b):
    """(..., M, N) from a (..., M, K) and b (..., K, N). K = 0 gives zeros: an empty sum."""
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not fit: the last of the first and the one before the last of the second must be equal")
    if b.ndim == 2 and a.ndim > 2 and a.flags.c_contiguous:  # one B for the whole batch: it makes one tall A
        return matmul(a.reshape(math.prod(a.shape[:-1]), a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[-1])
    c = empty((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]), a.dtype)
    return multiply(a, b, c)


def linear(x, w, bias):
    """(..., O) from x (..., I), w (O, I) and bias (O,) or None."""
    y = empty((math.prod(x.shape[:-1]), w.shape[0]), x.dtype)
    multiply(x.reshape(len(y), x.shape[-1]), w.T, y, bias)
    return y.reshape(*x.shape[:-1], w.shape[0])


def multiply(a, b, c, bias=None):
    """c = a @ b (+ bias) in c's own memory, which may lie in any way. c (..., M, N) says the batch; a, b and bias (..., N) broadcast to it. Returns c."""
    if c.size == 0:
        return c
    if uses_cublas():
        return _cublas(a, b, c, bias)
    (M, N), K, batch = c.shape[-2:], a.shape[-1], c.shape[:-2]
    tile, parts = cut(M, N, K, math.prod(batch), c.dtype)
    side = SIDES[tile if c.dtype == np.float32 else "small"]
    partial = c if parts == 1 else empty((parts, *c.shape), c.dtype)
    result = partial if parts == 1 else partial[0]
    along = layout(batch, *(_first(x, 2) if x.size else None for x in (result, a, b)), None if bias is None else _first(bias, 1))
    launch(SOURCE, f"multiply_{tile}", (math.prod(batch) * blocks(M, side) * blocks(N, side), parts), THREADS, along, *_matrix(a), *_matrix(b),
           strided(partial), *_steps(result), bias if parts == 1 else None, M, N, K, blocks(K, parts * 4) * 4, c.size, real=c.dtype)
    if parts > 1:
        along = layout(c.shape, c, result, None if bias is None else bias[..., None, :])
        launch(SOURCE, "add_parts", blocks(c.size, THREADS), THREADS, along, strided(c), partial, parts, bias, c.size, real=c.dtype)
    return c


@lru_cache(maxsize=4096)
def cut(M, N, K, matrices, dtype):
    """(kind of tile, parts of the sum over K): large tiles where they make blocks enough and are well filled, else small ones, and of a long sum as many parts as take
    the least time: all tiles of a part, each in its round of multiprocessors, and the partial sums written and read."""
    tiles = {kind: matrices * blocks(M, side) * blocks(N, side) for kind, side in SIDES.items()}
    if tiles["large"] >= BLOCKS and dtype == np.float32 and 4 * tiles["large"] * EFFICIENCY["small"] <= tiles["small"] * EFFICIENCY["large"]:
        return "large", 1
    side, of = SIDES["small"], matrices * M * N * dtype.itemsize
    whole = 2 * side * side * K * MULTIPROCESSORS / (PEAK[dtype.itemsize] * EFFICIENCY["small"])  # seconds of one block on its multiprocessor
    few = min(K // LEAST_DEPTH, MOST_BLOCKS // max(1, tiles["small"]))
    return "small", min(range(1, max(1, few) + 1), key=lambda parts: rounds(tiles["small"] * parts) / parts * whole + (2 * parts * of / BANDWIDTH if parts > 1 else 0))


def uses_cublas():
    """Whether the environment asks for it, and CuPy is there."""
    choice = os.environ.get("TINYCNN_CUDA_MATMUL") or "own"
    if choice not in CHOICES:
        raise ValueError(f"TINYCNN_CUDA_MATMUL is {choice!r}; it can be {' or '.join(map(repr, CHOICES))}")
    return choice == "cublas" and not is_simulated()


def _cublas(a, b, c, bias):
    from ..elementwise.cuda import add_, copy_
    copy_(c, array_module().matmul(a, b))
    if bias is not None:
        add_(c, bias[..., None, :])
    return c


def _first(x, axes):
    """How the first elements along the last `axes` axes lie: x[..., 0, 0] for two."""
    return Lying(x.shape[:-axes], x.strides[:-axes], x.itemsize)


def _matrix(x):
    """A matrix as the kernel takes it: where it is, and its steps."""
    return strided(x), *_steps(x)


def _steps(x):
    """Elements from row to row and from column to column."""
    return x.strides[-2] // x.itemsize, x.strides[-1] // x.itemsize
