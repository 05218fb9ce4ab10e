"""Differentiable softmax and its logarithm.

With p = softmax(x): dp_i/dx_j = p_i (1[i = j] - p_j), hence dx = p * (dy - sum(dy * p)); for the logarithm dx = dy - p * sum(dy). A fused kernel computes that in
one pass; while the backward itself is recorded, the same formula is written with tensors.
"""
from ..autograd import Function, is_grad_enabled
from ..tensor import Tensor
from .common import floating, one_dim


class Softmax(Function):
    def forward(ctx, x, dim):
        ctx.dim = dim
        y = Tensor(ctx.kernels.softmax.softmax(x.array, dim), x.device)
        ctx.save_for_backward(y)
        return y

    def backward(ctx, dy):
        y, = ctx.saved_tensors
        if is_grad_enabled():
            return y * (dy - (dy * y).sum(ctx.dim, keepdim=True)), None
        return Tensor(ctx.kernels.softmax.softmax_backward(dy.array, y.array, ctx.dim), y.device), None


class LogSoftmax(Function):
    def forward(ctx, x, dim):
        ctx.dim = dim
        y = Tensor(ctx.kernels.softmax.log_softmax(x.array, dim), x.device)
        ctx.save_for_backward(y)
        return y

    def backward(ctx, dy):
        y, = ctx.saved_tensors
        if is_grad_enabled():
            return dy - y.exp() * dy.sum(ctx.dim, keepdim=True), None
        return Tensor(ctx.kernels.softmax.log_softmax_backward(dy.array, y.array, ctx.dim), y.device), None


def softmax(x, dim=None):
    """e^x / (the sum of e^x over dimension dim)"""
    return Softmax.apply(*_checked("softmax", x, dim))


def log_softmax(x, dim=None):
    """log(softmax(x)), computed as x - max - log(sum(e^(x - max))): the softmax itself may round to 0."""
    return LogSoftmax.apply(*_checked("log_softmax", x, dim))


def _checked(name, x, dim):
    x = floating(name, x)
    if dim is None:
        raise ValueError(f"{name}: say over which dimension, e.g. dim=1 for scores (N, C)")
    if x.ndim == 0:
        raise ValueError(f"{name}: a 0-dimensional tensor has no dimension {dim} to normalise over")
    return x, one_dim(name, dim, x.ndim)
