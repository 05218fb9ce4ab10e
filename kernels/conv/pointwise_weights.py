"""The weight gradient of 1x1 filters: a matrix product with a long sum, whose operands are multiplied where they lie, on channels-last memory.

    dW[k, c] = sum over pixels of  dY[pixel, k] * X[where the pixel's window is, c]

**Idea.** A tile of dW, 8 filters by 32 channels, is summed in registers (kernels/simd/tile.py). Each step is a pixel: 8 elements of its row of dY and 32 of its row of X,
which are three cache lines. So neither has to be packed, as long as the rows of a *block* of 144 pixels stay in the second-level cache, and come from
memory in time: while a block is multiplied, the next one is asked for, line by line in the order in which it lies. (Other orders, such as all rows of a column of
tiles, cost a tenth to a fifth: neighbouring lines come faster.) What a block gives is added to what its task has so far.

A pixel's K + C elements are multiplied K * C times. Where that is little for each line, such as with 16 filters, asking takes longer than multiplying: a core waits for
at most some twenty lines at a time, and what the cache fetches by itself, on seeing the pattern, comes sooner. (16 filters, 192 channels: 0.38 ms without, 0.49 with
it.)

Packed, into slices as wide as a tile or a vector, are: rows that are a multiple of 4 KB apart, because they compete for the same places in the cache (1024 channels:
110 to 140 GFLOP/s where others reach 160); X where the stride leaves pixels out; and rows that do not end with a tile.

**Threads.** Where pixels are many and weights few, pixels are cut into splits, by shape alone, and their sums added in order. How weights are cut changes no bit, and so
may follow the number of threads: each has some filters and channels, and goes through them chunk by chunk, of which the sums stay in the second-level cache too.

**Napkin.** 2*N*P*Q*K*C/G FLOPs. A step does 512 of them on 40 numbers loaded; both operands are read once. 64 to 64 channels, 56x56, batch 16: 0.41 GFLOP, 1.2 ms at the
350 GFLOP/s of two cores (Sapphire Rapids), and 26 MB, 0.8 ms at the 32 GB/s at which they read. Measured there, float32, GFLOP/s
(PyTorch 2.13 beside it in brackets): 214 (198); 64 to 256 244 (194), 128 to 512 at 28x28 256 (245), 2048 to 512 at 7x7 249 (168), 832 to 48 at 7x7 233 (188).
"""
from functools import lru_cache
from typing import NamedTuple

import numba
import numpy as np
from numba import get_thread_id, prange
from numba.np.unsafe.ndarray import to_fixed_tuple

from ..matmul.block import panel_width, whole_vectors
from ..runtime import jit
from ..simd.choose import take
from ..simd.places import add_stored_at, rows_of, store_tile_at
from ..simd.tile import ROWS, VECTORS, add_outer, zero_tile
from ..simd.vector import add, lanes, load, load_part, prefetch, store, store_part
from .correlation import numbers, parts
from .implicit import copy
from .outputs import source
from .sizes import sizes
from .workspace import workspace

BLOCK = 144  # pixels, about
FILTERS, CHANNELS = 256, 512  # of a chunk, at most
SPLITS, MANY = 16, 1024  # of the pixels, at most, and pixels that make one worth while
PARTIAL = 6 << 20  # elements of the splits' sums together, at most
CROWD = 4096  # bytes: lines so far apart compete for the same places in the nearest cache
PIECE = 4096  # weights whose splits are added at once
LINE, RUN = 16, 16  # elements that are asked for at once, and steps between
BUSY = 25  # products for each element, from which on the next block is asked for
GAP = 16  # elements between rows of sums
RATE, MOVE = 150e9, 0.1e-9  # FLOP/s of one core, seconds to fetch an element
TILE, STEP = 40e-9, 0.5e-6  # seconds to begin a tile and a block


class Share(NamedTuple):
    """How the product is cut up, and where pixels lie in x."""

    groups: int
    K: int  # filters and channels of one group
    C: int
    pixels: int
    rows: int  # P and Q
    columns: int
    x_step: int  # elements of x from pixel to pixel, and what is added at the end of a row and of an image
    x_row: int
    x_image: int
    dy_step: int
    splits: int
    down: int  # parts of the filters, and of the channels
    across: int
    filters: int  # of a chunk
    channels: int
    block: int
    x_in_place: bool
    dy_in_place: bool
    asks: bool  # for the next block, while one is multiplied

    @property
    def tasks(self):
        return self.groups * self.splits * self.down * self.across

    @property
    def scratch(self):
        """Elements of a thread's sums and packed operands."""
        return self.filters * (self.channels + GAP) + self.block * ((not self.x_in_place) * self.channels + (not self.dy_in_place) * whole(self.filters, 48))

    @property
    def partial(self):
        """Elements of the splits' sums."""
        return self.splits * self.groups * self.K * self.C if self.splits > 1 else 0


NUMBERS = len(Share._fields)


def is_pointwise(n, geometry):
    """Whether this is a problem for this file."""
    return (n.R, n.S) == (1, 1) and geometry.padding == (0, 0)


def cost(n, dtype):
    """A model of the seconds on one core: whole tiles, both operands fetched, tiles and blocks begun."""
    pixels, K, C = n.N * n.P * n.Q, n.K // n.G, n.C // n.G
    blocks = n.G * parts(pixels, BLOCK)
    products = 2 * pixels * n.G * whole(K, 8) * whole(C, 16) / RATE + pixels * (n.K + n.C) * MOVE
    return products * dtype.itemsize / 4 + blocks * (STEP + TILE * parts(K, 8) * parts(C, 32)) + 20e-6


def scratch(n, geometry):
    """A row for each thread, and the sums of all splits."""
    share = weight_share(n, geometry, 4, numba.get_num_threads())
    return share.scratch * numba.get_num_threads() + share.partial


@lru_cache(maxsize=1024)
def weight_share(n, geometry, itemsize, threads):
    """The Share of a problem."""
    K, C, pixels = n.K // n.G, n.C // n.G, n.N * n.P * n.Q
    down, across = geometry.stride
    splits = SPLITS
    while splits > 1 and (splits * MANY > pixels or splits * n.K * C > PARTIAL):
        splits //= 2
    cuts = _cuts(K, C, parts(threads, splits * n.G))
    filters, channels = (whole(parts(length, parts(length, most)), unit) for length, most, unit in
                         ((parts(parts(K, 8), cuts[0]) * 8, FILTERS, 8), (parts(parts(C, 32), cuts[1]) * 32, CHANNELS, 32)))
    x_in_place = geometry.stride == (1, 1) and C % 16 == 0 and n.C * itemsize % CROWD != 0
    return Share(n.G, K, C, pixels, n.P, n.Q, across * n.C, (down * n.W - across * n.Q) * n.C, (n.H - down * n.P) * n.W * n.C, n.K, splits, *cuts, filters, channels,
                 max(1, min(BLOCK, pixels)), x_in_place, K % ROWS == 0 and n.K * itemsize % CROWD != 0, K * C >= BUSY * (K + C))


def _cuts(K, C, wanted):
    """(down, across), at least `wanted` together if there is so much: of all, those that leave the least to one thread, products and elements to fetch."""
    def time(cuts):
        rows, columns = whole(parts(K, cuts[0]), 8), whole(parts(C, cuts[1]), 32)
        return rows * columns + 16 * (rows + columns)
    return min(((down, min(parts(wanted, down), parts(C, 32))) for down in range(1, min(wanted, parts(K, 8)) + 1)), key=time, default=(1, 1))


def whole(count, unit):
    """`count` rounded up to a multiple of `unit`."""
    return parts(count, unit) * unit


def weight_grad(dy, x, w_shape, geometry):
    """dw (K, C/groups, 1, 1) from dy (N, K, P, Q) and x (N, C, H, W)."""
    n = sizes(x.shape, w_shape, geometry)
    dw = np.empty(w_shape, x.dtype)
    if 0 in (dw.size, dy.size):
        dw[...] = 0
        return dw
    share = weight_share(n, geometry, x.itemsize, numba.get_num_threads())
    with workspace(share.scratch, x.dtype, share.partial) as (memory, sums):
        _weight_grad(share.tasks, source(x), source(dy), sums if share.splits > 1 else dw.reshape(-1), dw.reshape(-1), numbers(share), memory)
    return dw


@jit(parallel=True)
def _weight_grad(tasks, x, dy, sums, dw, cuts, scratch):
    share = Share(*to_fixed_tuple(cuts, NUMBERS))
    for task in prange(tasks):
        _weight_part(np.int64(task), x, dy, sums, share, scratch[get_thread_id()])
    for piece in prange((dw.size + PIECE - 1) // PIECE if share.splits > 1 else 0):
        _add_splits(np.int64(piece) * PIECE, min(dw.size, (np.int64(piece) + 1) * PIECE), sums, share.splits, dw)


@jit
def _add_splits(first, end, sums, splits, dw):
    for i in range(first, end, lanes(dw)):
        total = take(sums, i, end - i)
        for split in range(1, splits):
            total = add(total, take(sums, split * dw.size + i, end - i))
        store_part(dw, i, min(lanes(dw), end - i), total)


@jit
def _weight_part(task, x, dy, sums, share, mine):
    """Some filters and channels of one group, summed over a split's pixels: for each chunk, block by block."""
    g, split = task // (share.across * share.down) // share.splits, task // (share.across * share.down) % share.splits
    first_k, end_k = cut(share.K, 8, share.down, task // share.across % share.down)
    first_c, end_c = cut(share.C, 32, share.across, task % share.across)
    first, end = cut(share.pixels, 1, share.splits, split)
    bounds, blocks = (first_k, end_k, first_c, end_c, first, end), (end - first + share.block - 1) // share.block
    steps = blocks * ((end_k - first_k + share.filters - 1) // share.filters) * ((end_c - first_c + share.channels - 1) // share.channels)
    row = share.channels + GAP
    part, packed_x = mine[:share.filters * row], mine[share.filters * row:]
    packed_dy = packed_x[:] if share.x_in_place else packed_x[share.block * share.channels:]
    places = np.empty((2, share.block), np.int64)  # of the pixels in x: this block's, and the next one's
    soon = locate(0, blocks, bounds, share)
    list_pixels(soon, g, share, places[0])
    for step in range(steps):
        now, here, there = soon, places[step % 2], places[(step + 1) % 2]
        soon = locate(step + 1 if step + 1 < steps else 0, blocks, bounds, share)
        list_pixels(soon, g, share, there)
        k, filters, c, channels, pixel, count = now
        dy0, W, slice_ = pixel * share.dy_step + g * share.K + k, panel_width(x), slice_width(x)
        a, a0, a_slice, a_step = dy, dy0, slice_, share.dy_step
        b, b0, b_panel, b_step = x, here[0], W, share.x_step
        if not share.dy_in_place:
            _pack_filters(count, filters, slice_, dy, dy0, share.dy_step, packed_dy)
            a, a0, a_slice, a_step = packed_dy, 0, slice_ * count, slice_
        if not share.x_in_place:
            _pack_channels(count, channels, x, here, packed_x)
            b, b0, b_panel, b_step = packed_x, 0, W * count, W
        begins, whole_ = step % blocks == 0, channels if channels % W > lanes(x) else channels // W * W
        ahead = soon[4] * share.dy_step + g * share.K + soon[0]
        _multiply(zero_tile(x, ROWS, VECTORS), 0, whole_, count, filters, channels, a, a0, a_slice, a_step, b, b0, b_panel, b_step, part, row, begins,
                  dy, ahead, share.dy_step, x, there, soon, share.asks and step + 1 < steps)
        if whole_ < channels:
            b_step = b_step if share.x_in_place else lanes(x)  # the last panel is narrower
            _multiply(zero_tile(x, ROWS, 1), whole_, channels, count, filters, channels, a, a0, a_slice, a_step, b, b0, b_panel, b_step, part, row, begins,
                      dy, ahead, share.dy_step, x, there, soon, share.asks and step + 1 < steps and whole_ == 0)
        if step % blocks == blocks - 1:
            for i in range(filters):
                copy(part, i * row, sums, ((split * share.groups + g) * share.K + k + i) * share.C + c, channels)


@jit
def cut(length, unit, parts, i):
    """Where part i of `length` begins and ends: the parts are whole units, up to the end, and equal up to one."""
    units = (length + unit - 1) // unit
    return min(length, units * i // parts * unit), min(length, units * (i + 1) // parts * unit)


@jit
def locate(step, blocks, bounds, share):
    """(first filter, how many; first channel, how many; first pixel, how many) of a step: a chunk's blocks follow one another."""
    first_k, end_k, first_c, end_c, first, end = bounds
    chunk, across = step // blocks, (end_c - first_c + share.channels - 1) // share.channels
    k, c = first_k + chunk // across * share.filters, first_c + chunk % across * share.channels
    begin, behind = first + (end - first) * (step % blocks) // blocks, first + (end - first) * (step % blocks + 1) // blocks
    return k, min(share.filters, end_k - k), c, min(share.channels, end_c - c), begin, behind - begin


@jit
def list_pixels(step, g, share, places):
    """Where the channels of each pixel of a step begin in x."""
    _, _, c, _, pixel, count = step
    row = pixel // share.columns
    image, column = row // share.rows, pixel % share.columns
    row -= image * share.rows
    at = g * share.C + c + pixel * share.x_step + pixel // share.columns * share.x_row + image * share.x_image
    for i in range(count):
        places[i] = at
        at, column = at + share.x_step, column + 1
        if column == share.columns:
            at, column, row = at + share.x_row, 0, row + 1
            if row == share.rows:
                at, row = at + share.x_image, 0


@jit
def slice_width(x):
    """Filters in a slice of packed dy: whole vectors and whole tiles, 48 or a part of that."""
    width = lanes(x)
    while width % ROWS:
        width += lanes(x)
    return width


@jit
def _pack_filters(count, filters, width, dy, dy0, dy_step, packed):
    """Slices of filters, in each a pixel after the other. The last filter is repeated up to a whole slice: it is computed several times, and stored to the same place."""
    L = lanes(dy)
    for first in range(0, count, RUN):  # some pixels at a time: each would write to the same cache lines of every slice
        end = min(count, first + RUN)
        for v in range(0, filters, L):
            at = v // width * width * count + v % width
            for i in range(first, end):
                store(packed, at + i * width, take(dy, dy0 + i * dy_step + v, filters - v))
        last = (filters - 1) // width * width
        for i in range(first, end):
            at = last * count + i * width
            packed[at + filters - last:at + width] = packed[at + filters - last - 1]


@jit
def _pack_channels(count, channels, x, places, packed):
    """Panels of channels, in each a pixel after the other; whole vectors, filled up with zeros."""
    L, W = lanes(x), panel_width(x)
    for first in range(0, count, RUN):
        end = min(count, first + RUN)
        for v in range(0, channels, L):
            panel = v // W * W
            at, width = panel * count + v - panel, whole_vectors(min(W, channels - panel), x)
            if channels - v >= L:
                for i in range(first, end):
                    store(packed, at + i * width, load(x, places[i] + v))
            else:
                for i in range(first, end):
                    store(packed, at + i * width, load_part(x, places[i] + v, channels - v))


@jit
def _multiply(nothing, first, end, count, filters, channels, a, a0, a_slice, a_step, b, b0, b_panel, b_step, sums, row, begins, dy, dy0, dy_step, x, places, soon, ahead):
    """sums = (or +=, unless a chunk begins) the products of a block's pixels, for the channels from `first` to `end`, tile by tile. nothing: a tile of zeros.

    ahead: whether to ask for the pixels of `soon`, the next step, which are at dy0 + i*dy_step and places[i]. (One function with everything in it: Numba counts
    references to each array whenever it is passed on, a tenth of the time if that is done for each tile.)
    """
    W, S, last, runs = panel_width(x), slice_width(x), filters - 1, (count + RUN - 1) // RUN
    pixel, line, pixels = 0, 0, soon[5] if ahead else 0
    dy_lines, lines = (soon[1] + LINE - 1) // LINE, (soon[1] + LINE - 1) // LINE + (soon[3] + LINE - 1) // LINE
    slots = (filters + ROWS - 1) // ROWS * ((end - first + W - 1) // W) * runs
    quota = (pixels * lines + slots - 1) // max(1, slots)
    for n in range(first, end, W):
        columns = min(W, channels - n)
        for m in range(0, filters, ROWS):
            tile, left, right = nothing, a0 + m // S * a_slice + m % S, b0 + n // W * b_panel
            for run in range(0, count, RUN):
                for _ in range(quota):
                    if pixel < pixels:
                        if line < dy_lines:
                            prefetch(dy, dy0 + pixel * dy_step + line * LINE)
                        else:
                            prefetch(x, places[pixel] + (line - dy_lines) * LINE)
                        line += 1
                        if line == lines:
                            pixel, line = pixel + 1, 0
                for _ in range(run, min(run + RUN, count)):
                    tile = add_outer(tile, a, left, 1, b, right)
                    left += a_step
                    right += b_step
            rows = rows_of(nothing, m, last, row)
            if not begins:
                tile = add_stored_at(tile, sums, rows, n, columns)
            store_tile_at(tile, sums, rows, n, columns)
