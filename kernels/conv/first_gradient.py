"""The input gradient of a first layer: of images with so few channels that no vector can be filled with them, on channels-last memory.

    U[p, q, (r, s, c)] = sum over k of  dY[p, q, k] * W[k, c, r, s]
    dX[h, w, c]        = sum over p, q, r, s with h = p*stride + r*dilation - padding, w likewise, of  U[p, q, (r, s, c)]

**Idea.** In implicit.py the channels of dx lie across the lanes of a vector, and 3 of 16 lanes work. Here all taps of all channels do: 7x7x3 are 147 columns of a
matrix product, whose result U, for a hundred pixels of dy at a time, stays in the second-level cache. Each result belongs to R rows of dx, and in each of them to S*C
elements in a row: 21 numbers are added at once. (This is im2col's col2im, as a part of the product, and in the order (r, s, c), which has long runs; in the order (c,
r, s) it has none.)

Why anybody wants to know how an image's pixels change the loss: saliency maps, adversarial examples, images that excite a neuron. Training does not.

**Threads** share out bands of rows of dx. A band has scratch memory of its own, with room for the padding, and needs the rows of dy that reach into it; those at its
edges are computed for both bands. So each element of dx is summed by one thread, in one order.

**Napkin.** 2*N*K*P*Q*C*R*S FLOPs, 7x7/2 on 224x224, batch 16: 3.8 GFLOP, with empty columns 4.1, 12 ms at 350 GFLOP/s (two cores, Sapphire Rapids). Scattering: 1.4
million runs of 21 elements, two loads, an addition and a store for each vector, about 10 ns a run, 7 ms on two cores. dx is 9.6 MB. Measured there: 23 ms (96 as in
im2col.py, 114 as in implicit.py); AlexNet's 11x11/4 18 ms (31 before). VGG's 3x3 is no faster, 36 ms: runs of 9 elements are short and many. To measure:
tinycnn bench conv resnet50 --layer conv1 --pass input_grad
"""
import numpy as np
from numba import get_thread_id, prange

from ..graph.record import noted
from ..layout import nhwc
from ..matmul.block import panel_width
from ..memory import empty_channels_last, lanes_of
from ..runtime import jit
from ..simd.places import add_outer_at, rows_of, store_tile_at
from ..simd.tile import ROWS, VECTORS, zero_tile
from ..simd.vector import add, lanes, load, load_part, store, store_part
from .correlation import parts
from .implicit import clear, copy
from .sizes import sizes
from .workspace import aligned, workspace

FEW = 4  # channels
BAND = 48  # rows of dx, about: they, and what of U there is at a time, are a part of the second-level cache
PIXELS = 112  # of a row of dy, whose U there is at a time
RATE, RUN = 150e9, 10e-9  # FLOP/s of one core; seconds to add a run


def is_first(n, geometry):
    """Whether the images have few channels, and filters more than one tap whose pixels lie in a row."""
    return n.C <= FEW and n.G == 1 and geometry.dilation[1] == 1 and n.R * n.S > 1


def cost(n, dtype):
    """The product, of whole panels, and the runs."""
    columns = parts(n.R * n.S * n.C, 32) * 32
    pixels = n.N * n.P * n.Q
    return (2 * pixels * n.K * columns / RATE + pixels * n.R * RUN) * (dtype.itemsize / 4) + 20e-6


def shape(n, geometry, dtype):
    """(columns of U, rows of a band, elements of a row of a band with its padding)"""
    width = VECTORS * lanes_of(dtype)
    across = max((n.Q - 1) * geometry.stride[1] + n.S, n.W + geometry.padding[1])
    return parts(n.R * n.S * n.C, width) * width, parts(n.H, parts(n.H, BAND)), across * n.C


def scratch(n, geometry, dtype):
    """Elements of a band and of what of U there is at a time."""
    columns, rows, width = shape(n, geometry, dtype)
    return rows * width + min(n.Q, PIXELS) * columns


def input_grad(dy, w, x_shape, geometry, more=None):
    """dx (N, C, H, W), channels-last, from dy (N, K, P, Q) and w, plus `more`."""
    n = sizes(x_shape, w.shape, geometry)
    dx = empty_channels_last(x_shape, dy.dtype)
    if dx.size == 0:
        return dx
    columns, rows, width = shape(n, geometry, dy.dtype)
    more = np.zeros(0, dy.dtype) if more is None else nhwc(more).reshape(-1)
    with workspace(scratch(n, geometry, dy.dtype), dy.dtype) as (memory, _):
        _input_grad(nhwc(dy).reshape(-1), packed(w, columns), more, nhwc(dx).reshape(-1), n, *geometry[:3], columns, rows, width, memory)
    return dx


@noted
def packed(w, columns):
    """W (K, C, R, S) as a matrix (K, (r, s, c)), with zeros up to so many columns, in panels."""
    K, width = len(w), VECTORS * lanes_of(w.dtype)
    matrix = np.zeros((K, columns), w.dtype)
    matrix[:, :w[0].size] = w.transpose(0, 2, 3, 1).reshape(K, -1)
    panels = aligned(K * columns, w.dtype)
    panels.reshape(-1, K, width)[...] = matrix.reshape(K, -1, width).transpose(1, 0, 2)
    return panels


@jit(parallel=True)
def _input_grad(dy, w, more, dx, n, stride, padding, dilation, columns, rows, width, memory):
    bands = (n.H + rows - 1) // rows
    for task in prange(n.N * bands):
        mine, image, top = memory[get_thread_id()], np.int64(task) // bands, np.int64(task) % bands * rows
        below = min(top + rows, n.H)
        unfolded = (below - top) * width  # where in scratch memory U begins
        clear(mine, 0, unfolded)
        first = max(0, (top + padding[0] - (n.R - 1) * dilation[0] + stride[0] - 1) // stride[0])
        for p in range(first, min(n.P, (below - 1 + padding[0]) // stride[0] + 1)):
            for left in range(0, n.Q, PIXELS):
                pixels = min(PIXELS, n.Q - left)
                _unfold(dy, ((image * n.P + p) * n.Q + left) * n.K, pixels, n.K, w, columns, mine, unfolded)
                for q in range(pixels):
                    for r in range(n.R):
                        h = p * stride[0] + r * dilation[0] - padding[0]
                        if top <= h < below:
                            _add_run(mine, (h - top) * width + (left + q) * stride[1] * n.C, unfolded + q * columns + r * n.S * n.C, n.S * n.C)
        for h in range(top, below):
            _finish(mine, (h - top) * width + padding[1] * n.C, more, dx, (image * n.H + h) * n.W * n.C, n.W * n.C)


@jit
def _unfold(dy, start, count, K, w, columns, mine, unfolded):
    """U (count, columns) of pixels of dy that follow one another: tiles of eight of them and a panel."""
    nothing, W, last = zero_tile(w, ROWS, VECTORS), panel_width(w), count - 1
    for q in range(0, count, ROWS):
        pixels, results = rows_of(nothing, q, last, K), rows_of(nothing, q, last, columns)
        for column in range(0, columns, W):
            tile, at = nothing, column * K
            for k in range(K):
                tile = add_outer_at(tile, dy, pixels, start + k, w, at)
                at += W
            store_tile_at(tile, mine, results, unfolded + column, W)


@jit
def _add_run(mine, to, source, count):
    """mine[to:to + count] += mine[source:source + count]"""
    L = lanes(mine)
    for j in range(0, count - L + 1, L):
        store(mine, to + j, add(load(mine, to + j), load(mine, source + j)))
    rest = count % L
    if rest:
        j = count - rest
        store_part(mine, to + j, rest, add(load_part(mine, to + j, rest), load_part(mine, source + j, rest)))


@jit
def _finish(mine, source, more, dx, to, count):
    """A row of a band goes where it belongs, plus what else there is to be added."""
    copy(mine, source, dx, to, count)
    if more.size:
        L = lanes(dx)
        for j in range(0, count, L):
            some = min(L, count - j)
            store_part(dx, to + j, some, add(load_part(dx, to + j, some), load_part(more, to + j, some)))
