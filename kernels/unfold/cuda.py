"""Unfolding on the GPU (unfold.cu): im2col and col2im of the reference, and the two for parts of an image, of which convolution makes its column buffers."""
from typing import NamedTuple

from ..cuda import blocks, contiguous, empty, launch, strided

SOURCE = "unfold/unfold.cu"
BLOCK = 256


class Unfolding(NamedTuple):
    """The struct of unfold.cu."""

    C: int
    H: int
    W: int
    R: int
    S: int
    P: int
    Q: int
    stride_h: int
    stride_w: int
    padding_h: int
    padding_w: int
    dilation_h: int
    dilation_w: int


def im2col(x, window):
    """columns (N, C*R*S, P*Q) from x (N, C, H, W)."""
    N, C, H, W = x.shape
    P, Q = window.positions((H, W))
    columns = empty((N, C * window.size[0] * window.size[1], P * Q), x.dtype)
    unfold(contiguous(x), columns, window)
    return columns


def col2im(columns, x_shape, window):
    """x (N, C, H, W) from columns (N, C*R*S, P*Q): each element is the sum of its copies, zero where no window came."""
    x = empty(x_shape, columns.dtype)
    fold(contiguous(columns), x, window)
    return x


def unfold(x, columns, window, first=0):
    """Write the columns of the positions from `first` on into `columns` (N, C*R*S, positions), whose rows lie together. x: images whose planes lie together."""
    n = x.shape[0] * x.shape[1] * columns.shape[2]
    launch(SOURCE, "im2col", blocks(n, BLOCK), BLOCK, strided(x), x.strides[0] // x.itemsize, strided(columns), columns.strides[0] // x.itemsize,
           columns.strides[1] // x.itemsize, _unfolding(x, window), first, columns.shape[2], n, real=x.dtype)


def fold(columns, x, window):
    """Write the sums of `columns` (N, C*R*S, P*Q), contiguous, into x (N, C, H, W), images whose planes lie together."""
    launch(SOURCE, "col2im", blocks(x.size, BLOCK), BLOCK, columns, strided(x), x.strides[0] // x.itemsize, _unfolding(x, window), x.size, real=x.dtype)


def _unfolding(x, window):
    return Unfolding(*x.shape[1:], *window.size, *window.positions(x.shape[2:]), *window.stride, *window.padding, *window.dilation)
