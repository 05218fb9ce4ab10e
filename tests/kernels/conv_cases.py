"""The smallest convolutions at which each mistake shows: one table for the tests of every algorithm and for the stored PyTorch vectors (tests/vectors/conv.npz)."""
from contextlib import contextmanager
from functools import cache

import numba
import numpy as np
import pytest

from tinycnn.kernels import memory as memory_of_results
from tinycnn.kernels.conv import implicit, winograd, workspace
from tinycnn.kernels.conv.geometry import Geometry

#        x (N, C, H, W), w (K, C/G, R, S), Geometry(stride, padding, dilation, groups)
CASES = {
    "plain": ((2, 3, 7, 6), (4, 3, 3, 3), Geometry((1, 1), (1, 1))),
    "one by one": ((2, 5, 4, 5), (3, 5, 1, 1), Geometry()),
    "one by one, strided, padded": ((2, 4, 5, 6), (3, 4, 1, 1), Geometry((2, 2), (1, 1))),
    "one by one, padded": ((1, 2, 3, 4), (3, 2, 1, 1), Geometry((1, 1), (2, 1))),
    "stride leaves rows over": ((1, 2, 8, 9), (3, 2, 3, 3), Geometry((3, 3))),
    "stride jumps over inputs": ((1, 2, 9, 9), (3, 2, 2, 2), Geometry((3, 4))),
    "nothing symmetric": ((2, 2, 9, 8), (3, 2, 3, 2), Geometry((2, 1), (0, 2), (1, 3))),
    "nothing symmetric, turned": ((2, 2, 8, 9), (3, 2, 2, 3), Geometry((1, 3), (3, 0), (2, 1))),
    "dilation equal to the stride": ((1, 2, 9, 10), (2, 2, 3, 3), Geometry((2, 3), (2, 3), (2, 3))),
    "filter larger than the image": ((1, 2, 3, 4), (2, 2, 5, 6), Geometry((1, 1), (1, 1))),
    "more padding than image": ((1, 1, 2, 3), (2, 1, 3, 3), Geometry((1, 1), (4, 5))),
    "groups": ((2, 6, 5, 5), (4, 3, 3, 3), Geometry((1, 1), (1, 1), (1, 1), 2)),
    "groups, one by one": ((1, 6, 4, 3), (9, 2, 1, 1), Geometry((1, 1), (0, 0), (1, 1), 3)),
    "depthwise": ((2, 5, 6, 7), (5, 1, 3, 3), Geometry((2, 1), (1, 1), (1, 1), 5)),
    "depthwise, two filters each": ((1, 3, 5, 5), (6, 1, 2, 3), Geometry((1, 1), (1, 0), (1, 1), 3)),
    "all extents one": ((1, 1, 1, 1), (1, 1, 1, 1), Geometry()),
    "one row": ((2, 2, 1, 9), (3, 2, 1, 4), Geometry((1, 2), (0, 1))),
    "one column": ((2, 2, 9, 1), (3, 2, 4, 1), Geometry((2, 1), (1, 0))),
    "empty batch": ((0, 3, 5, 5), (2, 3, 3, 3), Geometry((1, 1), (1, 1))),
    "first layer": ((1, 3, 15, 17), (5, 3, 7, 7), Geometry((2, 2), (3, 3))),
}


def draw(case, dtype=np.float64, seed=0):
    """(x, w, bias, dy, geometry), drawn in float64 and rounded to dtype."""
    x_shape, w_shape, geometry = CASES[case]
    rng = np.random.default_rng(seed)
    y_shape = (x_shape[0], w_shape[0], *geometry.output_size(x_shape[2:], w_shape[2:]))
    return *(rng.standard_normal(shape).astype(dtype) for shape in (x_shape, w_shape, w_shape[:1], y_shape)), geometry


def count_up(case):
    """An image of x's shape that holds 1, 2, 3, ...: unfolding copies and folding adds, so whole numbers come out exactly."""
    x_shape = CASES[case][0]
    return np.arange(1.0, np.prod(x_shape) + 1).reshape(x_shape)


FENCE = 4096  # bytes


@contextmanager
def fenced_memory():
    """Packed filters, scratch memory and results of the fast kernels stand between bytes that nobody may touch. They are looked at in the end."""
    kept = []

    def aligned(elements, dtype):
        size = elements * np.dtype(dtype).itemsize
        memory = np.full(size + 2 * FENCE + 64, 0xAB, np.uint8)
        first = FENCE + -(memory.ctypes.data + FENCE) % 64
        kept.append((memory[:first], memory[first + size:]))
        return memory[first:first + size].view(dtype)

    workspace.forget()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace, "APART", 0)  # or the fence would stand behind a meadow
        for module in (workspace, implicit, winograd):
            patch.setattr(module, "aligned", aligned)
        patch.setattr(memory_of_results, "_on_a_line", lambda shape, dtype: aligned(int(np.prod(shape)), dtype).reshape(shape))
        yield
    workspace.forget()
    assert kept and all((fence == 0xAB).all() for fences in kept for fence in fences), "something was written outside its memory"


@cache
def introduce_empty():
    """Numba gets to know NumPy's functions when it first compiles: it must be the real np.empty that it meets."""
    numba.njit(lambda: np.empty(1))()


@contextmanager
def poisoned_memory():
    """np.empty gives floats that are NaN, as freshly allocated memory may: whoever relies on zeros or forgets an element shows."""
    introduce_empty()
    workspace.forget()
    empty = np.empty

    def nans(shape, dtype=float, **options):
        array = empty(shape, dtype, **options)
        if array.dtype.kind == "f":
            array[...] = np.nan
        elif array.dtype == np.uint8:  # bytes that will be viewed as floats
            array[...] = 255
        return array
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "empty", nans)
        yield
