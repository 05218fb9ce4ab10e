"""Dropout. The mask is a function of (seed, number of this call, index of the element), so nothing is stored: the backward draws the same mask again."""
from ..autograd import Function
from ..random import current_part, next_call
from .common import floating


class Dropout(Function):
    """x * mask / (1 - p): linear in x and its own adjoint. part: see tinycnn.random.part_of."""

    def forward(ctx, x, p, seed, call, part):
        ctx.key = p, seed, call, part
        if part is None:
            return ctx.kernels.dropout.forward(x.array, p, seed, call)
        dim, start, whole = part
        drawn = ctx.kernels.dropout.forward(x.device.xp.ones((*x.shape[:dim], whole, *x.shape[dim + 1:]), x.dtype), p, seed, call)
        return ctx.kernels.elementwise.mul(x.array, drawn[(slice(None),) * dim + (slice(start, start + x.shape[dim]),)])

    def backward(ctx, dy):
        return Dropout.apply(dy, *ctx.key), None, None, None, None


def dropout(x, p=0.5, training=True, inplace=False):
    """In training, each element 0 with probability p, and divided by 1 - p otherwise, so that the mean stays; else x itself."""
    x = _checked("dropout", x, p)
    if not training or p == 0:
        return x
    y = Dropout.apply(x, float(p), *next_call(), current_part())
    return x.copy_(y) if inplace else y


def dropout2d(x, p=0.5, training=True, inplace=False):
    """Dropout of whole channels of (N, C, *): one draw for each (n, c)."""
    x = _checked("dropout2d", x, p)
    if x.ndim < 3:
        raise ValueError(f"dropout2d: expected images (N, C, H, W), got shape {x.shape}; dropout drops single elements")
    if not training or p == 0:
        return x
    ones = type(x)(x.device.xp.ones(x.shape[:2] + (1,) * (x.ndim - 2), x.dtype), x.device)
    y = x * Dropout.apply(ones, float(p), *next_call(), current_part())
    return x.copy_(y) if inplace else y


def _checked(name, x, p):
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p is {p}; the probability of dropping must be between 0 and 1")
    return floating(name, x)
