"""Convolution on the GPU by implicit GEMM (implicit.cu): the unfolded image is read where it is, in any memory order, and never stored.

`forward` is the kernel `gather`: every output collects, over taps and channels, what the filter sees. So is `input_grad`: an input h received from the outputs p with

    p * stride + r * dilation - padding = h        p = (h + padding - r * dilation) / stride,   where that is whole

For stride 1 these are windows again, walking backwards: tap r lies over p = (h + padding) - r * dilation. For larger strides the inputs are taken in `stride` phases,
h = a, a + stride, ...: in a phase the same taps are always the ones that divide, and they lie over p = i + start - t * step, a window of stride 1 over dy. Each phase is
a convolution of its own, with those taps' filters, which writes every stride-th pixel of dx: no product with a zero is computed. Where a phase has no taps dx is zero.

`weight_grad` has a kernel of its own, whose sum runs over images and positions.
"""
from math import gcd, inf, prod
from typing import NamedTuple

import numpy as np

from ..cuda import blocks, contiguous, empty, launch, layout, strided
from ..cuda.memory import empty_images
from ..elementwise.cuda import copy_
from ..matmul.cuda import SIDES, cut
from ..matmul.cuda import SOURCE as MATMUL
from .cuda_model import Kernel, Stage, seconds
from .sizes import sizes

NAME = "implicit"
THREADS = 256
MOST_GROUPS = 65535  # a grid's second axis
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


class Kernels(NamedTuple):
    """A source with the kernels gather and weights, for small and for large tiles, and what one must know of it."""

    source: str
    chunk: int  # channels of a tap are counted up to a multiple of this
    depth: dict  # elements of the sum in a step, for each side of a tile
    type_name: str  # of x, w and dy, in the source
    shared: dict  # bytes of dynamic shared memory, for each side of a tile: (of gather, of weights)


OWN = Kernels("conv/implicit.cu", 4, {64: 16, 128: 8}, "real", {64: (0, 0), 128: (0, 0)})


# ---- the model

def products(form, n, chunk=4):
    """(M, N, K, matrices): the matrix product that a form is, with channels counted up to multiples of a chunk where they are part of the sum or of a row."""
    C, K, RS = n.C // n.G, n.K // n.G, n.R * n.S
    if form == "weight_grad":
        return K, RS * up_to(chunk, C), n.N * n.P * n.Q, n.G
    return (n.N * n.P * n.Q, K, RS * up_to(chunk, C), n.G) if form == "forward" else (n.N * n.H * n.W, C, RS * up_to(chunk, K), n.G)


def stages(form, n, geometry, dtype, kernels=None, tensor=""):
    """One stage: all products of all tiles, used or not; each operand and the result once, filters in another order, and partial sums. None for too many groups."""
    kernels = kernels or OWN
    if n.G > MOST_GROUPS:
        return None
    if 0 in n:
        return []
    M, N, K, G = products(form, n, kernels.chunk)
    phases = 1
    if form == "input_grad" and geometry.stride != (1, 1):  # one after another, each with a share of the pixels and, but for those without any, of the taps
        phases = prod(sum(bool(range(taps)[phase(a, taps, *axis)[0]]) for a in range(axis[0])) for taps, axis in zip((n.R, n.S), zip(*geometry[:3])))
        M, K = n.N * blocks(n.H, geometry.stride[0]) * blocks(n.W, geometry.stride[1]), blocks(K, phases)
    tile, parts = cut(M, N, K, G, dtype)
    side = SIDES[tile]
    tiles = blocks(M, side) * blocks(N, side) * G
    flops = 2 * phases * tiles * side * side * K
    elements = n.N * (n.C * n.H * n.W + n.K * n.P * n.Q) + n.K * (n.C // n.G) * n.R * n.S + 2 * scratch(form, n, geometry, dtype)
    operation = "weights" if form == "weight_grad" else "gather"
    types = {kernels.type_name: np.float16 if tensor == "fp16" else dtype}
    kernel = Kernel(kernels.source, f"{operation}_{tile}", types, kernels.shared[side][form == "weight_grad"])
    return [Stage("products", flops, elements * dtype.itemsize, tiles * parts, dtype.itemsize, kernel, tile, 1 + phases + (parts > 1), tensor)]


def cost(form, n, geometry, dtype):
    known = stages(form, n, geometry, dtype)
    return inf if known is None else seconds(known)


def scratch(form, n, geometry, dtype=FLOAT):
    """Elements of partial sums, and of filters in another order."""
    filters = n.K * (n.C // n.G) * n.R * n.S
    if 0 in n:
        return filters
    M, N, K, G = products(form, n)
    _, parts = cut(M, N, K, G, dtype)
    return parts * filters if form == "weight_grad" else filters + (parts * M * N * G if parts > 1 else 0)


def up_to(chunk, channels):
    """The least multiple of `chunk` that is not less."""
    return blocks(channels, chunk) * chunk


# ---- the three forms

def forward(x, w, bias, geometry, kernels=OWN):
    """y (N, K, P, Q) from x (N, C, H, W), w (K, C/groups, R, S) and bias (K,) or None. y lies as x does."""
    n = sizes(x.shape, w.shape, geometry)
    y = empty_images((n.N, n.K, n.P, n.Q), accumulator(x), x)
    gather(x, contiguous(w.transpose(0, 2, 3, 1)), None if bias is None else contiguous(bias), y, window(n, geometry), n.G, kernels)
    return y


def input_grad(dy, w, x_shape, geometry, kernels=OWN):
    """dx (N, C, H, W) from dy (N, K, P, Q) and w. dx lies as dy does."""
    n = sizes(x_shape, w.shape, geometry)
    dx = empty_images(x_shape, accumulator(dy), dy)
    w = w.reshape(n.G, n.K // n.G, n.C // n.G, n.R, n.S).transpose(0, 2, 3, 4, 1)  # each input channel has its filters: G, C/G, R, S, K/G
    (sh, sw), (ph, pw), (dh, dw) = geometry[:3]
    down, across = [phase(a, n.R, sh, ph, dh) for a in range(min(sh, n.H))], [phase(b, n.S, sw, pw, dw) for b in range(min(sw, n.W))]
    if not w.size or not all(range(n.R)[rows] for rows, *_ in down) or not all(range(n.S)[columns] for columns, *_ in across):
        copy_(dx, 0)  # in one pass: every second pixel by itself would take as long as all
    for a, (rows, start_h, step_h) in enumerate(down):
        for b, (columns, start_w, step_w) in enumerate(across):
            filters = contiguous(w[:, :, rows, columns])
            if filters.size:
                taps = Taps(*filters.shape[2:4], start_h, start_w, 1, 1, step_h, step_w)
                gather(dy, filters.reshape(n.C, *filters.shape[2:]), None, dx[:, :, a::sh, b::sw], taps, n.G, kernels)
    return dx


def phase(a, taps, stride, padding, dilation):
    """(which taps, start, step) of the inputs a, a + stride, ... along one axis: number i of them is met by tap t of these at output i + start + t * step."""
    every = stride // gcd(stride, dilation)
    first = next((r for r in range(min(taps, every)) if (a + padding - r * dilation) % stride == 0), taps)
    return slice(first, None, every), (a + padding - first * dilation) // stride, -(every * dilation // stride)


def weight_grad(dy, x, w_shape, geometry, kernels=OWN):
    """dw (K, C/groups, R, S) from dy (N, K, P, Q) and x."""
    n = sizes(x.shape, w_shape, geometry)
    dw = empty(w_shape, accumulator(x))
    if 0 in (dw.size, dy.size):
        copy_(dw, 0)
        return dw
    M, N, K, _ = products("weight_grad", n, kernels.chunk)
    tile, side, part_steps, parts = plan(M, N, K, n.G, dw.dtype, kernels)
    partial = empty((parts, n.K, n.R, n.S, n.C // n.G), dw.dtype)
    launch(kernels.source, f"weights_{tile}", (blocks(M, side) * blocks(N, side), n.G, parts), THREADS, strided(dy), images(dy, n.G), strided(x), images(x, n.G), partial,
           window(n, geometry), n.N, part_steps, shared=kernels.shared[side][1], **{kernels.type_name: x.dtype})
    add_parts(partial, dw.transpose(0, 2, 3, 1), None)
    return dw


def gather(x, filters, bias, y, taps, groups, kernels):
    """y = the sums over taps and channels of x times filters (K, R, S, C/groups), plus bias, in y's own memory."""
    if y.size == 0:
        return
    N, K, P, Q = y.shape
    tile, side, part_steps, parts = plan(N * P * Q, K // groups, taps.R * taps.S * up_to(kernels.chunk, x.shape[1] // groups), groups, y.dtype, kernels)
    partial = empty((parts, N, P, Q, K), y.dtype) if parts > 1 else None
    result = y if partial is None else partial[0].transpose(0, 3, 1, 2)
    launch(kernels.source, f"gather_{tile}", (blocks(N * P * Q, side) * blocks(K // groups, side), groups, parts), THREADS, strided(x), images(x, groups), filters,
           bias if parts == 1 else None, strided(result), images(result, groups), taps, N * P * Q, part_steps, y.size, shared=kernels.shared[side][0],
           **{kernels.type_name: x.dtype})
    if parts > 1:
        add_parts(partial, y.transpose(0, 2, 3, 1), bias)


def plan(M, N, K, matrices, dtype, kernels):
    """(kind of tile, its side, steps of a part of the sum, parts of which none is empty)"""
    tile, parts = cut(M, N, K, matrices, dtype)
    side = SIDES[tile if dtype == FLOAT else "small"]
    steps = blocks(K, kernels.depth[side])
    part_steps = blocks(steps, parts)
    return tile, side, part_steps, blocks(steps, part_steps)


def add_parts(partial, y, bias):
    """y = the sum of partial (parts, *y.shape) over its first axis, in order, plus bias of y's last axis."""
    along = layout(y.shape, y, partial[0], bias)
    launch(MATMUL, "add_parts", blocks(y.size, THREADS), THREADS, along, strided(y), partial, len(partial), bias, y.size, real=y.dtype)


def window(n, geometry):
    """How the filter goes over x."""
    return Taps(n.R, n.S, -geometry.padding[0], -geometry.padding[1], *geometry.stride, *geometry.dilation)


def images(x, groups):
    """How x (N, C, H, W) lies."""
    image, channel, row, column = (step // x.itemsize for step in x.strides)
    return Images(*x.shape[2:], x.shape[1] // groups, image, row, column, channel)


def accumulator(x):
    """The dtype of sums of products of x."""
    return FLOAT if x.dtype == np.float16 else x.dtype
