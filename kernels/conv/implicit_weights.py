"""The weight gradient without unfolding the image, on channels-last memory: the same tile as in implicit.py, with the roles of its lists exchanged.

    dW[tap, c, k] = sum over pixels of  X[where the pixel's window has that tap, c] * dY[pixel, k]

**Idea.** A tile is 9 weights (a tap and a channel each) of 32 filters, and the sum runs over pixels. Each step takes from one pixel's window the elements under
the 9 taps and channels, and that pixel's row of dY. Forward had a list of pixels and moved through taps; here is a list of taps and channels, and the loop moves
through pixels.

Moving through pixels means jumping from one to the next, over all channels but the 9. So a block of X is first copied, with zeros around it, in slices of 32
channels: a slice of a pixel is two cache lines, those of neighbouring pixels follow each other, and all taps find what they need in it. Rows of dY are packed likewise,
unless filters have few weights (a network's first layer): then a packed row would be read only a few times, and is read where it lies, if filters are whole vectors.

A tile's sum leaves out the rows and columns of pixels for which its taps are outside the image: 3x3 with stride 2 on 14x14, 512 channels, takes 0.93 of the time.

**Threads** share out filters and channels, each of which one thread sums over all images; where these are few, images are shared out too, and the partial sums added
in order. All this is decided by shape alone. A share's sums, say 64 channels x 9 taps x 256 filters, stay in the second-level cache. The more filters a share has, the
fewer copy the same x; the more channels, the fewer pack the same dy, of which there is less where windows are some pixels apart.

**Napkin.** 2*N*K*P*Q*(C/G)*R*S FLOPs, a step does 576 of them on 41 numbers loaded: arithmetic is the bound. A block of pixels (100 to 256) is summed in
registers and then added to what the thread has so far: 288 numbers read and written for 288 * 100 products or more.
Memory is not, as long as it is asked for line by line: 3 channels 224x224, 64 filters 3x3, batch 16, has 205 MB of dY, 7 ms at 30 GB/s beside 12 of arithmetic
(two Zen 4 cores, which take 14.4). Each step of a block asks for one line of the next block, into the second-level cache: eight lines at once, now and then, into the
nearest cache, with pieces of dY small enough to stay there, took 1.36 times as long.
"""
from functools import lru_cache
from typing import NamedTuple

import numba
import numpy as np
from numba import get_thread_id, prange

from ..layout import nhwc
from ..matmul.block import pack_rows, panel_width, whole_vectors
from ..runtime import jit
from ..simd.places import add_outer_at, add_stored_at, places_of, rows_of, store_tile_at
from ..simd.tile import VECTORS, load_square, store_tile, transpose, zero_tile
from ..simd.vector import REGISTERS, WIDTH, add, lanes, load, prefetch_far, store
from . import pointwise_weights
from .correlation import forward_axis, parts, plan
from .implicit import clear, copy
from .pointwise_weights import is_pointwise, whole
from .sizes import sizes
from .workspace import workspace

TASKS = 16  # wanted, so that threads have something to share out
SUMS = 144 << 10  # elements of a task's sums, about, and
COPY = 128 << 10  # of its copy of x: they stay in the second-level cache
PARTIAL = 6 << 20  # elements of all partial sums together, at most
PIXELS = 256  # of a block, at most
SLICE = 32  # channels
ROWS = 9 if REGISTERS == 32 else 6  # of a tile: 3x3 filters of three channels are three tiles (with 8 rows four, a sixth of it for nothing)
LOW = 3  # rows of a lower one, and
LEFT = (ROWS - 1) // LOW * LOW  # how many weights left over, at most, are done by those: a 7x7 filter of three channels has 16 * 9 + 3 weights (0.97 of the time)
FEW = 400  # weights of a filter, in a share, for which rows of dy are read where they lie, at most (for any number: 3x3/2 from 256 channels to 512 takes 1.03 to 1.07)


class Share(NamedTuple):
    """How a weight gradient is cut into tasks."""

    filters: int
    channels: int
    splits: int  # of the sum over blocks of pixels
    tasks: int
    slice: int  # channels of a slice of the copy
    area: int  # pixels of a slice
    copied: int  # elements of a task's copy of x
    packed: int  # and of its rows of dy, or none if they are read where they lie
    sums: int


@lru_cache(maxsize=1024)
def weight_plan(n, geometry):
    """(Plan, Share, taps): of tap i, taps[i] is how far behind the beginning of a window in a slice of the copy it looks, and between which rows and columns of results
    (first, end; first, end) it looks into the image."""
    down, across = (forward_axis(*axis) for axis in zip((n.P, n.Q), (n.R, n.S), *geometry[:3]))
    p, _ = plan(n.N, n.G, (n.H, n.W, n.C, n.C), (n.P, n.Q, n.K, n.K), down, across)
    width = min(SLICE, p.depth)
    filters, channels = _cut(p.filters, p.depth, SUMS // (n.R * n.S), down.stride * across.stride)
    rows = max(1, min(n.P, PIXELS // n.Q, COPY // (down.stride * across.extent * channels)))
    rows = parts(n.P, parts(n.P, rows)) if n.P else 1
    images = max(1, min(n.N, PIXELS // max(1, rows * n.Q), COPY // (down.extent * across.extent * channels))) if rows == n.P else 1
    p = p._replace(block_images=images, block_rows=rows, copied_H=(rows - 1) * down.stride + down.reach, copied_W=across.extent, in_place=False)
    area = images * p.copied_H * p.copied_W
    taps = [((r - down.offsets[0]) * p.copied_W + s - across.offsets[0], *down.sees(r, n.H), *across.sees(s, n.W)) for r in down.offsets for s in across.offsets]
    taps = np.array(taps, np.int64).reshape(-1, 5) * (width, 1, 1, 1, 1)
    tasks = n.G * parts(p.filters, filters) * parts(p.depth, channels)
    splits = max(1, min(parts(TASKS, tasks), p.blocks, PARTIAL // max(1, n.K * p.depth * len(taps))))
    copied = parts(channels, width) * area * width
    packed = 0 if p.filters % WIDTH == 0 and len(taps) * channels <= FEW else images * rows * n.Q * filters
    share = Share(filters, channels, splits, tasks * splits, width, area, copied, packed, len(taps) * channels * filters)
    return p, share, taps


def _cut(filters, channels, most, ratio):
    """(filters, channels) of a task, at most so many products of the two if it can be: such that least is copied, with `ratio` pixels of x to one of dy."""
    def moved(cut):
        return ratio * parts(filters, cut[0]) * channels + parts(channels, cut[1]) * filters
    cuts = [(whole(parts(filters, k), 32), min(channels, whole(parts(channels, c), SLICE)))
            for k in range(1, parts(filters, 32) + 1) for c in range(1, parts(channels, SLICE) + 1)]
    return min((cut for cut in cuts if cut[0] * cut[1] <= most), key=moved, default=cuts[-1])


def scratch(n, geometry):
    """A row for each thread, and the sums of all tasks."""
    if is_pointwise(n, geometry):
        return pointwise_weights.scratch(n, geometry)
    _, share, _ = weight_plan(n, geometry)
    return (share.copied + share.packed) * numba.get_num_threads() + share.tasks * share.sums


def weight_grad(dy, x, w_shape, geometry):
    """dw (K, C/groups, R, S) from dy (N, K, P, Q) and x (N, C, H, W)."""
    n = sizes(x.shape, w_shape, geometry)
    if is_pointwise(n, geometry):
        return pointwise_weights.weight_grad(dy, x, w_shape, geometry)
    p, share, taps = weight_plan(n, geometry)
    dw = np.empty(w_shape, x.dtype)
    with workspace(share.copied + share.packed, x.dtype, share.tasks * share.sums) as (memory, sums):
        _weight_grad(share.tasks, nhwc(x).reshape(-1), nhwc(dy).reshape(-1), sums, dw.reshape(-1), p, share, taps, memory)
    return dw


@jit(parallel=True)
def _weight_grad(tasks, x, dy, sums, dw, p, share, taps, scratch):
    for task in prange(tasks):
        begin = np.int64(task) * share.sums
        _weight_share(np.int64(task), x, dy, sums[begin:begin + share.sums], p, share, taps, scratch[get_thread_id()])
    for part in prange(tasks // share.splits):
        _finish_share(np.int64(part), tasks // share.splits, sums, p, share, len(taps), dw)


@jit
def place(task, p, share):
    """(first filter, how many; first channel, how many; group, split) of a task."""
    across, down = (p.filters + share.filters - 1) // share.filters, (p.depth + share.channels - 1) // share.channels
    k, c = task % across * share.filters, task // across % down * share.channels
    return k, min(share.filters, p.filters - k), c, min(share.channels, p.depth - c), task // (across * down) % p.groups, task // (across * down * p.groups)


@jit
def _weight_share(task, x, dy, sums, p, share, taps, mine):
    """The weights of some filters for some channels of one group, summed over a share of the images."""
    k, filters, c, channels, g, split = place(task, p, share)
    looks = np.empty(len(taps) * channels, np.int64)
    list_looks(taps[:, 0], channels, share, looks)
    inside = np.empty((len(looks), 4), np.int64)
    list_inside(taps, channels, inside)
    copied, packed = mine[:share.copied], mine[share.copied:]
    sums[:] = 0
    bands = (p.rows + p.block_rows - 1) // p.block_rows
    count = (p.images + p.block_images - 1) // p.block_images * bands
    end = (split + 1) * count // share.splits
    for block in range(split * count // share.splits, end):
        image, row = block // bands * p.block_images, block % bands * p.block_rows
        images, rows = min(p.block_images, p.images - image), min(p.block_rows, p.rows - row)
        copy_slices(x, image, images, row, rows, g * p.depth + c, channels, p, share, copied)
        pixels = images * rows * p.columns
        y0 = (image * p.rows + row) * p.columns * p.pixel + g * p.filters + k
        read = np.empty((images, rows), np.int64)
        list_rows(p, share.slice, read)
        step = p.stride_across * share.slice
        soon = y0 + pixels * p.pixel if block + 1 < end else y0  # most often the next block's
        if share.packed:
            pack_rows(pixels, filters, dy, y0, p.pixel, packed, 0)
            _add_block(copied, read, row, p.columns, step, inside, packed, 0, pixels, 0, looks, sums, filters, dy, soon, p.pixel)
        else:
            _add_block(copied, read, row, p.columns, step, inside, dy, y0, 1, p.pixel, looks, sums, filters, dy, soon, p.pixel)


@jit
def list_looks(taps, channels, share, looks):
    """How far behind the beginning of a window in the copy weight i of a filter looks, i = tap * channels + channel."""
    i = 0
    for tap in taps:
        for c in range(channels):
            looks[i] = tap + c // share.slice * share.area * share.slice + c % share.slice
            i += 1


@jit
def list_inside(taps, channels, inside):
    """For the tile that begins with weight i: the rows (first, end) and columns of results between which any of its taps looks into the image."""
    for i in range(len(inside)):
        tap = i // channels
        inside[i] = taps[tap, 1:]
        for other in range(tap + 1, min(i + ROWS - 1, len(inside) - 1) // channels + 1):
            for axis in (0, 2):
                inside[i, axis] = min(inside[i, axis], taps[other, axis + 1])
                inside[i, axis + 1] = max(inside[i, axis + 1], taps[other, axis + 2])


@jit
def list_rows(p, width, read):
    """Where in a slice of the copy the window of each row's first pixel begins."""
    for i in range(read.shape[0]):
        for r in range(read.shape[1]):
            read[i, r] = (i * p.copied_H + r * p.stride_down) * p.copied_W * width


@jit
def copy_slices(x, image, images, row, rows, first_channel, channels, p, share, mine):
    """What the windows of a block cover, slice by slice of some channels, with zeros where that is outside the image."""
    top = row * p.stride_down + p.low_down
    covered = (rows - 1) * p.stride_down + p.copied_H - (p.block_rows - 1) * p.stride_down  # rows, of a block that may have fewer
    first, end = max(0, -p.low_across), min(p.copied_W, p.W - p.low_across)
    for i in range(images):
        if 0 <= top and top + covered <= p.H and p.low_across == 0 and p.copied_W == p.W:  # nothing sticks out: one long row of pixels
            _copy_row(x, ((image + i) * p.H + top) * p.W * p.C + first_channel, channels, 0, covered * p.W, covered * p.W, i * p.copied_H * p.copied_W, p, share, mine)
        else:
            for h in range(covered):
                inside = 0 <= top + h < p.H and first < end
                pixel = (((image + i) * p.H + top + h) * p.W + p.low_across) * p.C + first_channel
                _copy_row(x, pixel, channels, first if inside else 0, end if inside else 0, p.copied_W, (i * p.copied_H + h) * p.copied_W, p, share, mine)


@jit
def _copy_row(x, x0, channels, first, end, length, at, p, share, mine):
    """Pixels first to end of a row of `length`, the others zero, to pixel `at` of each slice."""
    width, L = share.slice, lanes(x)
    for c in range(0, channels, width):
        some, to = min(width, channels - c), (c // width * share.area + at) * width
        clear(mine, to, first * width)
        if some == p.C:  # whole pixels lie in a row
            copy(x, x0 + first * some, mine, to + first * some, (end - first) * some)
        elif some % L == 0:
            for w in range(first, end):
                for v in range(0, some, L):
                    store(mine, to + w * width + v, load(x, x0 + w * p.C + c + v))
        else:
            for w in range(first, end):
                copy(x, x0 + w * p.C + c, mine, to + w * width, some)
        clear(mine, to + end * width, (length - end) * width)


@jit
def _add_block(x, read, above, columns, step, inside, y, y0, apart, row, looks, sums, filters, dy, soon, pixel):
    """sums[i, k] += the products of all pixels: panel by panel of filters, tile by tile of weights.

    Filter k of the block's rows of dy is at y[y0 + apart * k], from row to row it is `row` elements further, or (row = 0) as many as a panel has.
    above: the rows of results above the block's. soon: where the next block's rows of dy are, `pixel` apart.
    """
    for k in range(0, filters, panel_width(x)):
        width = whole_vectors(min(panel_width(x), filters - k), x)
        y1, y_step, s0 = y0 + apart * k, row or width, len(looks) * k
        if width > lanes(x):
            _add_panel(zero_tile(x, ROWS, VECTORS), zero_tile(x, LOW, VECTORS), x, read, above, columns, step, inside, y, y1, y_step, width, looks, sums, s0, dy,
                       soon + k, pixel)
        else:
            _add_panel(zero_tile(x, ROWS, 1), zero_tile(x, LOW, 1), x, read, above, columns, step, inside, y, y1, y_step, width, looks, sums, s0, dy, soon + k,
                       pixel)


@jit
def _add_panel(high, low, x, read, above, columns, step, inside, y, y0, row, width, looks, sums, s0, dy, soon, pixel):
    """The products of a panel, by high tiles and, where few weights are left, low ones.

    The first tile asks for the first vector of the next block's rows, the second for the second one. The others ask for one line again and again, which costs nothing.
    (Shared out among all tiles it was no faster.)
    """
    i, vector = 0, 0  # vector: the column that this tile asks for
    while i < len(looks):
        ask, further = (soon + vector, pixel) if vector < width else (soon, 0)
        if len(looks) - i <= LEFT:
            _add_tile(low, i, x, read, above, columns, step, inside, y, y0, row, width, looks, sums, s0, dy, ask, further)
            i += LOW
        else:
            _add_tile(high, i, x, read, above, columns, step, inside, y, y0, row, width, looks, sums, s0, dy, ask, further)
            i += ROWS
        vector += lanes(x)


@jit
def _add_tile(tile, i, x, read, above, columns, step, inside, y, y0, row, width, looks, sums, s0, dy, ask, further):
    """The products of the weights from i on: in the rows and columns where any of their taps looks into the image, pixels that are `step` elements apart. With each it
    asks for a line of dy. (With a list of all pixels a Zen 4 core does 93 GFLOP/s instead of 107: LLVM then fetches two steps at once, for which there are not registers
    enough.)"""
    places, rows = places_of(tile, looks, i, len(looks) - 1), rows_of(tile, i, len(looks) - 1, width)
    top, bottom, left, right = max(0, inside[i, 0] - above), min(read.shape[1], inside[i, 1] - above), inside[i, 2], inside[i, 3]
    for image in range(read.shape[0]):
        for r in range(top, bottom):
            first, pixel = read[image, r] + left * step, (image * read.shape[1] + r) * columns + left
            at, asked = y0 + pixel * row, ask + pixel * further
            for _ in range(left, right):
                tile = add_outer_at(tile, x, places, first, y, at)
                prefetch_far(dy, asked)
                first += step
                at += row
                asked += further
    store_tile_at(add_stored_at(tile, sums, rows, s0, width), sums, rows, s0, width)


@jit
def _finish_share(part, parts, sums, p, share, taps, dw):
    """Add up the splits, and turn panels of (weight, filter), weight = tap * channels + channel, into filters (K, C, R, S): a vector of filters and one of channels at a
    time, with all their taps, so that they are written in a row. (Tap by tap, numbers R*S apart, 512 x 512 filters of 3x3 took 4.6 ms in place of 1.7.)"""
    k, filters, c, channels, g, _ = place(part, p, share)
    W, L, count = panel_width(sums), lanes(sums), taps * channels
    turned, together = np.empty(L * L, sums.dtype), np.empty(L * L * taps, sums.dtype)
    for panel in range(0, filters, W):
        width = whole_vectors(min(W, filters - panel), sums)
        for f in range(panel, min(filters, panel + width), L):
            for first in range(0, channels, L):
                some = min(L, channels - first)
                for tap in range(taps):
                    at = part * share.sums + panel * count + (tap * channels + first) * width + f - panel
                    _add_splits(sums, at, width, some, share.splits, parts * share.sums, turned)
                    for lane in range(L):
                        for j in range(some):
                            together[(lane * some + j) * taps + tap] = turned[lane * L + j]
                for lane in range(min(L, filters - f)):
                    copy(together, lane * some * taps, dw, ((g * p.filters + k + f + lane) * p.depth + c + first) * taps, some * taps)


@jit
def _add_splits(sums, at, width, rows, splits, apart, turned):
    """turned[lane, j] = the sum over the splits of lane `lane` of row j, for j < rows."""
    L = lanes(sums)
    for j in range(rows):
        value = load(sums, at + j * width)
        for split in range(1, splits):
            value = add(value, load(sums, at + split * apart + j * width))
        store(turned, j * L, value)
    store_tile(transpose(load_square(turned, 0, L)), turned, 0, L, L)
