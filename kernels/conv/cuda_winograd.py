"""Convolution on the GPU by Winograd's F(4x4, 3x3): 36 products where the definition has 144 (winograd_forms.py has the algebra, winograd.cu the transforms).

Tiles of 6 x 6 inputs, four apart, and filters are transformed into 36 numbers each; for each of the 36, all tiles (T x C) are multiplied with all filters (C x K), by
the product of kernels/matmul in one batch; what comes out is transformed back into 4 x 4 outputs. The gradient in the input is the same with the filters turned round.
That in the weights transforms the tiles of x and of dy, multiplies (K x T) by (T x C), and transforms back once.

The transformed images of a part of the batch, at most ELEMENTS numbers unless a single image has more, are in memory at a time: a fused kernel would keep them in shared
memory, and would be three times as long to read.

**Napkin.** 2*N*P*Q*K*(C/G)*9 / 4 FLOPs, and 2*36/16 * (C + K) * 4 bytes written and read for each of the N*P*Q pixels: at 40 TFLOP/s and 3 TB/s the FLOPs
are the bound for C = K = 128 and more, and then up to 4 times as fast as the definition. **Precision**: see winograd_forms.py; its points are those of the CPU.
"""
from math import inf
from typing import NamedTuple

from ..cuda import blocks, contiguous, empty, launch, strided
from ..cuda.memory import empty_images, lies_channels_last
from ..elementwise.cuda import copy_
from ..matmul.cuda import multiply
from .cuda_implicit import images
from .cuda_model import Kernel, passes, product, seconds
from .sizes import sizes

NAME = "winograd"
SOURCE = "conv/winograd.cu"
THREADS = 256
ELEMENTS = 64 << 20  # of transformed images


class Tiling(NamedTuple):
    """The struct of winograd.cu."""

    down: int
    across: int
    start_h: int
    start_w: int
    channels_first: bool


class Steps(NamedTuple):
    """The struct of winograd.cu: how filters lie."""

    group: int
    filter: int
    channel: int
    row: int
    column: int


def stages(form, n, geometry, dtype):
    """The transforms there, the 36 products, the transforms back. None where it cannot do the problem."""
    if (n.R, n.S) != (3, 3) or geometry.stride != (1, 1) or geometry.dilation != (1, 1):
        return None
    tiles, C, K, filters = _tiles(form, n), n.C // n.G, n.K // n.G, n.K * n.C // n.G
    x, y, V, M = n.N * n.C * n.H * n.W, n.N * n.K * n.P * n.Q, 36 * tiles * n.C, 36 * tiles * n.K

    def kernel(name):
        return Kernel(SOURCE, name, {"real": dtype})
    if form == "weight_grad":
        return [passes("transforms", x + y + V + M, dtype, kernel("inputs"), 2), product(K, C, tiles, 36 * n.G, dtype),
                passes("back", 36 * filters + 9 * filters, dtype, kernel("filters_grad"))]
    if form == "input_grad":
        (x, y), (V, M), (C, K) = (y, x), (M, V), (K, C)
    return [passes("transforms", x + V + 45 * filters, dtype, kernel("inputs"), 2), product(tiles, K, C, 36 * n.G, dtype),
            passes("back", M + y, dtype, kernel("outputs"))]


def cost(form, n, geometry, dtype):
    known = stages(form, n, geometry, dtype)
    return inf if known is None else seconds(known)


def scratch(form, n, geometry):
    """Transformed images of a part of the batch, and transformed filters."""
    return min(max(ELEMENTS, 36 * _tiles(form, n) // max(1, n.N) * (n.C + n.K)), 36 * _tiles(form, n) * (n.C + n.K)) + 36 * n.K * n.C // n.G


def _tiles(form, n):
    return n.N * (blocks(n.H, 4) * blocks(n.W, 4) if form == "input_grad" else blocks(n.P, 4) * blocks(n.Q, 4))


def forward(x, w, bias, geometry):
    """y (N, K, P, Q) from x (N, C, H, W), w (K, C/groups, 3, 3) and bias (K,) or None. y lies as x does."""
    n = sizes(x.shape, w.shape, geometry)
    y = empty_images((n.N, n.K, n.P, n.Q), x.dtype, x)
    w = w.reshape(n.G, n.K // n.G, n.C // n.G, 3, 3)
    _correlate(x, w, None if bias is None else contiguous(bias), y, (-geometry.padding[0], -geometry.padding[1]))
    return y


def input_grad(dy, w, x_shape, geometry):
    """dx (N, C, H, W) from dy (N, K, P, Q) and w. dx lies as dy does."""
    n = sizes(x_shape, w.shape, geometry)
    dx = empty_images(x_shape, dy.dtype, dy)
    turned = w.reshape(n.G, n.K // n.G, n.C // n.G, 3, 3)[..., ::-1, ::-1].transpose(0, 2, 1, 3, 4)
    _correlate(dy, turned, None, dx, (geometry.padding[0] - 2, geometry.padding[1] - 2))
    return dx


def weight_grad(dy, x, w_shape, geometry):
    """dw (K, C/groups, 3, 3) from dy (N, K, P, Q) and x."""
    n = sizes(x.shape, w_shape, geometry)
    dw, parts = empty(w_shape, x.dtype), _parts(n.N, blocks(n.P, 4) * blocks(n.Q, 4) * (n.C + n.K))
    if dw.size == 0 or not parts:
        copy_(dw, 0)
        return dw
    products, first = empty((len(parts), 36, n.G, n.K // n.G, n.C // n.G), x.dtype), not lies_channels_last(x)
    for part, some in enumerate(parts):
        V = _transformed("inputs", x[some], (n.P, n.Q), (-geometry.padding[0], -geometry.padding[1]), first, n.G)
        D = _transformed("outputs_grad", dy[some], (n.P, n.Q), (0, 0), first, n.G)
        multiply(D.transpose(0, 1, 3, 2), V, products[part])
    launch(SOURCE, "filters_grad", blocks(dw.size // 9, THREADS), THREADS, products, len(parts), dw, dw.size // 9, real=x.dtype)
    return dw


def _correlate(x, w, bias, y, start):
    """y = x correlated with the filters w (G, K/G, C/G, 3, 3), in y's own memory. start: which pixel tap (0, 0) of output (0, 0) is over."""
    if y.size == 0:
        return
    G, K, C = w.shape[:3]
    U = empty((36, G, C, K), x.dtype)
    steps = Steps(*(step // x.itemsize for step in w.strides))
    launch(SOURCE, "filters", blocks(G * C * K, THREADS), THREADS, strided(w), steps, U, C, K, G * C * K, real=x.dtype)
    first, (P, Q) = not lies_channels_last(y), y.shape[2:]
    for some in _parts(len(x), blocks(P, 4) * blocks(Q, 4) * G * (C + K)):
        V, out = _transformed("inputs", x[some], (P, Q), start, first, G), y[some]
        tiles = V.shape[2]
        M, product = _grouped(tiles, G, K, first, x.dtype)
        multiply(V, U, product)
        launch(SOURCE, "outputs", blocks(tiles * G * K, THREADS), THREADS, M, bias, strided(out), images(out, 1), Tiling(blocks(P, 4), blocks(Q, 4), 0, 0, first), tiles,
               real=x.dtype)


def _transformed(kernel, x, positions, start, channels_first, groups):
    """The tiles of images x (N, C, H, W), transformed by a kernel: (36, G, tiles, C/G)."""
    down, across = blocks(positions[0], 4), blocks(positions[1], 4)
    tiles = len(x) * down * across
    V, grouped = _grouped(tiles, groups, x.shape[1] // groups, channels_first, x.dtype)
    launch(SOURCE, kernel, blocks(tiles * x.shape[1], THREADS), THREADS, strided(x), images(x, 1), Tiling(down, across, *start, channels_first), V, tiles, real=x.dtype)
    return grouped


def _grouped(tiles, G, channels, channels_first, dtype):
    """(memory for transformed images, the same as matrices (36, G, tiles, channels))."""
    if channels_first:
        V = empty((36, G, channels, tiles), dtype)
        return V, V.transpose(0, 1, 3, 2)
    V = empty((36, tiles, G, channels), dtype)
    return V, V.transpose(0, 2, 1, 3)


def _parts(N, tile_elements):
    """Slices of the batch. tile_elements: transformed numbers of an image, over 36."""
    some = max(1, ELEMENTS // max(1, 36 * tile_elements))
    return [slice(i, min(N, i + some)) for i in range(0, N, some)]
