"""Reading and writing at computed positions on the GPU (index.cu; see the reference). Integers, slices, None and ... make views, which need no kernel.

Arrays of integers in an index are turned into positions, offsets in memory, by a kernel for each. A number out of range in an array of the host is an error, as in
NumPy; one in an array of the device, which the host would have to wait for, reads NaN (integers: 0) and writes nothing.
A boolean array of the device is waited for: nobody knows the shape of the result before.
"""
from math import prod
from typing import NamedTuple

import numpy as np

from ..cuda import array_module, blocks, contiguous, empty, launch, layout, strided
from ..cuda.memory import from_host
from ..elementwise.cuda import cast, copy_

SOURCE, BLOCK = "index/index.cu", 256
THREADS = 1 << 17  # wanted of scatter_add: about half of what an H100 holds


def take(x, index):
    """x[index]"""
    chosen = _chosen(x, index)
    if chosen is None:
        return x[index]
    y = empty(chosen.shape, x.dtype)
    rest = chosen.rest[(slice(None),) * chosen.axis + (None,) * chosen.positions.ndim]
    positions = chosen.positions[(Ellipsis, *(None,) * (chosen.rest.ndim - chosen.axis))]
    launch(SOURCE, "take", blocks(y.size, BLOCK), BLOCK, layout(y.shape, y, rest, positions), strided(chosen.view), chosen.positions, y, y.size, T=x.dtype)
    return y


def put_add(shape, index, values):
    """Zeros of `shape` with `values` added at `index`: the adjoint of take."""
    out = array_module().zeros(shape, values.dtype)
    chosen = _chosen(out, index)
    if chosen is None:
        copy_(out[index], values)  # slices and integers never name an element twice
    else:
        _put(chosen, values, True)
    return out


def set_(x, index, values):
    """x[index] = values in x's own memory."""
    chosen = _chosen(x, index)
    if chosen is None:
        copy_(x[index], values)
    else:
        _put(chosen, values if hasattr(values, "dtype") else array_module().full((), values, x.dtype), False)


def shape(x, index):
    """The shape of x[index]."""
    chosen = _chosen(x, index)
    return x[index].shape if chosen is None else chosen.shape


def gather(x, axis, index):
    """out[..., j, ...] = x[..., index[..., j, ...], ...] along `axis`; the other axes of index and x agree."""
    y = empty(index.shape, x.dtype)
    launch(SOURCE, "gather", blocks(y.size, BLOCK), BLOCK, contiguous(x), _int64(index), y, y.size, x.shape[axis], index.shape[axis], prod(index.shape[axis + 1:]),
           T=x.dtype)
    return y


def scatter_add(shape, axis, index, values):
    """Zeros of `shape` with values[..., j, ...] added at [..., index[..., j, ...], ...]: the adjoint of gather."""
    y = empty(shape, values.dtype)
    length, after = shape[axis], prod(shape[axis + 1:])
    rows = prod(shape[:axis]) * after
    part = max(1, rows * length // max(THREADS, rows))
    n = rows * blocks(length, part)
    launch(SOURCE, "scatter_add", blocks(n, BLOCK), BLOCK, contiguous(values), _int64(index), y, n, length, index.shape[axis], after, part, T=values.dtype)
    return y


# ---- indices with arrays in them

class Chosen(NamedTuple):
    """What an index with arrays chooses: an element of `rest` (the axes that are not indexed by arrays) and, `positions` further on, the one that is indexed."""

    view: object  # x after the slices and None of the index
    rest: object
    positions: object  # int64, in elements
    axis: int  # of the result, at which the axes of `positions` stand
    shape: tuple  # of the result


def _chosen(x, index):
    """The index as a Chosen; None if there is no array in it."""
    parts = index if isinstance(index, tuple) else (index,)
    if not any(map(_is_array, parts)):
        return None
    parts = _complete(parts, x.ndim)
    numbered = [number for number, part in enumerate(parts) if _is_array(part) or isinstance(part, (int, np.integer))]  # beside arrays an integer is one, too
    view = x[tuple(slice(None) if number in numbered else part for number, part in enumerate(parts))]
    others = [axis for axis in range(view.ndim) if axis not in numbered]
    turned = view.transpose(*others, *numbered)
    extents = turned.shape[len(others):]
    if 0 in extents:
        raise IndexError(f"an array indexes an axis of no elements: the shape is {x.shape}")
    rest, strides = turned[(Ellipsis, *(0,) * len(numbered))], [step // x.itemsize for step in turned.strides[len(others):]]
    positions = _positions([parts[number] for number in numbered], extents, strides)
    together = numbered == list(range(numbered[0], numbered[-1] + 1))
    axis = numbered[0] if together else 0
    return Chosen(view, rest, positions, axis, (*rest.shape[:axis], *positions.shape, *rest.shape[axis:]))


def _complete(parts, ndim):
    """The parts with ... spelt out and boolean arrays as arrays of integers: one part for each axis of x, and None."""
    plain = []
    for part in parts:
        if _is_array(part) and part.dtype == bool:
            plain += np.nonzero(array_module().asnumpy(part))
        else:
            plain.append(part)
    missing = (slice(None),) * (ndim - sum(part is not None and part is not Ellipsis for part in plain))
    dots = next((number for number, part in enumerate(plain) if part is Ellipsis), len(plain))
    return (*plain[:dots], *missing, *plain[dots + 1:])


def _positions(arrays, extents, strides):
    """The sum of index * stride over the arrays, which broadcast."""
    for array, extent in zip(arrays, extents):
        if isinstance(array, (int, np.integer, np.ndarray)) and np.size(array) and not (np.min(array) >= -extent and np.max(array) < extent):
            raise IndexError(f"index {np.min(array) if np.min(array) < -extent else np.max(array)} is out of bounds for an axis of {extent}")
    arrays = [_int64(array) for array in arrays]
    positions = array_module().zeros(np.broadcast_shapes(*(array.shape for array in arrays)), np.int64)
    for array, extent, stride in zip(arrays, extents, strides):
        launch(SOURCE, "add_position", blocks(positions.size, BLOCK), BLOCK, layout(positions.shape, positions, array), positions, strided(array), extent, stride,
               positions.size, T=np.int64)
    return positions


def _put(chosen, values, adds):
    """The values, which broadcast to the shape of the result, at their places."""
    first, count = chosen.axis, chosen.positions.ndim
    values = array_module().broadcast_to(values, chosen.shape)
    axes = range(values.ndim)
    values = contiguous(values.transpose(*axes[first:first + count], *axes[:first], *axes[first + count:])).reshape(chosen.positions.size, *chosen.rest.shape)
    positions, n = chosen.positions, chosen.positions.size
    if values.size:
        following, first = empty((n,), np.int32), empty((n,), bool)
        launch(SOURCE, "chain", blocks(n, BLOCK), BLOCK, positions, following, first, n, T=values.dtype)
        launch(SOURCE, "put", blocks(values.size, BLOCK), BLOCK, layout(chosen.rest.shape, values[0], chosen.rest), positions, following, first, values,
               strided(chosen.view), chosen.rest.size, values.size, adds, T=values.dtype)


def _is_array(part):
    return isinstance(part, (np.ndarray, array_module().ndarray))


def _int64(array):
    """On the device, contiguous."""
    array = from_host(np.asarray(array, np.int64)) if isinstance(array, (int, np.integer, np.ndarray)) else array
    return contiguous(array) if array.dtype == np.int64 else cast(array, np.dtype(np.int64))
