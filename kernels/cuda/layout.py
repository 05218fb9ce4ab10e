"""How arrays lie in memory that are gone through together, element by element: the struct `Layout` of device.h.

A kernel that broadcasts, or that reads a transposed or sliced view, gets extents and strides by value, in the few hundred bytes of its parameters: no memory is
allocated and nothing is copied to the device. Adjacent axes that all arrays pass through as if they were one are merged, so most views have one or two axes left,
and the walk follows the memory of the first array.
"""
from functools import lru_cache
from typing import NamedTuple

import numpy as np

MOST_AXES, MOST_ARRAYS = 8, 4
LAYOUT = np.dtype([("axes", np.int64), ("extent", np.int64, (MOST_AXES,)), ("stride", np.int64, (MOST_ARRAYS, MOST_AXES))])


class Lying(NamedTuple):
    """Where an array's elements lie: all that `layout` looks at, for whoever has no array of this shape."""

    shape: tuple
    strides: tuple
    itemsize: int


def layout(shape, *arrays):
    """The Layout of arrays that broadcast to `shape`; the first has that shape, and the walk goes along its memory. None stands for a number, which lies nowhere."""
    return _layout(tuple(shape), *(x if x is None else Lying(x.shape, x.strides, x.itemsize) for x in arrays))


@lru_cache(maxsize=4096)
def _layout(shape, *arrays):
    strides = [_strides(array, shape) for array in arrays]
    axes = sorted((axis for axis in range(len(shape)) if shape[axis] != 1), key=lambda axis: -abs(strides[0][axis]))
    merged = []  # [extent, (stride in each array)], outermost first
    for axis in axes:
        extent, steps = shape[axis], [s[axis] for s in strides]
        if merged and all(outer == step * extent for outer, step in zip(merged[-1][1], steps)):
            merged[-1] = (merged[-1][0] * extent, steps)
        else:
            merged.append((extent, steps))
    if len(merged) > MOST_AXES:
        raise ValueError(f"layout: arrays of shape {shape} with these strides need {len(merged)} axes; kernels walk along {MOST_AXES} at most: "
                         "make one contiguous")
    out = np.zeros((), LAYOUT)
    out["axes"] = len(merged)
    for i, (extent, steps) in enumerate(merged):
        out["extent"][i] = extent
        out["stride"][:len(arrays), i] = steps
    out.flags.writeable = False
    return out


def _strides(array, shape):
    """Strides in elements along the axes of `shape`; 0 where the array repeats."""
    if array is None:
        return (0,) * len(shape)
    missing = len(shape) - len(array.shape)
    return (0,) * missing + tuple(0 if n == 1 else step // array.itemsize for n, step in zip(array.shape, array.strides))
