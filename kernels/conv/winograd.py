"""Winograd convolution (winograd_forms.py has the formulas), on channels-last memory: 3x3 and 5x5 filters of stride 1.

**Three steps.** With n*n places in a tile (36 for F(4x4, 3x3)), C channels, K filters, and the image cut into T overlapping tiles,

    V[i] (T, C)  =  B^T D B      each tile, each channel: a channel is a lane, so the transform is plain vector arithmetic
    M[i] (T, K)  =  V[i] @ U[i]      n*n matrix products; U = G W G^T, packed, was made once
    Y            =  A^T M A      and bias, residual, ReLU, while it is at hand

**Caches** decide how it is scheduled. A task takes a *block* of tiles, some dozens, through all three steps, by one thread: V of all channels, then M and Y for 64
filters at a time. Such a piece of M stays in the second-level cache, V there or in the last one, and U passes by. It is read once for every block, so blocks are large.
Where tiles are few the filters are divided, too, and each thread computes V for itself. That takes hardly more time than to fetch the half of it that another core has
just written, and much less where two cores have no last cache in common (docs/benchmarks.md).

A tile's row of V holds its n*n places one after the other, so that the transform writes to one stretch of memory; the products do not care how far apart their rows are.
Writing is most of a transform's time: 36 vectors in 75 ns, 37 ns of which arithmetic, and into the second-level cache a core writes no more than 44 GB/s.

**Sheets.** 14 results are 3.5 tiles of 4: a quarter of the 16 x 16 that four by four tiles compute is thrown away. So the images of a batch are put together, say
four by four, as one of 59 x 59 with a row and column of zeros between neighbours, which is padding for both: 15 x 15 tiles, 225 instead of 256. Where a tile reaches
into the next image, it is gathered and scattered pixel by pixel, as at any border.

**Threads** share out blocks, or parts of the filters; each result is computed by one thread, in one order, however they are cut.

**Napkin**, F(4x4, 3x3): 2*N*K*C*P*Q * 36/16 FLOPs instead of *9, a quarter. 64 channels, 224x224, batch 16: 59 GFLOP become 15, 42 ms on two cores (350 GFLOP/s), but
x and y are 205 MB each, 20 ms at 23 GB/s: memory is near.
Measured (batch 16, making U included; two Zen 4 cores, 232 GFLOP/s; in brackets what the products alone would take at peak): 64 channels 224x224 107 ms (64), 128
channels 112x112 89 ms (64), 256 channels 56x56 86 ms (64), 512 channels 28x28 88 ms (64). The rest is transforms, which write V and M to the second-level or the last
cache, reading U, and memory.
"""
from functools import lru_cache
from math import inf
from typing import NamedTuple

import numba
import numpy as np
from numba import get_thread_id, prange

from ..matmul.block import panel_width, whole_vectors
from ..matmul.panels import multiply_panels
from ..memory import LINE as LINE_BYTES
from ..memory import empty_channels_last, flat, lanes_of, past_cache
from ..runtime import contiguous, jit
from ..simd.choose import stream, where_larger
from ..simd.vector import add, lanes, load, load_part, maximum, prefetch, store, store_part, zero
from .correlation import parts
from .epilogue import NOTHING
from .implicit import turn
from .outputs import source, target
from .sizes import sizes
from .tiles import SCRATCH
from .winograd_forms import F2x3, F2x5, F4x3
from .winograd_transform import constant_of, transform, transform_past_cache
from .workspace import aligned, workspace

NAME = "winograd"
POOLS = True  # tiles of results are even, so that none of 2 x 2 results lies in two of them
RATE = 130e9  # FLOP/s of one core
MOVE = 0.16e-9  # seconds for an element of V or M: computed, written, read
TILE = 80e-9  # to find a tile's place, and gather and scatter it where it lies at a border
READ, FETCH = 0.3e-9, 0.5e-9  # seconds for an element of U, from the last cache, or from memory
FOREIGN = 0.2e-9  # for one of x that may be another core's
NEAR = 4 << 20  # elements of U that the last cache may hold
NEARBY = 400 << 10  # elements of a block's V and M that stay in the second-level cache, most of them
MOST = 56  # tiles of a block
LARGEST = 9 << 20  # elements of dU, which is scratch memory
LONGEST, FEWER = 8, 0.95  # images in a row of a sheet, at most; and tiles of sheets, of those without, at most
AHEAD = 4  # channels that weights are asked for ahead
CHANNELS = 16  # of filters that are transformed at once
COPIED = 768 << 10  # elements of U that are computed more than once, at most
SHARE, PANEL = 64, 32  # filters that are multiplied at once, and in multiples of which they are divided


def cost(form, n, geometry, dtype):
    """Of the better form: products, transforms, and reading U."""
    if form == "weight_grad" and 36 * n.C * n.K // n.G ** 2 > LARGEST:
        return inf
    return min((_cost(choice, form, n, geometry) * (dtype.itemsize / 4) for choice in candidates(n, geometry)), default=inf)


def candidates(n, geometry):
    """The forms that can compute it."""
    if geometry.stride != (1, 1) or geometry.dilation != (1, 1) or n.R != n.S:
        return ()
    return {3: (F4x3, F2x3), 5: (F2x5,)}.get(n.R, ())


def _cost(choice, form, n, geometry):
    """Seconds on one core."""
    C, K = n.C // n.G, n.K // n.G
    sheet = (gradient_sheet if form == "input_grad" else forward_sheet)(choice, n, geometry)
    tiles = n.G * parts(n.N, sheet[0] * sheet[1]) * sheet[4] * sheet[5]
    places = choice.SIZE ** 2
    lanes_of = [-(-filters // 16) * 16 for filters in (C, K)]
    u = places * n.G * C * K
    weights = u * (READ if u <= NEAR else FETCH) * (2 if form == "weight_grad" else 1)
    products = 2 * places * parts(tiles, 8) * 8 * lanes_of[0] * lanes_of[1] / RATE
    return products + tiles * (places * sum(lanes_of) * MOVE + TILE) + weights + 60e-6


def choose(form, n, geometry):
    """The cheapest form."""
    return min(candidates(n, geometry), key=lambda choice: _cost(choice, form, n, geometry))


def scratch(form, n, geometry):
    """V and M of every thread's block."""
    if form == "weight_grad":
        from . import winograd_weights
        return winograd_weights.scratch(n, geometry)
    tiling, threads = forward_tiling(n, geometry) if form == "forward" else gradient_tiling(n, geometry), numba.get_num_threads()
    return scratch_of(tiling, cut_of(tiling, threads)) * threads


# ------------------------------------------------------------------------------------------------------------------ the three forms


def pack(w, x_shape, geometry, once=False):
    """U = G W G^T of each group. once: for one call of forward."""
    n = sizes(x_shape, w.shape, geometry)
    return transform_filters(w, geometry.groups, forward_tiling(n, geometry), turned=False, once=once)


def forward(x, packed, w_shape, bias, geometry, epilogue=NOTHING):
    """y (N, K, P, Q), channels-last, from x (N, C, H, W)."""
    return prepare(x.shape, packed, w_shape, bias, geometry, epilogue)(x, epilogue.add)


def prepare(x_shape, packed, w_shape, bias, geometry, epilogue=NOTHING, x_pixel=None):
    """The function of x, and of what is added, that forward is for images of this shape. x_pixel: elements from pixel to pixel of x, if there are gaps."""
    n = sizes(x_shape, w_shape, geometry)
    y, memory, start, y_pixel = target(epilogue.out, epilogue.shape(n), packed.dtype)
    tiling = forward_tiling(n, geometry, y_pixel, x_pixel, apart=epilogue.pool)
    run = convolution(packed, memory, start, tiling, n.G, bias, epilogue.relu, epilogue.pool, epilogue.in_place)

    def forward(x, add=None):
        run(source(x, x_pixel), add)
        return y
    return forward


def input_grad(dy, w, x_shape, geometry, add=None):
    """dx (N, C, H, W), channels-last, from dy (N, K, P, Q) and w, plus `add`: the convolution of dy with filters turned round, whose channels and filters change
    roles."""
    n = sizes(x_shape, w.shape, geometry)
    dx = empty_channels_last(x_shape, dy.dtype)
    tiling = gradient_tiling(n, geometry)
    convolution(transform_filters(w, n.G, tiling, turned=True, once=True), flat(dx), 0, tiling, n.G)(source(dy), add)
    return dx


def weight_grad(dy, x, w_shape, geometry):
    """dw (K, C/groups, R, S) from dy (N, K, P, Q) and x."""
    from . import winograd_weights
    return winograd_weights.weight_grad(dy, x, w_shape, geometry)


@lru_cache(maxsize=1024)
def forward_tiling(n, geometry, y_pixel=None, x_pixel=None, form="forward", apart=False):
    """The Tiling of one group's forward pass, from and into arrays whose pixels are so many elements apart. apart: each image on a sheet of its own."""
    choice = choose(form, n, geometry)
    sheet = forward_sheet(choice, n._replace(N=1) if apart else n, geometry)
    return choice(n.N, n.H, n.W, x_pixel or n.C, *geometry.padding, n.C // n.G, n.P, n.Q, y_pixel or n.K, n.K // n.G, *sheet)


@lru_cache(maxsize=1024)
def gradient_tiling(n, geometry):
    """The Tiling of one group's input gradient: source dy, target dx."""
    choice = choose("input_grad", n, geometry)
    top, left = (n.R - 1 - padding for padding in geometry.padding)
    return choice(n.N, n.P, n.Q, n.K, top, left, n.K // n.G, n.H, n.W, n.C, n.C // n.G, *gradient_sheet(choice, n, geometry))


def forward_sheet(choice, n, geometry):
    return sheet_of(n.N, (n.P, n.Q), (n.H, n.W), geometry.padding, choice.OUTPUTS)


def gradient_sheet(choice, n, geometry):
    return sheet_of(n.N, (n.H, n.W), (n.P, n.Q), tuple(n.R - 1 - padding for padding in geometry.padding), choice.OUTPUTS)


@lru_cache(maxsize=1024)
def sheet_of(N, results, source, padding, m):
    """How N images lie on sheets: (images down, across, rows from image to image, columns, tiles of a sheet down, across); several where that makes clearly fewer tiles.

    From one image to the next it is its source and its padding. A tile reaches into one neighbour at most, so images are as large as a tile.
    """
    pitch = tuple(max(length + before, count) for length, before, count in zip(source, padding, results))

    def sheet(*images):
        return *images, *pitch, *(parts((i - 1) * step + count, m) for i, step, count in zip(images, pitch, results))

    def tiles(one):
        return parts(N, one[0] * one[1]) * one[4] * one[5]
    fits = min(results) >= m and all(0 <= before and count <= length + before for length, before, count in zip(source, padding, results))
    longest = range(1, LONGEST + 1 if fits else 2)
    best = min((sheet(down, across) for down in longest for across in longest), key=tiles)
    return best if tiles(best) <= FEWER * tiles(sheet(1, 1)) else sheet(1, 1)


class Cut(NamedTuple):
    """How tiles and filters are shared out: every block of tiles meets every part of the filters."""

    blocks: int
    filters: int  # of a part


@lru_cache(maxsize=1024, typed=True)  # as tuples, tilings of two forms may be equal
def cut_of(tiling, threads):
    """The Cut that takes the least time."""
    each, places, eights = elements_of_tile(tiling), tiling.SIZE ** 2, parts(tiling.tiles, 8)
    most = max(1, min(MOST, SCRATCH // 4 // threads // each) // 8)  # groups of eight tiles, which the products take at once
    u = READ if places * tiling.C * tiling.K <= NEAR else FETCH

    def time(cut):
        """Of the thread that has most to do, in seconds: each part of U passes by while it is multiplied, and V is computed where a new block begins."""
        divided, tiles = parts(tiling.K, cut.filters), parts(eights, cut.blocks) * 8
        tasks = parts(cut.blocks * max(1, divided), threads)
        part = places * tiling.C * cut.filters
        source = tiling.OUTPUTS ** 2 * FOREIGN if divided > 1 else 0
        return tasks * part * max(2 * tiles / RATE, u / 2) + parts(tasks, max(1, divided)) * tiles * tiling.C * (places * MOVE / 2 + source)
    fewest = max(1, parts(eights, most))
    filters = sorted({max(1, parts(parts(tiling.K, PANEL), count)) * PANEL for count in range(1, threads + 1)}, reverse=True)
    return min((Cut(blocks, some) for some in filters for blocks in range(fewest, max(fewest, min(eights, fewest + 2 * threads)) + 1)), key=time)


def elements_of_tile(tiling):
    """Of V and a piece of M, and a line more each, lest tiles be a power of two apart and compete for the same places in the cache."""
    return tiling.SIZE ** 2 * (whole(tiling.C) + min(SHARE, whole(tiling.K))) + 2 * LINE


def scratch_of(tiling, cut):
    """Elements of a thread's V and M, and of a tile at the border."""
    return parts(parts(tiling.tiles, 8), max(1, cut.blocks)) * 8 * elements_of_tile(tiling) + tiling.SIZE ** 2 * whole(tiling.C)


LINE = 16  # elements of a cache line


def whole(channels):
    """Rounded up to the widest vector."""
    return parts(channels, 16) * 16


# ------------------------------------------------------------------------------------------------------------------ the filters


def transform_filters(w, groups, tiling, turned, once):
    """U (copies, G, ...) from w (K, C/G, R, S), each group in the order in which it is read: 64 filters after the other, in each place by place, in these panels (C, 32).

    Between places a cache line is left out, lest the places of a channel, which are written together, compete for the same lines of the cache.
    turned: for the input gradient, upside down and with channels as filters. once: U is used once. If it is small, every thread computes a copy for itself then: to fetch
    what another core has just written takes as long, and several times as long where two cores have no last cache in common (96 channels, 208 filters, 14x14: 0.8 of
    the input gradient's time there).

    U is four times as large as w. Memory is the bound, and to write through the cache is to read U as well: past it, if vectors are whole cache lines, 512 x 512 filters
    take 2.2 ms in place of 3.4, 256 x 256 0.5 to 0.7 in place of 0.9 (two Zen 4 cores, weights from memory; 1.6 and 0.4 by bytes at 30 GB/s). In a step of GoogLeNet's
    training all transforms together took 10 ms in place of 15, and the products that follow no longer.
    """
    w = contiguous(w)
    Kg, Cg, taps = w.shape[0] // groups, w.shape[1], w.shape[2] ** 2
    outer, inner = ((Kg, Cg * taps), (Cg, taps)) if not turned else ((Cg, taps), (Kg, Cg * taps))
    size, threads = groups * tiling.SIZE ** 2 * (inner[0] * whole(outer[0]) + parts(outer[0], SHARE) * LINE), numba.get_num_threads()
    copies = threads if once and (threads - 1) * size <= COPIED else 1
    u = aligned(copies * size, w.dtype)
    past = past_cache(u) and copies == 1 and lanes_of(w.dtype) * w.itemsize == LINE_BYTES
    _transform_filters(tiling, w.reshape(-1), copies, groups, Kg * Cg * taps, inner, outer, turned, past, size // groups, u)
    return u.reshape(copies, groups, size // groups)


@jit
def place_of(form, i, k, width, C):
    """Where in a group's U the filters from k on, `width` of them, begin at place i."""
    return constant_of(form, "SIZE") ** 2 * (k * C + k // SHARE * LINE) + i * (width * C + LINE)


@jit(parallel=True)
def _transform_filters(form, w, copies, groups, group, inner, outer, turned, past, share, u):
    L = lanes(w)
    vectors, some = (outer[0] + L - 1) // L, (inner[0] + CHANNELS - 1) // CHANNELS
    for task in prange(copies * groups * some * vectors):
        number, channel, first = np.int64(task) // (some * vectors), np.int64(task) // vectors % some * CHANNELS, np.int64(task) % vectors * L
        _transform_some(form, w, number % groups * group, channel, first, inner, outer, turned, past, u, number * share)


@jit
def _transform_some(form, w, w0, channel, first, inner, outer, turned, past, u, u0):
    """The filters first, first + 1, ... that make a vector, for some channels."""
    L, W = lanes(w), panel_width(w)
    R = constant_of(form, "TAPS")
    taps, n = R * R, constant_of(form, "SIZE")
    share, panel = first - first % SHARE, first - first % W
    width = whole_vectors(min(W, outer[0] - panel), w)
    together = whole_vectors(min(SHARE, outer[0] - share), w)
    start, plane = u0 + place_of(form, 0, share, together, inner[0]), together * inner[0] + LINE
    square = np.empty((taps + L - 1) // L * L * L, w.dtype)
    corner, down, across = (taps * L - L, -R * L, -L) if turned else (0, R * L, L)
    for i in range(channel, min(inner[0], channel + CHANNELS)):
        source = w0 + i * inner[1] + first * outer[1]
        for e in range(0, taps, L):
            turn(w, source + e, outer[1], min(L, outer[0] - first), min(L, taps - e), square[e * L:])
        into = start + (panel - share) * inner[0] + i * width + first - panel
        for row in range(L):
            prefetch(w, source + AHEAD * inner[1] + row * outer[1])
        if past:
            transform_past_cache(form, "filter", square, corner, down, across, u, into, n * plane, plane)
        else:
            for place in range(n * n):  # n*n stretches of memory at once are more than the machine foresees: asked for two channels ahead
                prefetch(u, into + place * plane + 2 * width)
            transform(form, "filter", square, corner, down, across, u, into, n * plane, plane)


# ------------------------------------------------------------------------------------------------------------------ the three steps


def convolution(u, out, start, tiling, groups, bias=None, relu=False, pool=False, in_place=False):
    """The function of a flat source that takes every group in turn: out[start + ...] = the convolution with transformed filters, and the epilogue."""
    cut = cut_of(tiling, numba.get_num_threads())
    dtype, elements = u.dtype, scratch_of(tiling, cut)
    nothing = np.zeros(0, dtype)
    bias = nothing if bias is None else contiguous(bias)
    past = start == 0 and not in_place and past_cache(out, tiling.target_pixel) and tiling.K % LINE == 0

    def run(x, add=None):
        add = nothing if add is None else source(add)
        with workspace(elements, dtype) as (rows, _):
            for g in range(groups):
                k = g * tiling.K
                _convolve(tiling, x, g * tiling.C, u, g, bias, k, add, tiling.K * groups, relu, pool, past, out, start + k, *cut, rows)
    return run


@jit(parallel=True)
def _convolve(form, x, x0, u, g, bias, k0, residual, residual_pixel, relu, pool, past, y, y0, blocks, filters, scratch):
    """Every block of tiles with every part of the filters, through all three steps; the parts of a block follow one another."""
    places, parts, eights = constant_of(form, "SIZE") ** 2, (form.K + filters - 1) // filters, (tiles_of(form) + 7) // 8
    transformed = np.full(len(scratch), -1)  # the block whose V each thread has
    for task in prange(blocks * parts):
        thread, block, begin = get_thread_id(), np.int64(task) // parts, np.int64(task) % parts * filters
        mine, behind = scratch[thread], min(form.K, begin + filters)
        first, end, most = eights * block // blocks * 8, min(tiles_of(form), eights * (block + 1) // blocks * 8), (eights + blocks - 1) // blocks * 8
        C, K = whole_vectors(form.C, x), whole_vectors(min(SHARE, form.K), x)
        v_row, m_row = places * C + LINE, places * K + LINE
        edge, v, m = mine[:places * C], mine[places * C:places * C + most * v_row], mine[places * C + most * v_row:]
        own = u[thread % len(u), g]
        if transformed[thread] != block:
            input_tiles(form, first, end, 0, form.C, x, x0, edge, v, 0, v_row, C)
            transformed[thread] = block
        k = begin
        while k < behind:
            share = k - k % SHARE
            some, together = min(SHARE - k % SHARE, behind - k), whole_vectors(min(SHARE, form.K - share), x)
            width, far = whole_vectors(some, x), k == begin or most * (v_row + m_row) > NEARBY
            for i in range(places):
                here = place_of(form, i, share, together, form.C) + (k - share) * form.C
                following = place_of(form, i + 1, share, together, form.C) + (k - share) * form.C
                multiply_panels(end - first, some, form.C, v, i * C, v_row, 1, far, own, here, following, m, i * width, m_row, False)
            output_tiles(form, first, end, k, k + some, m, 0, m_row, width, edge, bias, k0, residual, residual_pixel, relu, pool, past, y, y0)
            k += some


@jit
def tiles_of(form):
    on_sheet = form.sheet_down * form.sheet_across
    return (form.images + on_sheet - 1) // on_sheet * form.down * form.across


@jit
def place_on_sheet(form, t, m):
    """Where the results of tile t begin: (image, row, column; whether there are more images below, and beside)."""
    sheet, row, column = t // (form.down * form.across), t // form.across % form.down * m, t % form.across * m
    i, j = row // form.pitch_down, column // form.pitch_across
    image = (sheet * form.sheet_down + i) * form.sheet_across + j
    return image, row - i * form.pitch_down, column - j * form.pitch_across, i + 1 < form.sheet_down, j + 1 < form.sheet_across


@jit
def on_axis(i, length, pitch, more):
    """What row (or column) i of a sheet is, counted from an image's first: (which row of its image; 1 if that is the next image, else 0; whether there is one)."""
    if i < pitch:
        return i, 0, 0 <= i < length
    return i - pitch, 1, more and i - pitch < length


@jit
def input_tiles(form, first, end, some, behind, x, x0, edge, v, v0, row, plane):
    """V of the tiles from `first` to `end`, channels from `some` to `behind`: place i of tile t, channel c, at v[v0 + (t - first)*row + i*plane + c - some]."""
    n, m, L = constant_of(form, "SIZE"), constant_of(form, "OUTPUTS"), lanes(x)
    channels = behind - some
    C = whole_vectors(channels, x)
    for t in range(first, end):
        image, p, q, below, beside = place_on_sheet(form, t, m)
        top, left, pixel = p - form.top, q - form.left, form.source_pixel
        into = v0 + (t - first) * row
        if top >= 0 and left >= 0 and top + n <= form.H and left + n <= form.W and image < form.images and channels % L == 0:
            at = x0 + some + ((image * form.H + top) * form.W + left) * pixel
            for c in range(0, channels, L):
                for i in range(n):
                    for j in range(n, n + m):
                        prefetch(x, at + (i * form.W + j) * pixel + c)  # what the next tile will read besides
                transform(form, "input", x, at + c, form.W * pixel, pixel, v, into + c, n * plane, plane)
        else:
            copy_square(form, x, x0 + some, pixel, channels, image, top, left, form.H, form.W, below, beside, n, edge, C)
            for c in range(0, channels, L):
                transform(form, "input", edge, c, n * C, C, v, into + c, n * plane, plane)


@jit
def copy_square(form, x, x0, pixel, C, image, top, left, H, W, below, beside, n, edge, row):
    """n x n pixels of a sheet, from row `top` and column `left` of an image of H x W pixels on, with zeros where there is no image."""
    L = lanes(x)
    for i in range(n):
        h, down, there = on_axis(top + i, H, form.pitch_down, below)
        for j in range(n):
            w, across, inside = on_axis(left + j, W, form.pitch_across, beside)
            which = image + down * form.sheet_across + across
            inside = inside and there and which < form.images
            at = x0 + ((which * H + h) * W + w) * pixel
            for c in range(0, C, L):
                value = load_part(x, at + c, min(L, C - c)) if inside else zero(x)
                store(edge, (i * n + j) * row + c, value)


@jit
def list_results(form, t, m, halved, listed):
    """How many of the results of tile t there are; listed[number]: (which of the m x m, which pixel of the target). halved: 1 if each 2 x 2 become one, else 0; an odd
    row or column is left out then."""
    P, Q, step, count = form.P >> halved, form.Q >> halved, 1 << halved, 0
    image, top, left, below, beside = place_on_sheet(form, t, m)
    for i in range(0, m, step):
        p, down, there = on_axis(top + i, P * step, form.pitch_down, below)
        for j in range(0, m, step):
            q, across, inside = on_axis(left + j, Q * step, form.pitch_across, beside)
            which = image + down * form.sheet_across + across
            if there and inside and which < form.images:
                listed[count, 0], listed[count, 1] = i * m + j, (which * P + (p >> halved)) * Q + (q >> halved)
                count += 1
    return count


@jit
def output_tiles(form, first, end, some, behind, products, m0, row, plane, square, bias, k0, residual, residual_pixel, relu, pool, past, y, y0):
    """Y of the tiles from `first` to `end`, filters from `some` to `behind`, and the epilogue. M: place i of tile t, filter k, is at
    products[m0 + (t - first)*row + i*plane + k - some]."""
    n, m, L = constant_of(form, "SIZE"), constant_of(form, "OUTPUTS"), lanes(y)
    listed = np.empty((m * m, 2), np.int64)
    for t in range(first, end):
        results = list_results(form, t, m, 1 if pool else 0, listed)
        for k in range(some, behind, L):
            transform(form, "output", products, m0 + (t - first) * row + k - some, n * plane, plane, square, 0, m * L, L)
            count = min(L, form.K - k)
            shift = load_part(bias, k0 + k, count) if bias.size else zero(y)
            for number in range(results):
                place, pixel = listed[number, 0], listed[number, 1]
                value = load(square, place * L)
                if pool:
                    for other in (place + 1, place + m, place + m + 1):
                        new = load(square, other * L)
                        value = where_larger(new, value, new, value)
                value = add(value, shift)
                if residual.size:
                    value = add(value, load_part(residual, pixel * residual_pixel + k0 + k, count))
                if relu:
                    value = maximum(zero(y), value)  # in this order NaN stays NaN
                if past:
                    stream(y, y0 + pixel * form.target_pixel + k, value)
                elif count == L:
                    store(y, y0 + pixel * form.target_pixel + k, value)
                else:
                    store_part(y, y0 + pixel * form.target_pixel + k, count, value)
