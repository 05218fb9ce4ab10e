"""Indexing. Reading and its adjoint, adding at the same places, are each other's backward.

An index of integers, slices, None and ... is a view; with integer or boolean tensors in it, a copy.
"""
import numpy as np

from ..autograd import Function
from ..tensor import Tensor
from .common import one_dim, operand, promoted, sum_to


class Take(Function):
    """x[index]"""

    is_view = True

    def forward(ctx, x, index):
        ctx.index, ctx.shape = index, x.shape
        return ctx.kernels.index.take(x.array, index)

    def backward(ctx, dy):
        return PutAdd.apply(dy, ctx.index, ctx.shape), None


class PutAdd(Function):
    """Zeros with dy added at index: what was read twice receives twice."""

    def forward(ctx, dy, index, shape):
        ctx.index = index
        return ctx.kernels.index.put_add(shape, index, dy.array)

    def backward(ctx, ddx):
        return Take.apply(ddx, ctx.index), None, None


class Set(Function):
    """x[index] = value, in place: what was overwritten receives no gradient any more."""

    def forward(ctx, x, index, value):
        ctx.index, ctx.value_shape = index, value.shape if isinstance(value, Tensor) else ()
        ctx.mark_dirty(x)
        place, index = last_step(x, index)
        ctx.kernels.index.set_(place, index, value.array if isinstance(value, Tensor) else value)
        return x

    def backward(ctx, dy):
        dx, _, dvalue = ctx.needs_input_grad
        kept = None
        if dx:
            kept = dy.clone()
            kept[ctx.index] = 0.0
        return kept, None, sum_to(getitem(dy, ctx.index), ctx.value_shape) if dvalue else None


class Gather(Function):
    def forward(ctx, x, dim, index):
        ctx.dim, ctx.shape = dim, x.shape
        ctx.save_for_backward(index)
        return ctx.kernels.index.gather(x.array, dim, index.array)

    def backward(ctx, dy):
        index, = ctx.saved_tensors
        return ScatterAdd.apply(dy, ctx.dim, index, ctx.shape), None, None


class ScatterAdd(Function):
    def forward(ctx, dy, dim, index, shape):
        ctx.dim = dim
        ctx.save_for_backward(index)
        return ctx.kernels.index.scatter_add(shape, dim, index.array, dy.array)

    def backward(ctx, ddx):
        index, = ctx.saved_tensors
        return Gather.apply(ddx, ctx.dim, index), None, None, None


def getitem(x, index):
    for step in steps(plain_index(index, x)):
        x = Take.apply(x, step)
    return x


def setitem(x, index, value):
    value = operand(value)
    if isinstance(value, Tensor) and value.dtype != x.dtype:
        promoted("setitem", x.dtype, value.dtype)  # the error for float32 with float64
        value = value.to(x.dtype)
    index = plain_index(index, x)
    selected = x.device.kernels.index.shape(*last_step(x, index))
    if isinstance(value, Tensor) and not fits(value.shape, selected):
        raise ValueError(f"setitem: a value of shape {value.shape} does not fit the {selected} that the index selects from {x.shape}")
    Set.apply(x, index, value)


def fits(shape, target):
    """Whether an array of this shape can be broadcast to the target."""
    try:
        return np.broadcast_shapes(shape, target) == target
    except ValueError:
        return False


def plain_index(index, x):
    """The index as NumPy takes it: tensors as their arrays, and ... at the end, without which x[0] of a vector would be a number and no view."""
    parts = index if isinstance(index, tuple) else (index,)
    plain = []
    for part in parts:
        if isinstance(part, Tensor):
            if part.dtype.kind not in "iub":
                raise IndexError(f"an index tensor must be integer or boolean, not {part.dtype}")
            part = part.item() if part.ndim == 0 and part.dtype.kind != "b" else part.array
        elif isinstance(part, (list, range)):
            part = np.asarray(part, dtype=None if len(part) else np.int64)
        plain.append(part)
    named = sum(p.ndim if getattr(p, "dtype", np.dtype(int)).kind == "b" else 1 for p in plain if p is not None and p is not Ellipsis)
    if named > x.ndim:
        raise IndexError(f"too many indices: {named} for a tensor of shape {x.shape}")
    return tuple(plain) if any(part is Ellipsis for part in plain) else (*plain, Ellipsis)


def steps(index):
    """An index as PyTorch reads it: the integers first, then the arrays, on what those have left. NumPy takes an integer beside arrays for one more of them: in
    x[0, :, numbers] they would be two, apart from each other, and the axis of what is chosen would come first."""
    numbers = [isinstance(part, (int, np.integer)) and not isinstance(part, bool) for part in index]
    if not any(numbers) or not any(map(is_array, index)):
        return [index]
    first, then = [], []
    for part, is_number in zip(index, numbers):
        if is_array(part):
            first += [slice(None)] * (part.ndim if part.dtype.kind == "b" else 1)
            then.append(part)
        else:
            first.append(part)
            then += [] if is_number else [part] if part is Ellipsis else [slice(None)]
    return [tuple(first), tuple(then)]


def last_step(x, index):
    """(a view of x's array, an index into it) that together are x[index]."""
    *before, last = steps(index)
    place = x.array
    for step in before:
        place = x.device.kernels.index.take(place, step)
    return place, last


def is_array(part):
    return hasattr(part, "dtype") and not isinstance(part, np.generic)


def gather(x, dim, index):
    """out[i][j][k] = x[i][index[i][j][k]][k] for dim=1, and likewise for the others. Extents other than `dim` must agree. Negative numbers count from the end.

    One out of range is an IndexError on the CPU. On a GPU, where to look would mean to wait for all that is queued, it gives NaN (of integers: 0), and so does
    x[index].
    """
    dim = one_dim("gather", dim, x.ndim)
    if index.ndim != x.ndim or any(n != m for i, (n, m) in enumerate(zip(index.shape, x.shape)) if i != dim):
        raise ValueError(f"gather: index of shape {index.shape} does not fit {x.shape}: all extents but that of dimension {dim} must agree")
    return Gather.apply(x, dim, index)


def scatter_add(x, dim, index, src):
    """x + the values of src added at index along dim: the adjoint of gather. A number out of range is an IndexError on the CPU; on a GPU it adds nothing."""
    dim = one_dim("scatter_add", dim, x.ndim)
    return x + ScatterAdd.apply(src, dim, index, x.shape)


def index_select(x, dim, index):
    """The entries of `dim` that a 1-D index names."""
    return getitem(x, (slice(None),) * one_dim("index_select", dim, x.ndim) + (index,))


def masked_fill(x, mask, value):
    """x with `value` where mask holds."""
    from .arithmetic import where
    return where(mask, value, x)
