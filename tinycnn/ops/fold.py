"""Differentiable unfold (im2col) and fold (col2im): linear, and each the adjoint of the other."""
from ..autograd import Function
from ..tensor import Tensor
from .common import pair
from .pool import check_images, sliding_window


class Unfold(Function):
    def forward(ctx, x, window):
        ctx.shape, ctx.window = x.shape, window
        return ctx.kernels.unfold.im2col(x.array, window)

    def backward(ctx, dcolumns):
        return Fold.apply(dcolumns, ctx.shape, ctx.window), None


class Fold(Function):
    def forward(ctx, columns, x_shape, window):
        ctx.window = window
        return ctx.kernels.unfold.col2im(columns.array, x_shape, window)

    def backward(ctx, dx):
        return Unfold.apply(dx, ctx.window), None, None


def unfold(x, kernel_size, dilation=1, padding=0, stride=1):
    """Every window of images (N, C, H, W) as a column: (N, C*R*S, P*Q)."""
    check_images("unfold", x)
    return Unfold.apply(x, sliding_window("unfold", kernel_size, stride, padding, dilation))


def fold(columns, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Columns (N, C*R*S, P*Q) added up where unfold would take them from: (N, C, *output_size)."""
    if not isinstance(columns, Tensor) or columns.ndim != 3 or not columns.is_floating:
        seen = f"{columns.dtype} {columns.shape}" if isinstance(columns, Tensor) else type(columns).__name__
        raise ValueError(f"fold: expected columns (N, C*R*S, P*Q) in floating point, got {seen}")
    window = sliding_window("fold", kernel_size, stride, padding, dilation)
    image = pair("fold", output_size, "output_size")
    N, rows, count = columns.shape
    R, S = window.size
    P, Q = window.positions(image)
    if rows % (R * S):
        raise ValueError(f"fold: columns of {rows} elements cannot be cut into windows of {R} x {S}")
    if count != P * Q:
        raise ValueError(f"fold: the columns {columns.shape} are {count} windows, but an output of {image} has {P} x {Q} = {P * Q} of this size, stride and padding")
    return Fold.apply(columns, (N, rows // (R * S), *image), window)
