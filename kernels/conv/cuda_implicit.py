"""Convolution on the GPU by implicit GEMM (implicit.cu): the unfolded image is read where it is, in any memory order, and never stored.

`forward` is the kernel `gather`: every output collects, over taps and channels, what the filter sees. So is `input_grad`: an input h received from the outputs p with

    p * stride + r * dilation - padding = h        p = (h + padding - r * dilation) / stride,   where that is whole

For stride 1 these are windows again, walking backwards: tap r lies over p = (h + padding) - r * dilation. For larger strides the inputs are taken in `stride` phases,
h = a, a + stride, ...: in a phase the same taps are always the ones that divide, and they lie over p = i + start - t * step, a window of stride 1 over dy. Each phase is
a convolution of its own, with those taps' filters, which writes every stride-th pixel of dx: no product with a zero is computed. A phase without taps is zero.

`weight_grad` has a kernel of its own, whose sum runs over images and positions.
"""
from math import gcd
from typing import NamedTuple

import numpy as np

from ..cuda import blocks, contiguous, empty, launch, layout, strided
from ..cuda.memory import empty_images
from ..elementwise.cuda import copy_
from ..matmul.cuda import SIDES, cut
from ..matmul.cuda import SOURCE as MATMUL
from .cuda_model import seconds
from .sizes import sizes

NAME = "implicit"
SOURCE = "conv/implicit.cu"
THREADS = 256
FLOAT = np.dtype(np.float32)


class Images(NamedTuple):
    """The struct of operands.h: images of one group."""

    height: int
    width: int
    channels: int
    image: int
    row: int
    column: int
    channel: int


class Taps(NamedTuple):
    """The struct of operands.h: how a window goes over images."""

    R: int
    S: int
    start_h: int
    start_w: int
    stride_h: int
    stride_w: int
    step_h: int
    step_w: int


# ---- the model

def products(form, n):
    """(M, N, K, matrices): the matrix product that a form is, with channels counted up to multiples of four where they are part of the sum or of a row."""
    C, K, RS = n.C // n.G, n.K // n.G, n.R * n.S
    if form == "weight_grad":
        return K, RS * up_to_four(C), n.N * n.P * n.Q, n.G
    return (n.N * n.P * n.Q, K, RS * up_to_four(C), n.G) if form == "forward" else (n.N * n.H * n.W, C, RS * up_to_four(K), n.G)


def cost(form, n, geometry, dtype):
    """All products of all tiles, used or not; each operand and the result once, and partial sums."""
    return model(form, n, geometry, dtype)


def model(form, n, geometry, dtype, tensor=None):
    """The cost with the factors' precision, "tf32" or "fp16", if on tensor cores."""
    if min(n) == 0:
        return 0.0
    M, N, K, G = products(form, n)
    tile, parts = cut(M, N, K, G, dtype)
    side, phases = SIDES[tile], geometry.stride[0] * geometry.stride[1] if form == "input_grad" else 1
    tiles = blocks(M, side) * blocks(N, side) * G
    flops = 2 * tiles * side * side * K / phases  # a phase has a share of the taps
    elements = n.N * (n.C * n.H * n.W + n.K * n.P * n.Q) + n.K * (n.C // n.G) * n.R * n.S + 2 * scratch(form, n, geometry, dtype)
    return seconds(flops, elements * dtype.itemsize, dtype, launches=1 + phases + (parts > 1), blocks=tiles * parts, tensor=tensor)


def scratch(form, n, geometry, dtype=FLOAT):
    """Elements of partial sums, and of filters in another order."""
    filters = n.K * (n.C // n.G) * n.R * n.S
    if min(n) == 0:
        return filters
    M, N, K, G = products(form, n)
    _, parts = cut(M, N, K, G, dtype)
    return parts * filters if form == "weight_grad" else filters + (parts * M * N * G if parts > 1 else 0)


def up_to_four(channels):
    return -(-channels // 4) * 4


# ---- the three forms

def forward(x, w, bias, geometry):
    """y (N, K, P, Q) from x (N, C, H, W), w (K, C/groups, R, S) and bias (K,) or None. y lies as x does."""
    n = sizes(x.shape, w.shape, geometry)
    y = empty_images((n.N, n.K, n.P, n.Q), x.dtype, x)
    filters = contiguous(w.transpose(0, 2, 3, 1))
    taps = Taps(n.R, n.S, -geometry.padding[0], -geometry.padding[1], *geometry.stride, *geometry.dilation)
    gather(x, filters, None if bias is None else contiguous(bias), y, taps, n.G)
    return y


def input_grad(dy, w, x_shape, geometry):
    """dx (N, C, H, W) from dy (N, K, P, Q) and w. dx lies as dy does."""
    n = sizes(x_shape, w.shape, geometry)
    dx = empty_images(x_shape, dy.dtype, dy)
    w = w.reshape(n.G, n.K // n.G, n.C // n.G, n.R, n.S).transpose(0, 2, 3, 4, 1)  # each input channel has its filters: G, C/G, R, S, K/G
    (sh, sw), (ph, pw), (dh, dw) = geometry[:3]
    for a in range(min(sh, n.H)):
        for b in range(min(sw, n.W)):
            rows, down, step_h = phase(a, n.R, sh, ph, dh)
            columns, across, step_w = phase(b, n.S, sw, pw, dw)
            part = dx[:, :, a::sh, b::sw]
            filters = contiguous(w[:, :, rows, columns])
            if filters.size:
                gather(dy, filters.reshape(n.C, *filters.shape[2:]), None, part, Taps(*filters.shape[2:4], down, across, 1, 1, step_h, step_w), n.G)
            else:
                copy_(part, 0)
    return dx


def phase(a, taps, stride, padding, dilation):
    """(which taps, start, step) of the inputs a, a + stride, ... along one axis: number i of them is met by tap t of these at output i + start + t * step."""
    every = stride // gcd(stride, dilation)
    first = next((r for r in range(min(taps, every)) if (a + padding - r * dilation) % stride == 0), taps)
    return slice(first, None, every), (a + padding - first * dilation) // stride, -(every * dilation // stride)


def weight_grad(dy, x, w_shape, geometry):
    """dw (K, C/groups, R, S) from dy (N, K, P, Q) and x."""
    n = sizes(x.shape, w_shape, geometry)
    dw = empty(w_shape, x.dtype)
    if 0 in (dw.size, dy.size):
        copy_(dw, 0)
        return dw
    M, N, K, _ = products("weight_grad", n)
    tile, parts = cut(M, N, K, n.G, x.dtype)
    side = side_of(tile, x.dtype)
    steps = blocks(K, 1024 // side)
    part_steps = blocks(steps, parts)
    parts = blocks(steps, part_steps)
    partial = empty((parts, n.K, n.R, n.S, n.C // n.G), x.dtype)
    taps = Taps(n.R, n.S, -geometry.padding[0], -geometry.padding[1], *geometry.stride, *geometry.dilation)
    launch(SOURCE, f"weights_{tile}", (blocks(M, side) * blocks(N, side), n.G, parts), THREADS, strided(dy), images(dy, n.G), strided(x), images(x, n.G), partial, taps,
           n.N, part_steps, real=x.dtype)
    add_parts(partial, dw.transpose(0, 2, 3, 1), None)
    return dw


def gather(x, filters, bias, y, taps, groups):
    """y = the sums over taps and channels of x times filters (K, R, S, C/groups), plus bias, in y's own memory."""
    if y.size == 0:
        return
    N, K, P, Q = y.shape
    depth = taps.R * taps.S * up_to_four(x.shape[1] // groups)
    tile, parts = cut(N * P * Q, K // groups, depth, groups, x.dtype)
    side = side_of(tile, x.dtype)
    steps = blocks(depth, 1024 // side)
    part_steps = blocks(steps, parts)
    parts = blocks(steps, part_steps)
    partial = empty((parts, N, P, Q, K), x.dtype) if parts > 1 else None
    result = y if partial is None else partial[0].transpose(0, 3, 1, 2)
    launch(SOURCE, f"gather_{tile}", (blocks(N * P * Q, side) * blocks(K // groups, side), groups, parts), THREADS, strided(x), images(x, groups), filters,
           bias if parts == 1 else None, strided(result), images(result, groups), taps, N * P * Q, part_steps, y.size, real=x.dtype)
    if parts > 1:
        add_parts(partial, y.transpose(0, 2, 3, 1), bias)


def add_parts(partial, y, bias):
    """y = the sum of partial (parts, *y.shape) over its first axis, in order, plus bias of y's last axis."""
    along = layout(y.shape, y, partial[0], bias)
    launch(MATMUL, "add_parts", blocks(y.size, THREADS), THREADS, along, strided(y), partial, len(partial), bias, y.size, real=y.dtype)


def images(x, groups):
    """How x (N, C, H, W) lies."""
    image, channel, row, column = (step // x.itemsize for step in x.strides)
    return Images(*x.shape[2:], x.shape[1] // groups, image, row, column, channel)


def side_of(tile, dtype):
    return SIDES[tile if dtype == np.float32 else "small"]
