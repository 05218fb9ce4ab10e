"""Reading and writing at computed positions: the gathers and, as their adjoints, the scatters that add.

What was read twice receives twice: `put_add` accumulates where an index occurs more than once (a plain x[index] += v would keep only the last).
"""
import numpy as np


def take(x, index):
    """x[index] for any NumPy index (integers, slices, None, integer and boolean arrays, mixed)."""
    return x[index]


def put_add(shape, index, values):
    """Zeros of `shape` with `values` added at `index`: the adjoint of take."""
    out = np.zeros(shape, values.dtype)
    if any(isinstance(i, np.ndarray) for i in (index if isinstance(index, tuple) else (index,))):
        np.add.at(out, index, values)
    else:
        out[index] = values  # slices and integers never name an element twice
    return out


def set_(x, index, values):
    """x[index] = values in x's own memory."""
    x[index] = values


def shape(x, index):
    """The shape of x[index]."""
    return np.shape(x[index])


def gather(x, axis, index):
    """out[..., j, ...] = x[..., index[..., j, ...], ...] along `axis`; the other axes of index and x agree."""
    return np.take_along_axis(x, index, axis)


def scatter_add(shape, axis, index, values):
    """Zeros of `shape` with values[..., j, ...] added at [..., index[..., j, ...], ...]: the adjoint of gather."""
    out = np.zeros(shape, values.dtype)
    where = list(np.ogrid[tuple(slice(n) for n in index.shape)]) if index.ndim else []
    where[axis] = index
    np.add.at(out, tuple(where), values)
    return out
