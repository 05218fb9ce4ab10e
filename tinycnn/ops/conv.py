"""Differentiable convolution. Three operations, one trilinear form (see tinycnn.kernels.conv.reference): each one's backward is the other two.

So nothing more is needed for second derivatives, and none of the three is special: transposed convolution is the input gradient, called as a forward.
"""
from functools import lru_cache

import numpy as np

from ..autograd import Function, is_grad_enabled
from ..kernels.conv.epilogue import Epilogue
from ..kernels.conv.geometry import Geometry
from ..kernels.conv.sizes import sizes
from ..tensor import Tensor
from .activation import ReLUGrad
from .common import pair
from .pad import pad as constant_pad


class Conv2d(Function):
    """y = conv(x, w) + bias"""

    adds_to = 0

    def forward(ctx, x, w, bias, geometry):
        ctx.save_for_backward(x, w)
        ctx.geometry = geometry
        return ctx.kernels.conv.forward(x.array, w.array, None if bias is None else bias.array, geometry)

    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        dx, dw, dbias, _ = ctx.needs_input_grad
        return (ConvInputGrad.apply(dy, w, x.shape, ctx.geometry, ctx.so_far) if dx else None,
                ConvWeightGrad.apply(dy, x, w.shape, ctx.geometry) if dw else None,
                dy.sum((0, 2, 3)) if dbias else None,
                None)


class Conv2dReLU(Function):
    """y = relu(conv(x, w) + bias): the rectifier on the way out, and on the way back together with the sum that is the gradient of the bias."""

    adds_to = 0

    def forward(ctx, x, w, bias, geometry):
        array = ctx.kernels.conv.forward(x.array, w.array, None if bias is None else bias.array, geometry, epilogue=Epilogue(relu=True))
        y = Tensor(array, x.device)
        ctx.save_for_backward(x, w, y)
        ctx.geometry = geometry
        return y

    @staticmethod
    def branch(args, outputs):
        return outputs[0] > 0

    def backward(ctx, dy):
        x, w, y = ctx.saved_tensors
        dx, dw, dbias, _ = ctx.needs_input_grad
        if dbias and not is_grad_enabled():
            passed, dbias = (Tensor(array, dy.device) for array in ctx.kernels.activation.relu_backward_sums(dy.array, y.array))
        else:
            passed = ReLUGrad.apply(dy, y.detach())
            dbias = passed.sum((0, 2, 3)) if dbias else None
        return (ConvInputGrad.apply(passed, w, x.shape, ctx.geometry, ctx.so_far) if dx else None,
                ConvWeightGrad.apply(passed, x, w.shape, ctx.geometry) if dw else None,
                dbias,
                None)


class ConvInputGrad(Function):
    """dx: every product that an input took part in, sent back to it; plus `so_far`, what other uses of x have sent back (where nothing is recorded). Also the forward
    of transposed convolution."""

    def forward(ctx, dy, w, x_shape, geometry, so_far=None):
        ctx.save_for_backward(dy, w)
        ctx.geometry = geometry
        return ctx.kernels.conv.input_grad(dy.array, w.array, x_shape, geometry, add=None if so_far is None else so_far.array)

    def backward(ctx, ddx):
        dy, w = ctx.saved_tensors
        return (Conv2d.apply(ddx, w, None, ctx.geometry) if ctx.needs_input_grad[0] else None,
                ConvWeightGrad.apply(dy, ddx, w.shape, ctx.geometry) if ctx.needs_input_grad[1] else None,
                None, None)


class ConvWeightGrad(Function):
    """dw: each weight collects from every position that used it."""

    def forward(ctx, dy, x, w_shape, geometry):
        ctx.save_for_backward(dy, x)
        ctx.geometry = geometry
        return ctx.kernels.conv.weight_grad(dy.array, x.array, w_shape, geometry)

    def backward(ctx, ddw):
        dy, x = ctx.saved_tensors
        return (Conv2d.apply(x, ddw, None, ctx.geometry) if ctx.needs_input_grad[0] else None,
                ConvInputGrad.apply(dy, ddw, x.shape, ctx.geometry) if ctx.needs_input_grad[1] else None,
                None, None)


def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlation of images x (N, C, H, W) with filters weight (K, C/groups, R, S), plus bias (K,): (N, K, P, Q).

    P = (H + 2*padding - dilation*(R-1) - 1) // stride + 1, and Q likewise. padding may be "valid" (none) or "same" (P = H for stride 1; where the total is odd, the
    extra row is below and the extra column at the right).
    """
    return Conv2d.apply(*_arguments(x, weight, bias, stride, padding, dilation, groups))


def conv2d_relu(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """relu(conv2d(x, ...)), in the time of conv2d alone. (Ours: PyTorch has no such function.)"""
    return Conv2dReLU.apply(*_arguments(x, weight, bias, stride, padding, dilation, groups))


def _arguments(x, weight, bias, stride, padding, dilation, groups):
    """What Conv2d and Conv2dReLU take, checked."""
    _check("conv2d", x, weight, bias, groups, in_axis=1)
    stride, dilation = pair("conv2d", stride, "stride"), pair("conv2d", dilation, "dilation")
    if isinstance(padding, str):
        x, padding = _named_padding(x, weight.shape[2:], padding, stride, dilation)
    geometry = _geometry("conv2d", stride, pair("conv2d", padding, "padding"), dilation, groups)
    sizes(x.shape, weight.shape, geometry)  # raises where the filter does not fit
    return x, weight, bias, geometry


def conv_transpose2d(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """The adjoint of conv2d in x: images (N, C, P, Q) spread by filters weight (C, K/groups, R, S) over (N, K, H, W).

    H = (P - 1)*stride - 2*padding + dilation*(R-1) + 1 + output_padding. Several H lead to the same P when the stride is above 1; output_padding says which is meant.
    """
    _check("conv_transpose2d", x, weight, bias, groups, in_axis=0)
    name = "conv_transpose2d"
    geometry = _geometry(name, pair(name, stride, "stride"), pair(name, padding, "padding"), pair(name, dilation, "dilation"), groups)
    extra = pair(name, output_padding, "output_padding")
    if any(e < 0 or e >= max(s, d) for e, s, d in zip(extra, geometry.stride, geometry.dilation)):
        raise ValueError(f"{name}: output_padding {extra} must be at least 0 and smaller than the stride {geometry.stride} or the dilation {geometry.dilation}")
    image = tuple((p - 1) * s - 2 * pad + d * (r - 1) + 1 + e for p, s, pad, d, r, e in zip(
        x.shape[2:], geometry.stride, geometry.padding, geometry.dilation, weight.shape[2:], extra))
    if min(image) < 1:
        raise ValueError(f"{name}: padding {geometry.padding} leaves nothing of an output of {image} (input {x.shape}, filter {weight.shape})")
    P, Q = geometry.output_size(image, weight.shape[2:])
    if (P, Q) != x.shape[2:]:  # an output_padding of a stride or more: a convolution of such an image would have seen more positions, where x is zero
        x = constant_pad(x, (0, Q - x.shape[3], 0, P - x.shape[2]))
    y = ConvInputGrad.apply(x, weight, (x.shape[0], weight.shape[1] * groups, *image), geometry)
    return y if bias is None else y + bias.reshape(1, -1, 1, 1)


@lru_cache
def _geometry(name, stride, padding, dilation, groups):
    for argument, value, least in (("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1)):
        if min(value) < least:
            raise ValueError(f"{name}: {argument} is {value}; it must be at least {least}")
    return Geometry(stride, padding, dilation, groups)


def _check(name, x, w, bias, groups, in_axis):
    """Tensors that fit together. in_axis: which axis of w counts (all) input channels: 1 (per group) for conv2d, 0 for its transpose."""
    for argument, tensor in (("input", x), ("weight", w), ("bias", bias)):
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"{name}: {argument} must be a tensor, got {type(tensor).__name__}")
    if x.ndim != 4 or w.ndim != 4:
        raise ValueError(f"{name}: expected an input (N, C, H, W) and a weight of 4 dimensions, got shapes {x.shape} and {w.shape}")
    if not isinstance(groups, (int, np.integer)) or groups < 1:
        raise ValueError(f"{name}: groups is {groups}; it must be a positive integer")
    _check_shapes(name, x.shape, w.shape, None if bias is None else bias.shape, groups, in_axis)
    for argument, tensor in (("weight", w), ("bias", bias)):
        if tensor is not None and tensor.dtype != x.dtype:
            raise TypeError(f"{name}: the input is {x.dtype} but the {argument} is {tensor.dtype}; convert one with .to(dtype)")
    if not x.is_floating:
        raise TypeError(f"{name}: the input is {x.dtype}; convolution needs floating-point numbers: use .float()")


@lru_cache(maxsize=4096)  # the layers of a network ask the same in every step
def _check_shapes(name, x_shape, w_shape, bias_shape, groups, in_axis):
    if 0 in w_shape:
        raise ValueError(f"{name}: the weight of shape {w_shape} has no elements")
    C = x_shape[1]
    expected = w_shape[1] * groups if in_axis == 1 else w_shape[0]
    if C != expected:
        raise ValueError(f"{name}: the input {x_shape} has {C} channels, but a weight of {w_shape} with groups={groups} takes {expected}")
    if w_shape[0] % groups:
        raise ValueError(f"{name}: the {w_shape[0]} filters of the weight {w_shape} cannot be divided into {groups} groups")
    K = w_shape[0] if in_axis == 1 else w_shape[1] * groups
    if bias_shape not in (None, (K,)):
        raise ValueError(f"{name}: the bias has shape {bias_shape}; for {K} output channels it must be ({K},)")


def _named_padding(x, filter_size, padding, stride, dilation):
    """(x, padding in numbers) for "valid" and "same"; an odd total is put on x itself."""
    if padding == "valid":
        return x, (0, 0)
    if padding != "same":
        raise ValueError(f'conv2d: padding is {padding!r}; it must be a number, a pair of numbers, "same" or "valid"')
    if max(stride) > 1:
        raise ValueError(f'conv2d: padding="same" means an output as large as the input, which stride {stride} does not give')
    total = [d * (r - 1) for d, r in zip(dilation, filter_size)]
    odd = [t % 2 for t in total]
    if any(odd):
        x = constant_pad(x, (0, odd[1], 0, odd[0]))
    return x, tuple(t // 2 for t in total)
