"""Reductions on the GPU (reduce.cu, position.cu): any axes of arrays that lie in memory in any way, which are read where they lie."""
from math import prod as product

import numpy as np

from ..cuda import array_module, contiguous, empty, launch, layout, strided
from ..cuda.block import BLOCK, teams
from ..cuda.memory import around

SOURCE, POSITION = "reduce/reduce.cu", "reduce/position.cu"


def sum(x, axes, keepdims):
    return _reduce(x, axes, keepdims, "a + b", 0, _sum_dtype(x.dtype))


def prod(x, axes, keepdims):
    return _reduce(x, axes, keepdims, "a * b", 1, _sum_dtype(x.dtype))


def amax(x, axes, keepdims):
    return _reduce(_some("maximum", x), axes, keepdims, "a > b || a != a ? a : b", _limits(x.dtype)[0], x.dtype)


def amin(x, axes, keepdims):
    return _reduce(_some("minimum", x), axes, keepdims, "a < b || a != a ? a : b", _limits(x.dtype)[1], x.dtype)


def any(x, axes, keepdims):
    return _reduce(x, axes, keepdims, "a || b", False, np.dtype(bool))


def all(x, axes, keepdims):
    return _reduce(x, axes, keepdims, "a && b", True, np.dtype(bool))


def argmax(x, axis, keepdims):
    """The first position of the maximum along one axis (None: in the flattened array)."""
    return _position(x, axis, keepdims, "a > b || (a != a && b == b)")


def argmin(x, axis, keepdims):
    return _position(x, axis, keepdims, "a < b || (a != a && b == b)")


def _sum_dtype(dtype):
    """NumPy's: small integers and booleans add up as int64."""
    return np.add.reduce(np.empty(1, dtype)).dtype


def _limits(dtype):
    """What loses to every number, as a maximum and as a minimum."""
    if dtype.kind == "f":
        return -np.inf, np.inf
    return (False, True) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)


def _some(what, x):
    if x.size == 0:
        raise ValueError(f"the {what} of no elements: the array has shape {x.shape}")
    return x


def _reduce(x, axes, keepdims, combine, start, dtype):
    axes = tuple(axis % x.ndim for axis in axes)
    stay = tuple(axis for axis in range(x.ndim) if axis not in axes)
    shape = tuple(1 if axis in axes else n for axis, n in enumerate(x.shape)) if keepdims else tuple(x.shape[axis] for axis in stay)
    if x.size == 0:
        return array_module().full(shape, start, dtype)
    return _combined(x.transpose(*stay, *axes), len(stay), combine, start, dtype).reshape(shape)


def _combined(x, stay, combine, start, dtype):
    """The last axes of x, from number `stay` on, reduced."""
    kept, reduced = x[(Ellipsis, *(0,) * (x.ndim - stay))], x[(0,) * stay]
    side_by_side = _nearest(reduced) <= _nearest(kept)
    results, length = product(kept.shape), product(reduced.shape)
    size, blocks, part, parts = teams(results, length, side_by_side)
    y = empty((parts, *kept.shape), dtype)
    launch(SOURCE, "reduce", (blocks, parts), BLOCK, strided(x), layout(kept.shape, y[0], kept), layout(reduced.shape, reduced), start, y, results, length, part,
           size, side_by_side, X=x.dtype, Y=dtype, COMBINE=combine)
    return y[0] if parts == 1 else _combined(y.transpose(*range(1, y.ndim), 0), stay, combine, start, dtype)


def _nearest(x):
    """How near each other neighbours of x lie, in bytes; infinitely far, if there are none."""
    return min((abs(step) for n, step in zip(x.shape, x.strides) if n > 1), default=float("inf"))


def _position(x, axis, keepdims, beats):
    x, axis = contiguous(_some("position", x)), axis if axis is None else axis % x.ndim
    shape = tuple(1 if axis in (None, i) else n for i, n in enumerate(x.shape))
    before, length, after = (1, x.size, 1) if axis is None else around(x, axis)
    size, blocks, *_ = teams(before * after, length, after == 1)
    y = empty((before * after,), np.int64)
    launch(POSITION, "position", blocks, BLOCK, x, y, y.size, length, after, size, X=x.dtype, BEATS=beats)
    return y.reshape(shape if keepdims else tuple(n for i, n in enumerate(shape) if axis is not None and i != axis))
