"""Differentiable rectifier."""
from ..autograd import Function
from .common import floating


class ReLU(Function):
    """y = max(0, x). The result says all that the backward must know: it was positive where x was. So x may be overwritten."""

    def forward(ctx, x, inplace):
        if inplace:
            ctx.mark_dirty(x)
            ctx.kernels.activation.relu_(x.array)
            y = x
        else:
            y = type(x)(ctx.kernels.activation.relu(x.array), x.device)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def branch(args, outputs):
        return outputs[0] > 0

    def backward(ctx, dy):
        y, = ctx.saved_tensors
        return ReLUGrad.apply(dy, y.detach()), None


class ReLUGrad(Function):
    """dx = dy where y > 0, else 0: linear in dy, and constant in y almost everywhere."""

    def forward(ctx, dy, y):
        ctx.save_for_backward(y)
        return ctx.kernels.activation.relu_backward(dy.array, y.array)

    def backward(ctx, ddx):
        y, = ctx.saved_tensors
        return ReLUGrad.apply(ddx, y), None


def relu(x, inplace=False):
    """max(0, x); with inplace=True written over x."""
    return ReLU.apply(floating("relu", x), inplace)


def relu_(x):
    """max(0, x), written over x."""
    return relu(x, inplace=True)
