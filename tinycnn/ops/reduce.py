"""Reductions over any dimensions: sum, mean, var, max, argmax, ..."""
from typing import NamedTuple

import numpy as np

from ..autograd import Function
from ..tensor import Tensor, int64
from .arithmetic import sqrt, where
from .common import floating, many_dims, one_dim
from .index import gather


class Sum(Function):
    def forward(ctx, x, dims, keepdim):
        ctx.shape, ctx.dims, ctx.keepdim = x.array.shape, dims, keepdim
        return ctx.kernels.reduce.sum(x.array, dims, keepdim)

    def backward(ctx, dy):
        return Spread.apply(dy, ctx.shape, ctx.dims, ctx.keepdim), None, None


class Spread(Function):
    """The adjoint of Sum: each of the elements that were added up gets the whole of dy (a view of it, no copies)."""

    is_view = True

    def forward(ctx, dy, shape, dims, keepdim):
        ctx.dims, ctx.keepdim = dims, keepdim
        y = dy.array if keepdim else dy.array.reshape([1 if i in dims else n for i, n in enumerate(shape)])
        return dy.device.xp.broadcast_to(y, shape)

    def backward(ctx, ddx):
        return Sum.apply(ddx, ctx.dims, ctx.keepdim), None, None, None


class Extreme(Function):
    """amax and amin: where several elements are the extreme, they share the gradient equally (as in PyTorch)."""

    branch_kind = "winner"

    def forward(ctx, x, dims, keepdim, kernel):
        y = getattr(ctx.kernels.reduce, kernel)(x.array, dims, True)
        ctx.dims = dims
        ctx.save_for_backward(x, Tensor(y, x.device))
        return y if keepdim else y.reshape(tuple(n for i, n in enumerate(y.shape) if i not in dims))

    @staticmethod
    def branch(args, outputs):
        x, dims, _, kernel = args
        x = np.moveaxis(x, dims, range(x.ndim - len(dims), x.ndim))
        rows = x.reshape(*x.shape[:x.ndim - len(dims)], -1)
        return rows.argmax(-1) if kernel == "amax" else rows.argmin(-1)

    def backward(ctx, dy):
        x, y = ctx.saved_tensors
        winners = (x == y).to(dy.dtype)
        return dy.reshape(y.shape) * (winners / winners.sum(ctx.dims, keepdim=True)), None, None, None


class ArgExtreme(Function):
    branch_kind = "winner"

    def forward(ctx, x, dim, keepdim, kernel):
        return getattr(ctx.kernels.reduce, kernel)(x.array, dim, keepdim)

    @staticmethod
    def branch(args, outputs):
        return outputs[0]


def sum(x, dim=None, keepdim=False, *, dtype=None):
    """The sum over `dim` (one, several, or all). Integers and booleans add up as int64."""
    if dtype is not None or not x.is_floating:
        x = x.to(dtype or int64)
    return Sum.apply(x, many_dims("sum", dim, x.ndim), keepdim)


def count(x, dim):
    """How many elements a reduction over `dim` takes together."""
    n = 1
    for d in many_dims("mean", dim, x.ndim):
        n *= x.shape[d]
    return n


def mean(x, dim=None, keepdim=False):
    """The mean over `dim`; of nothing, NaN."""
    x, n = floating("mean", x), count(x, dim)
    return sum(x, dim, keepdim) * (1 / n if n else float("nan"))


def var(x, dim=None, correction=1, keepdim=False, unbiased=None):
    """The variance over `dim`: the mean squared distance from the mean, divided by (n - correction). unbiased=False is correction=0."""
    if unbiased is not None:
        correction = int(unbiased)
    x, n = floating("var", x), count(x, dim)
    centred = x - mean(x, dim, keepdim=True)
    return sum(centred * centred, dim, keepdim) * (1 / (n - correction) if n > correction else float("nan"))


def std(x, dim=None, correction=1, keepdim=False, unbiased=None):
    """The square root of the variance."""
    return root(var(x, dim, correction, keepdim, unbiased))


def norm(x, dim=None, keepdim=False):
    """The Euclidean norm over `dim`."""
    return root(sum(x * x, dim, keepdim))


def root(x):
    """The square root, but at 0, where it is infinitely steep, with the gradient 0 (as PyTorch has it of a norm and of a standard deviation)."""
    zero = x == 0
    return where(zero, 0.0, sqrt(where(zero, 1.0, x)))


def prod(x, dim=None, keepdim=False):
    """The product over `dim`. No gradient."""
    return Prod.apply(x, many_dims("prod", dim, x.ndim), keepdim)


class Prod(Function):
    def forward(ctx, x, dims, keepdim):
        return ctx.kernels.reduce.prod(x.array, dims, keepdim)


def amax(x, dim=None, keepdim=False):
    """The largest value over `dim` (one, several, or all)."""
    _some("amax", x, dim)
    return Extreme.apply(x, many_dims("amax", dim, x.ndim), keepdim, "amax")


def amin(x, dim=None, keepdim=False):
    """The smallest value over `dim` (one, several, or all)."""
    _some("amin", x, dim)
    return Extreme.apply(x, many_dims("amin", dim, x.ndim), keepdim, "amin")


def argmax(x, dim=None, keepdim=False):
    """Where the largest value is along `dim` (None: in the flattened tensor); the first, if several."""
    _some("argmax", x, dim)
    return ArgExtreme.apply(x, None if dim is None else one_dim("argmax", dim, x.ndim), keepdim, "argmax")


def argmin(x, dim=None, keepdim=False):
    """Where the smallest value is along `dim` (None: in the flattened tensor); the first, if several."""
    _some("argmin", x, dim)
    return ArgExtreme.apply(x, None if dim is None else one_dim("argmin", dim, x.ndim), keepdim, "argmin")


class ValuesIndices(NamedTuple):
    """What max and min over one dimension return."""

    values: Tensor
    indices: Tensor


def max(x, dim=None, keepdim=False):
    """Without dim: the largest value. With a tensor: the larger of two. With dim: (values, indices); the gradient goes to the element at the index."""
    return _extreme(x, dim, keepdim, amax, argmax, "maximum")


def min(x, dim=None, keepdim=False):
    """Without dim: the smallest value. With a tensor: the smaller of two. With dim: (values, indices); the gradient goes to the element at the index."""
    return _extreme(x, dim, keepdim, amin, argmin, "minimum")


def _extreme(x, dim, keepdim, value, position, of_two):
    if dim is None:
        return value(x)
    if isinstance(dim, Tensor):
        return getattr(x, of_two)(dim)
    indices = position(x, dim, keepdim=True)
    values = gather(x, dim, indices)
    return ValuesIndices(values, indices) if keepdim else ValuesIndices(values.squeeze(dim), indices.squeeze(dim))


class Truth(Function):
    def forward(ctx, x, dims, keepdim, kernel):
        return getattr(ctx.kernels.reduce, kernel)(x.array, dims, keepdim)


def any(x, dim=None, keepdim=False):
    """Whether some element over `dim` is not zero."""
    return Truth.apply(x, many_dims("any", dim, x.ndim), keepdim, "any")


def all(x, dim=None, keepdim=False):
    """Whether no element over `dim` is zero."""
    return Truth.apply(x, many_dims("all", dim, x.ndim), keepdim, "all")


def _some(name, x, dim):
    if count(x, dim) == 0:
        raise ValueError(f"{name}: of no elements there is none: the tensor has shape {x.shape}, dim is {dim}")
