"""Differentiable pooling.

Max pooling picks elements, so its backward scatters the gradient to the picked places, and the backward of that gathers from them again. Average pooling is linear,
so its backward is its adjoint, whose backward is average pooling. Neither needs anything new for second derivatives.
"""
import numpy as np

from ..autograd import Function
from ..kernels.pool.reference import max_indices
from ..kernels.window import Window
from ..tensor import Tensor, channels_last
from .common import pair


def place_of_winner(args, outputs):
    """The branches of max pooling: (h, w) of the winner of each window."""
    (x, window), (_, winners) = args, outputs
    return np.stack(np.divmod(max_indices(winners, x.shape[2:], window), x.shape[3]), -1)


class MaxPool2d(Function):
    """(y, winners): the largest of each window, and as which of its elements it was seen (a byte; `indices` says where that is)."""

    branch, branch_kind = staticmethod(place_of_winner), "place"

    def forward(ctx, x, window):
        y, winners = ctx.kernels.pool.max_forward(x.array, window)
        return keep_winners(ctx, x, y, winners, window)

    def backward(ctx, dy, _):
        winners, = ctx.saved_tensors
        return Scatter.apply(dy, winners, ctx.shape, ctx.window), None


class AdaptiveMaxPool2d(Function):
    """The same with windows that depend on the sizes."""

    branch, branch_kind = staticmethod(place_of_winner), "place"

    def forward(ctx, x, output_size):
        y, winners = ctx.kernels.pool.adaptive_max_forward(x.array, output_size)
        return keep_winners(ctx, x, y, winners, output_size)

    def backward(ctx, dy, _):
        winners, = ctx.saved_tensors
        return Scatter.apply(dy, winners, ctx.shape, ctx.window), None


def keep_winners(ctx, x, y, winners, window):
    ctx.shape, ctx.window = x.shape, window
    ctx.save_for_backward(Tensor(winners, x.device))
    return y, winners


class Scatter(Function):
    """dx: zeros, with every dy added where its window's largest element was."""

    def forward(ctx, dy, winners, x_shape, window):
        ctx.window = window
        ctx.save_for_backward(winners)
        return ctx.kernels.pool.max_backward(dy.array, winners.array, x_shape, window)

    def backward(ctx, ddx):
        winners, = ctx.saved_tensors
        return Gather.apply(ddx, winners, ctx.window), None, None, None


class Gather(Function):
    """The elements that won, from another image."""

    def forward(ctx, x, winners, window):
        ctx.shape, ctx.window = x.shape, window
        ctx.save_for_backward(winners)
        return ctx.kernels.pool.max_gather(x.array, winners.array, window)

    def backward(ctx, dy):
        winners, = ctx.saved_tensors
        return Scatter.apply(dy, winners, ctx.shape, ctx.window), None, None


def with_indices(x, y, winners, window):
    """(y, indices): where the winners are, as h * W + w."""
    return y, Tensor(x.device.kernels.pool.max_indices(winners.array, x.shape[2:], window), x.device)


class AvgPool2d(Function):
    """The mean of each window."""

    def forward(ctx, x, window, count_include_pad, divisor):
        ctx.shape, ctx.options, ctx.last = x.shape, (window, count_include_pad, divisor), is_channels_last(x)
        return ctx.kernels.pool.avg_forward(x.array, window, count_include_pad, divisor)

    def backward(ctx, dy):
        return AvgPool2dGrad.apply(dy, ctx.shape, *ctx.options, ctx.last), None, None, None


class AvgPool2dGrad(Function):
    """dx: every dy in equal shares to the elements of its window."""

    def forward(ctx, dy, x_shape, window, count_include_pad, divisor, last):
        ctx.options = window, count_include_pad, divisor
        return ctx.kernels.pool.avg_backward(dy.array, x_shape, window, count_include_pad, divisor, last)

    def backward(ctx, ddx):
        return AvgPool2d.apply(ddx, *ctx.options), None, None, None, None, None


class AdaptiveAvgPool2d(Function):
    """The mean of each of P x Q windows that cover the image."""

    def forward(ctx, x, output_size):
        ctx.shape, ctx.last = x.shape, is_channels_last(x)
        return ctx.kernels.pool.adaptive_avg_forward(x.array, output_size)

    def backward(ctx, dy):
        return AdaptiveAvgPool2dGrad.apply(dy, ctx.shape, ctx.last), None


class AdaptiveAvgPool2dGrad(Function):
    """dx: every dy in equal shares to the elements of its window."""

    def forward(ctx, dy, x_shape, last):
        ctx.output_size = dy.shape[2:]
        return ctx.kernels.pool.adaptive_avg_backward(dy.array, x_shape, last)

    def backward(ctx, ddx):
        return AdaptiveAvgPool2d.apply(ddx, ctx.output_size), None, None


def is_channels_last(x):
    """Whether x lies so and not contiguously as well. The gradient shall lie as x did, but a mean of 1 x 1 elements does not say how."""
    return x.is_contiguous(channels_last) and not x.is_contiguous()


# ---- the functions, with PyTorch's names and signatures

def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The largest of each window of images (N, C, H, W); with return_indices also where it was, as h * W + w. Of equals the first counts.

    Padding is minus infinity. stride: the window's size unless given. ceil_mode: leftover elements get a window of their own.
    """
    check_images("max_pool2d", x)
    window = pooling_window("max_pool2d", kernel_size, stride, padding, dilation, ceil_mode)
    y, winners = MaxPool2d.apply(x, window)
    return with_indices(x, y, winners, window) if return_indices else y


def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    """The mean of each window of images (N, C, H, W).

    count_include_pad: padding counts as zeros that were there; otherwise only elements do. divisor_override: divide every window's sum by this number.
    """
    check_images("avg_pool2d", x)
    if divisor_override == 0:
        raise ValueError("avg_pool2d: divisor_override is 0; give another number, or None to divide by the window's size")
    return AvgPool2d.apply(x, pooling_window("avg_pool2d", kernel_size, stride, padding, 1, ceil_mode), bool(count_include_pad), divisor_override)


def adaptive_max_pool2d(x, output_size, return_indices=False):
    """The largest of each of P x Q windows, window p from floor(p*H/P) to ceil((p+1)*H/P). output_size: a number, (P, Q), None for an extent that stays."""
    size = adaptive_size("adaptive_max_pool2d", x, output_size)
    y, winners = AdaptiveMaxPool2d.apply(x, size)
    return with_indices(x, y, winners, size) if return_indices else y


def adaptive_avg_pool2d(x, output_size):
    """The mean of each of P x Q windows, window p from floor(p*H/P) to ceil((p+1)*H/P). output_size: a number, (P, Q), None for an extent that stays."""
    return AdaptiveAvgPool2d.apply(x, adaptive_size("adaptive_avg_pool2d", x, output_size))


def check_images(name, x):
    """x must be (N, C, H, W) in floating point."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: the input must be a tensor, got {type(x).__name__}")
    if x.ndim != 4:
        raise ValueError(f"{name}: expected images (N, C, H, W), got shape {x.shape}" + ("; unsqueeze(0) makes a batch of one" if x.ndim == 3 else ""))
    if not x.is_floating:
        raise TypeError(f"{name}: the input is {x.dtype}; it must be floating-point: use .float()")


def sliding_window(name, size, stride, padding, dilation, ceil_mode=False):
    """The Window of these arguments, each a number or a pair."""
    fields = {"kernel_size": size, "stride": stride, "padding": padding, "dilation": dilation}
    fields = {argument: pair(name, value, argument) for argument, value in fields.items()}
    for argument, value in fields.items():
        least = 0 if argument == "padding" else 1
        if min(value) < least:
            raise ValueError(f"{name}: {argument} is {value}; it must be at least {least}")
    return Window(*fields.values(), bool(ceil_mode))


def pooling_window(name, size, stride, padding, dilation, ceil_mode):
    """A Window of which at most half may lie in the padding: otherwise some would hold nothing else."""
    window = sliding_window(name, size, size if stride is None else stride, padding, dilation, ceil_mode)
    for r, pad in zip(window.size, window.padding):
        if 2 * pad > r:  # without the dilation, as PyTorch counts
            raise ValueError(f"{name}: padding {window.padding} is more than half of the window {window.size}")
    return window


def adaptive_size(name, x, output_size):
    """(P, Q), checked."""
    check_images(name, x)
    if not isinstance(output_size, (tuple, list)):
        output_size = (output_size, output_size)
    if len(output_size) != 2:
        raise ValueError(f"{name}: output_size must be a number or (P, Q), got {output_size!r}")
    size = pair(name, tuple(n if wanted is None else wanted for wanted, n in zip(output_size, x.shape[2:])), "output_size")
    if min(size) < 1:
        raise ValueError(f"{name}: output_size is {size}; it must be at least 1")
    if 0 in x.shape[1:]:
        raise ValueError(f"{name}: the images of shape {x.shape} are empty: nothing to pool")
    return size
