"""Convolution as a matrix product with the unfolded image (Chellapilla et al. 2006), tile by tile, so that the unfolded image never exists as a whole.

Unfolding (kernels/unfold) writes what the filter sees at each position as a column: U (C*R*S, P*Q), for each image. In these terms, with w as a matrix
W (K, C*R*S) and image n of y as Y (K, P*Q),

    forward      Y  = W @ U             the product is computed where y is wanted: a row is a channel
    input_grad   dU = W^T @ dY          then every column goes back where it came from: folding, the adjoint of unfolding
    weight_grad  dW = sum over n of dY @ U^T,  computed as (U @ dY^T)^T because the packed factor should be the smaller

Materialised, U is R*S times as large as x: 7.75 GiB for a classic benchmark layer (64 channels, 64 x 64, 9 x 9 filters, batch 128). Here a thread holds one tile of
it, some hundred rows by 256 positions, unfolds it into its second-level cache, multiplies it by all filters that there are and forgets it (kernels/conv/tiles.py).
A 1x1 convolution needs no unfolding: x is its own U, and is read in place.  The matrix product is that of kernels/matmul/block.py.

**Threads** share out tiles of the result, so that each element is written by one thread: images and positions (forward), images and channels (input_grad),
channels and filters (weight_grad; where these are few, its sum over images and positions is split as well, and the partial sums are added in order).

**Napkin.** 2*N*K*P*Q*(C/G)*R*S FLOPs; 117 GFLOP/s per core (Zen 4) bound it. An element of a tile takes about 0.3 ns to unfold and pack, and its products with K
filters 0.017*K ns: unfolding adds a seventh for K = 128, half for the 32 filters of a narrow branch. Measured on layers of VGG and ResNet: 75 to 95 GFLOP/s.
"""
import numba
import numpy as np
from numba import get_thread_id, prange

from ..matmul.block import gemm_block, pack_columns, pack_rows
from ..matmul.cpu import Memory
from ..runtime import contiguous, jit, summed
from ..unfold.tile import fold_tile, unfold_tile
from .epilogue import NOTHING, Epilogue, finish
from .sizes import sizes
from .tiles import FORMS, tiles
from .workspace import workspace

NAME = "im2col"
ZERO, ONE = np.intp(0), np.intp(1)  # Numba would compile another matrix product for every literal 0 or 1
RATE = 75e9  # FLOP/s of one core, the matrix product alone
MOVE, STRIDED = 0.5e-9, 1e-9  # seconds to unfold and pack an element, where they are adjacent and where not
READ = 0.5e-9  # seconds to fetch a weight
TASK = 1.5e-6  # seconds to begin a task


def cost(form, n, geometry, dtype):
    """The product, in tiles several filters high whether they are there or not, and the moves: of every element of U, of what it is multiplied by, of weights."""
    K = n.K // n.G
    moved = n.N * n.P * n.Q * (n.C * n.R * n.S * (MOVE if geometry.stride[1] == 1 else STRIDED) + n.K * MOVE) + n.K * n.C // n.G * n.R * n.S * READ
    return (n.flops / RATE * -(-K // 4) * 4 / K + moved) * (dtype.itemsize / 4) + TASK * tiles(form, n, geometry).tasks + 25e-6


def scratch(form, n, geometry):
    """A row for each thread, and the partial sums of the weight gradient."""
    tile = tiles(form, n, geometry)
    return tile.scratch * numba.get_num_threads() + (tile.splits * n.K * (n.C // n.G) * n.R * n.S if tile.splits > 1 else 0)


def pack(w, x_shape, geometry, once=False):
    """Filters are read as they are."""
    return contiguous(w)


def forward(x, w, w_shape, bias, geometry, epilogue=NOTHING):
    """y (N, K, P, Q) from x (N, C, H, W), w (K, C/groups, R, S) and bias (K,) or None."""
    n = sizes(x.shape, w_shape, geometry)
    y = np.empty((n.N, n.K, n.P, n.Q), x.dtype)
    compute("forward", contiguous(x), w, y, np.empty(0, x.dtype) if bias is None else contiguous(bias), n, geometry, tiles("forward", n, geometry))
    return finish(y, epilogue)


def input_grad(dy, w, x_shape, geometry, add=None):
    """dx (N, C, H, W) from dy (N, K, P, Q) and w, plus `add`."""
    n = sizes(x_shape, w.shape, geometry)
    dx = np.empty(x_shape, dy.dtype)
    compute("input_grad", dx, contiguous(w), contiguous(dy), np.empty(0, dy.dtype), n, geometry, tiles("input_grad", n, geometry))
    return finish(dx, Epilogue(add=add))


def weight_grad(dy, x, w_shape, geometry):
    """dw (K, C/groups, R, S) from dy (N, K, P, Q) and x."""
    n = sizes(x.shape, w_shape, geometry)
    tile = tiles("weight_grad", n, geometry)
    partial = np.empty((tile.splits, *w_shape), dy.dtype)
    compute("weight_grad", contiguous(x), partial, contiguous(dy), np.empty(0, dy.dtype), n, geometry, tile)
    return partial[0] if tile.splits == 1 else summed(partial.reshape(tile.splits, -1), partial[0].size, dy.dtype).reshape(w_shape)


def compute(form, x, w, y, bias, n, geometry, tile):
    """Fill in whichever of x, w, y is the unknown."""
    with workspace(tile.scratch, x.dtype) as (scratch, _):
        x, w, y = (np.asarray(Memory(array, array.size)) for array in (x, w, y))  # writeable, which in another form each of them has to be
        _compute(FORMS.index(form), tile.tasks, x, w, y, bias, n, *geometry[:3], tile, scratch)


@jit(parallel=True)
def _compute(form, tasks, x, w, y, bias, n, stride, padding, dilation, tile, scratch):
    """All three forms in one kernel: Numba takes seconds to compile a parallel loop with a matrix product inside, and so needs to do it once."""
    for number in prange(tasks):
        task, mine = np.intp(number), scratch[get_thread_id()]
        if form == 0:
            _forward(task, x, w, bias, y, n, stride, padding, dilation, tile, mine)
        elif form == 1:
            _input_grad(task, y, w, x, n, stride, padding, dilation, tile, mine)
        else:
            _weight_grad(task, y, x, w, n, stride, padding, dilation, tile, mine)


@jit
def _forward(task, x, w, bias, y, n, stride, padding, dilation, tile, mine):
    """Y = W @ U for one image and group, some filters and some positions, summed over the rows of U tile by tile."""
    C, K, RS, PQ = n.C // n.G, n.K // n.G, n.R * n.S, n.P * n.Q
    image, g, k, t = place(task, n.G, K, tile.filters, PQ, tile.positions)
    filters, positions = min(tile.filters, K - k), min(tile.positions, PQ - t)
    panels = tile.channels * tile.taps * tile.row  # where they begin, behind the columns
    y0 = (image * n.K + g * K + k) * PQ + t
    for f in range(filters if bias.size else 0):
        y[y0 + f * PQ:y0 + f * PQ + positions] = bias[g * K + k + f]
    for c in range(0, C, tile.channels):
        channels = min(tile.channels, C - c)
        x0 = (image * n.C + g * C + c) * n.H * n.W
        for tap in range(0, RS, tile.taps):
            taps = min(tile.taps, RS - tap)
            if tile.unfolds:
                unfold_tile(x, x0, (n.H, n.W), n.Q, n.S, stride, padding, dilation, channels, (tap, tap + taps), t, t + positions, mine, ZERO, tile.row)
                pack_rows(channels * taps, positions, mine, ZERO, tile.row, mine, panels)
            else:
                pack_rows(channels, positions, x, x0 + t, PQ, mine, panels)
            w0 = ((g * K + k) * C + c) * RS + tap
            gemm_block(filters, positions, channels * taps, w, w0, C * RS, ONE, mine, panels, y, y0, PQ, bias.size > 0 or c + tap > 0)


@jit
def _input_grad(task, dy, w, dx, n, stride, padding, dilation, tile, mine):
    """dU = W^T @ dY, folded, for some channels of one image: tile by tile of positions, summed over the filters."""
    C, K, RS, PQ = n.C // n.G, n.K // n.G, n.R * n.S, n.P * n.Q
    image, g, c, _ = place(task, n.G, C, tile.channels, ONE, ONE)
    channels = min(tile.channels, C - c)
    panels = tile.channels * tile.taps * tile.row  # where they begin, behind the columns
    x0 = (image * n.C + g * C + c) * n.H * n.W
    dx[x0:x0 + channels * n.H * n.W] = 0
    for t in range(0, PQ, tile.positions):
        positions = min(tile.positions, PQ - t)
        for tap in range(0, RS, tile.taps):
            taps = min(tile.taps, RS - tap)
            for k in range(0, K, tile.filters):
                filters = min(tile.filters, K - k)
                pack_rows(filters, positions, dy, (image * n.K + g * K + k) * PQ + t, PQ, mine, panels)
                w0 = ((g * K + k) * C + c) * RS + tap
                if tile.unfolds:
                    gemm_block(channels * taps, positions, filters, w, w0, ONE, C * RS, mine, panels, mine, ZERO, tile.row, k > 0)
                else:
                    gemm_block(channels, positions, filters, w, w0, ONE, C, mine, panels, dx, x0 + t, PQ, k > 0)
            if tile.unfolds:
                fold_tile(mine, ZERO, tile.row, (n.H, n.W), n.Q, n.S, stride, padding, dilation, channels, (tap, tap + taps), t, t + positions, dx, x0)


@jit
def _weight_grad(task, dy, x, dw, n, stride, padding, dilation, tile, mine):
    """dW^T = U @ dY^T for some filters and some rows of U, summed over a share of the images and positions tile by tile."""
    C, K, RS, PQ = n.C // n.G, n.K // n.G, n.R * n.S, n.P * n.Q
    task, tap = task // parts(RS, tile.taps), task % parts(RS, tile.taps) * tile.taps
    split, g, k, c = place(task, n.G, K, tile.filters, C, tile.channels)
    filters, channels, taps = min(tile.filters, K - k), min(tile.channels, C - c), min(tile.taps, RS - tap)
    panels = tile.channels * tile.taps * tile.row  # where they begin, behind the columns
    product = panels + tile.filter_row * tile.positions
    shares = n.N * parts(PQ, tile.positions)
    first, end = split * shares // tile.splits, (split + 1) * shares // tile.splits
    for share in range(first, end):
        image, t = share // parts(PQ, tile.positions), share % parts(PQ, tile.positions) * tile.positions
        positions = min(tile.positions, PQ - t)
        x0 = (image * n.C + g * C + c) * n.H * n.W
        pack_columns(positions, filters, dy, (image * n.K + g * K + k) * PQ + t, ONE, PQ, mine, panels)
        if tile.unfolds:
            unfold_tile(x, x0, (n.H, n.W), n.Q, n.S, stride, padding, dilation, channels, (tap, tap + taps), t, t + positions, mine, ZERO, tile.row)
            gemm_block(channels * taps, filters, positions, mine, ZERO, tile.row, ONE, mine, panels, mine, product, tile.filter_row, share > first)
        else:
            gemm_block(channels, filters, positions, x, x0 + t, PQ, ONE, mine, panels, mine, product, tile.filter_row, share > first)
    for f in range(filters):
        w0 = ((split * n.K + g * K + k + f) * C + c) * RS + tap
        for i in range(channels * taps):
            dw[w0 + i] = mine[product + i * tile.filter_row + f] if end > first else 0


@jit
def place(task, groups, height, tile_height, width, tile_width):
    """Where a task stands when numbers run over images (or shares), groups, and a (height, width) matrix in tiles: (image, group, row, column)."""
    down, across = parts(height, tile_height), parts(width, tile_width)
    return task // (groups * down * across), task // (down * across) % groups, task // across % down * tile_height, task % across * tile_width


@jit
def parts(total, size):
    """The number of pieces of `size` that cover `total`."""
    return (total + size - 1) // size
