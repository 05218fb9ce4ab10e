"""Views and rearrangements: the same numbers under another shape. Nothing is computed, and the backward is the inverse rearrangement.

A reshape whose strides forbid a view copies (as PyTorch's `reshape` does; here `view` does too, because memory order is not part of a tensor's meaning: an image
batch may be channels-last).
"""
import numpy as np

from ..autograd import Function
from ..device import Device
from ..device import device as find_device
from ..tensor import Tensor, channels_last, contiguous_format, preserve_format
from .common import many_dims, one_dim, promoted, sum_to


class Reshape(Function):
    is_view = True

    def forward(ctx, x, shape):
        ctx.shape = x.shape
        return ctx.kernels.elementwise.reshape(x.array, shape)

    def backward(ctx, dy):
        return Reshape.apply(dy, ctx.shape), None


class Permute(Function):
    is_view = True

    def forward(ctx, x, dims):
        ctx.dims = dims
        return x.array.transpose(dims)

    def backward(ctx, dy):
        return Permute.apply(dy, tuple(int(i) for i in np.argsort(ctx.dims))), None


class Expand(Function):
    """Copies that take no memory: stride 0. The backward adds up what the copies received."""

    is_view = True

    def forward(ctx, x, shape):
        ctx.shape = x.shape
        return ctx_xp(x).broadcast_to(x.array, shape)

    def backward(ctx, dy):
        return sum_to(dy, ctx.shape), None


class Cat(Function):
    def forward(ctx, dim, *tensors):
        ctx.dim, ctx.sizes = dim, [x.shape[dim] for x in tensors]
        return ctx.kernels.elementwise.concatenate([x.array for x in tensors], dim)

    def backward(ctx, dy):
        starts = np.cumsum([0] + ctx.sizes)
        pieces = [narrow(dy, ctx.dim, int(start), size) if needed else None
                  for start, size, needed in zip(starts, ctx.sizes, ctx.needs_input_grad[1:])]
        return (None, *pieces)


class Copy(Function):
    """Fresh memory, in logical order or channels-last."""

    def forward(ctx, x, last):
        return ctx.kernels.elementwise.copy(x.array, last)

    def backward(ctx, dy):
        return dy, None


class Cast(Function):
    def forward(ctx, x, dtype):
        ctx.dtype = x.dtype
        return ctx.kernels.elementwise.cast(x.array, dtype)

    def backward(ctx, dy):
        return Cast.apply(dy, ctx.dtype), None


class Move(Function):
    """The same numbers in the memory of another device."""

    def forward(ctx, x, device):
        ctx.source = x.device
        return Tensor(device.xp.asarray(x.device.to_numpy(x.array)), device)

    def backward(ctx, dy):
        return Move.apply(dy, ctx.source), None


def ctx_xp(x):
    """The array module of x's device."""
    return x.device.xp


def reshape(x, *shape):
    """The same elements in row-major order under another shape; one extent may be -1, whatever remains."""
    shape = _ints(shape)
    known = int(np.prod([n for n in shape if n != -1], dtype=np.int64))
    free = shape.count(-1)
    if free > 1 or (free == 0 and known != x.numel()) or (free == 1 and (known == 0 or x.numel() % known)):
        raise ValueError(f"reshape: {x.numel()} elements of shape {x.shape} do not fit into {shape}")
    return x if shape == x.shape else Reshape.apply(x, shape)


def view_as(x, other):
    return reshape(x, other.shape)


def flatten(x, start_dim=0, end_dim=-1):
    """Dimensions start_dim ... end_dim as one."""
    if x.ndim == 0:
        return reshape(x, 1)
    start, end = one_dim("flatten", start_dim, x.ndim), one_dim("flatten", end_dim, x.ndim)
    if start > end:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim} in a tensor of shape {x.shape}")
    merged = int(np.prod(x.shape[start:end + 1], dtype=np.int64))
    return Reshape.apply(x, x.shape[:start] + (merged,) + x.shape[end + 1:])


def unflatten(x, dim, sizes):
    """One dimension as several."""
    dim = one_dim("unflatten", dim, x.ndim)
    sizes = tuple(sizes)
    if -1 in sizes:
        rest = int(np.prod([n for n in sizes if n != -1], dtype=np.int64))
        sizes = tuple(x.shape[dim] // rest if n == -1 else n for n in sizes)
    return reshape(x, x.shape[:dim] + sizes + x.shape[dim + 1:])


def squeeze(x, dim=None):
    """Without the dimensions of extent 1 (all of them, or those named)."""
    dims = many_dims("squeeze", dim, x.ndim)
    return Reshape.apply(x, tuple(n for i, n in enumerate(x.shape) if not (n == 1 and i in dims)))


def unsqueeze(x, dim):
    """With a new dimension of extent 1 before dimension `dim`."""
    dim = one_dim("unsqueeze", dim, x.ndim + 1)
    return Reshape.apply(x, x.shape[:dim] + (1,) + x.shape[dim:])


def permute(x, *dims):
    """Dimensions in another order."""
    dims = _ints(dims)
    order = tuple(one_dim("permute", d, x.ndim) for d in dims)
    if sorted(order) != list(range(x.ndim)):
        raise ValueError(f"permute: {dims} is not an order of the {x.ndim} dimensions of {x.shape}")
    return Permute.apply(x, order)


def transpose(x, dim0, dim1):
    """Two dimensions exchanged."""
    order = list(range(x.ndim))
    i, j = one_dim("transpose", dim0, x.ndim), one_dim("transpose", dim1, x.ndim)
    order[i], order[j] = order[j], order[i]
    return Permute.apply(x, tuple(order)) if order else x


def t(x):
    """The transpose of a matrix."""
    if x.ndim > 2:
        raise ValueError(f"t: expected at most 2 dimensions, got shape {x.shape}; use transpose(dim0, dim1)")
    return transpose(x, 0, 1) if x.ndim == 2 else x


def expand(x, *shape):
    """Copies along dimensions of extent 1, without memory; -1 keeps an extent."""
    shape = _ints(shape)
    extra = len(shape) - x.ndim
    if extra < 0:
        raise ValueError(f"expand: {x.shape} has more dimensions than {shape}")
    target = tuple(x.shape[i - extra] if n == -1 and i >= extra else n for i, n in enumerate(shape))
    if any(n != m and m != 1 for n, m in zip(target[extra:], x.shape)) or -1 in target:
        raise ValueError(f"expand: {x.shape} cannot become {shape}: only extents of 1 can grow")
    return Expand.apply(x, target)


def expand_as(x, other):
    return expand(x, other.shape)


def broadcast_to(x, shape):
    return expand(x, shape)


def cat(tensors, dim=0):
    """Tensors one after another along `dim`; the other extents must agree."""
    tensors = list(tensors)
    if not tensors:
        raise ValueError("cat: needs at least one tensor")
    if tensors[0].ndim == 0:
        raise ValueError("cat: a tensor of no dimensions cannot be put beside others along one; stack makes a dimension")
    dim = one_dim("cat", dim, tensors[0].ndim)
    first = tensors[0].shape
    for i, x in enumerate(tensors):
        if x.ndim != len(first) or any(n != m for j, (n, m) in enumerate(zip(x.shape, first)) if j != dim):
            raise ValueError(f"cat: along dimension {dim}, tensor {i} of shape {x.shape} does not fit tensor 0 of shape {first}: other extents must agree")
    dtype = tensors[0].dtype
    for x in tensors[1:]:
        dtype = dtype if x.dtype == dtype else promoted("cat", dtype, x.dtype)
    return Cat.apply(dim, *(x if x.dtype == dtype else x.to(dtype) for x in tensors))


def stack(tensors, dim=0):
    """Tensors of one shape along a new dimension."""
    tensors = list(tensors)
    if len({x.shape for x in tensors}) > 1:
        raise ValueError(f"stack: all shapes must be the same, got {', '.join(str(x.shape) for x in tensors)}")
    return cat([unsqueeze(x, dim) for x in tensors], dim if dim >= 0 else dim + tensors[0].ndim + 1)


def narrow(x, dim, start, length):
    """`length` entries from `start` along `dim`; a negative start counts from the end."""
    dim = one_dim("narrow", dim, x.ndim)
    first = start + x.shape[dim] if start < 0 else start
    if not 0 <= first <= first + length <= x.shape[dim]:
        raise IndexError(f"narrow: {length} entries from {start} on are not all within dimension {dim} of {x.shape}")
    return x[(slice(None),) * dim + (slice(first, first + length),)]


def split(x, split_size_or_sections, dim=0):
    """Pieces along `dim`: each of the given size (the last may be smaller), or of the sizes in a list."""
    dim = one_dim("split", dim, x.ndim)
    extent = x.shape[dim]
    if isinstance(split_size_or_sections, (int, np.integer)):
        step = int(split_size_or_sections)
        if step < 1:
            raise ValueError(f"split: the size of a piece is {step}; it must be at least 1")
        sizes = [min(step, extent - start) for start in range(0, extent, step)] or [0]
    else:
        sizes = list(split_size_or_sections)
    if sum(sizes) != extent:
        raise ValueError(f"split: pieces of {sizes} do not add up to the {extent} entries of dimension {dim}")
    starts = np.cumsum([0] + sizes)
    return tuple(narrow(x, dim, int(start), size) for start, size in zip(starts, sizes))


def chunk(x, chunks, dim=0):
    """At most `chunks` pieces of equal size (the last may be smaller)."""
    if chunks < 1:
        raise ValueError(f"chunk: the number of pieces is {chunks}; it must be at least 1")
    return split(x, max(1, -(-x.shape[one_dim("chunk", dim, x.ndim)] // chunks)), dim)


def unbind(x, dim=0):
    """The slices along `dim`, without that dimension."""
    dim = one_dim("unbind", dim, x.ndim)
    return tuple(x[(slice(None),) * dim + (i,)] for i in range(x.shape[dim]))


def flip(x, dims):
    """Reversed along the given dimensions, in memory of its own."""
    dims = many_dims("flip", dims, x.ndim)
    return x[tuple(slice(None, None, -1) if i in dims else slice(None) for i in range(x.ndim))].clone()


def clone(x, memory_format=preserve_format):
    """A copy in memory of its own; gradients flow through it. Keeps channels-last memory unless told otherwise."""
    keeps = memory_format == preserve_format and x.is_contiguous(channels_last) and not x.is_contiguous()
    return Copy.apply(x, keeps or memory_format == channels_last)


def contiguous(x, memory_format=contiguous_format):
    """x itself if its memory is in that order, else a copy that is. Only images (4 dimensions) can be channels_last."""
    if memory_format not in (contiguous_format, channels_last, preserve_format):
        raise ValueError(f"contiguous: unknown memory_format {memory_format!r}: {contiguous_format!r} or {channels_last!r}")
    if memory_format == channels_last and x.ndim != 4:
        raise ValueError(f"contiguous: channels_last is an order of (N, C, H, W); this tensor has shape {x.shape}")
    return x if memory_format == preserve_format or x.is_contiguous(memory_format) else Copy.apply(x, memory_format == channels_last)


def to(x, *args, dtype=None, device=None, memory_format=None, copy=False):
    """x as another dtype, on another device, in another memory order; x itself where nothing changes (unless copy=True). Arguments as in PyTorch."""
    for arg in args:
        if isinstance(arg, Tensor):
            dtype, device = arg.dtype, arg.device
        elif isinstance(arg, (str, Device)) and str(arg) not in np.sctypeDict:
            device = arg
        else:
            dtype = np.dtype(arg)
    y = x if dtype is None or x.dtype == dtype else Cast.apply(x, np.dtype(dtype))
    if device is not None and find_device(device) is not x.device:
        y = Move.apply(y, find_device(device))
    if memory_format is not None:
        y = contiguous(y, memory_format)
    return clone(y) if copy and y is x else y


def _ints(shape):
    """f(2, 3) and f((2, 3)) mean the same."""
    if len(shape) == 1 and not isinstance(shape[0], (int, np.integer)):
        shape = shape[0]
    return tuple(int(n) for n in shape)
