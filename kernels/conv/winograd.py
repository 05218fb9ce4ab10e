"""Winograd convolution (winograd_forms.py has the formulas), on channels-last memory: 3x3 and 5x5 filters of stride 1.

**Three steps.** With n*n places in a tile (36 for F(4x4, 3x3)), C channels, K filters, and the image cut into T overlapping tiles,

    V[i] (T, C)  =  B^T D B      each tile, each channel: a channel is a lane, so the transform is plain vector arithmetic
    M[i] (T, K)  =  V[i] @ U[i]      n*n matrix products; U = G W G^T, packed, was made once
    Y            =  A^T M A      and bias, residual, ReLU, while it is at hand

**Caches** decide how it is scheduled. Each thread takes a *block* of tiles, a few dozen, through all three steps: V of all channels, then M and Y for 64 filters at a
time. V and such a piece of M stay in the second-level cache, and U passes by from the last one, or stays too if it is small. It pays if a block has 24 tiles or
more: with fewer, U would have to come faster than it can. So if C is 512 or tiles are scarce, a chunk of all tiles goes through the steps in *phases* instead:
everything is transformed, then multiplied, each thread holding a part of one U[i] at a time, then transformed back, by way of the last cache.

A tile's row of V holds its n*n places one after the other, so that the transform writes to one stretch of memory; the products do not care how far apart their rows are.
Writing is most of a transform's time: 36 vectors in 75 ns, 37 ns of which arithmetic, and into the second-level cache a core writes no more than 44 GB/s.

**Sheets.** 14 results are 3.5 tiles of 4: a quarter of the 16 x 16 that four by four tiles compute is thrown away. So the images of a batch are put together, say
four by four, as one of 59 x 59 with a row and column of zeros between neighbours, which is padding for both: 15 x 15 tiles, 225 instead of 256. Where a tile reaches
into the next image, it is gathered and scattered pixel by pixel, as at any border.

**Threads** share out blocks of tiles, or in the second phase the places; each result is computed by one thread, in one order.

**Napkin**, F(4x4, 3x3): 2*N*K*C*P*Q * 36/16 FLOPs instead of *9, a quarter. 64 channels, 224x224, batch 16: 59 GFLOP become 15, 42 ms on two cores (350 GFLOP/s), but
x and y are 205 MB each, 20 ms at 23 GB/s: memory is near.
Measured (batch 16, making U included; two cores of an Intel Xeon, Sapphire Rapids, AVX-512; in brackets what the products alone would take at peak): 64 channels
224x224 76 ms (42), 128 channels 112x112 68 ms (42), 256 channels 56x56 64 ms (42), 512 channels 28x28 65 ms (42), 64 channels 56x56 5.1 ms (2.6). The products run
at 140 to 165 of 175 GFLOP/s; the rest is transforms, which write V and M to the second-level or the last cache, and memory.
"""
from functools import lru_cache
from math import inf

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
from .winograd_forms import F2x3, F2x5, F4x3
from .winograd_transform import constant_of, transform, transform_past_cache
from .workspace import aligned, workspace

NAME = "winograd"
POOLS = True  # tiles of results are even, so that none of 2 x 2 results lies in two of them
RATE = 130e9  # FLOP/s of one core
MOVE = 0.16e-9  # seconds for an element of V or M: computed, written, read
READ, FETCH = 0.3e-9, 0.5e-9  # seconds for an element of U, from the last cache, or from memory
NEAR = 4 << 20  # elements of U that the last cache may hold
BLOCK = 400 << 10  # elements of a block's V and M: most of the second-level cache
KEPT = 150 << 10  # elements of U that stay in the second-level cache beside a block
FEWEST, MOST = 24, 56  # tiles of a block: at least, if U does not stay; at most
BEGIN = 2  # tiles that take as long as to begin a block
MANY = 4 * FEWEST  # tiles in all, at least, if U does not stay
PADDED = 1.1  # of them, rows that are computed, at most, if U does not stay
LONGEST, FEWER = 8, 0.95  # images in a row of a sheet, at most; and tiles of sheets, of those without, at most
CHUNK = 10 << 20  # elements of a chunk's V and M
PIECES = 32  # of a chunk, for threads to share out
AHEAD = 4  # channels that weights are asked for ahead
SHARE = 64  # filters that are multiplied at once
TOGETHER = 2 * SHARE  # filters of a task in phases


def cost(form, n, geometry, dtype):
    """Of the better form: products, transforms, and reading U."""
    if form == "weight_grad" and 36 * n.C * n.K // n.G ** 2 > 9 << 20:
        return inf  # dU would need more scratch memory than there may be
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
    return products + places * tiles * sum(lanes_of) * MOVE + weights + 60e-6


def choose(form, n, geometry):
    """The cheapest form."""
    return min(candidates(n, geometry), key=lambda choice: _cost(choice, form, n, geometry))


def scratch(form, n, geometry):
    """V and M of every thread's block, or of a chunk."""
    if form == "weight_grad":
        from . import winograd_weights
        return winograd_weights.scratch(n, geometry)
    tiling = forward_tiling(n, geometry) if form == "forward" else gradient_tiling(n, geometry)
    block, elements = tiles_at_once(tiling, numba.get_num_threads())
    return elements * (numba.get_num_threads() if block else 1)


# ------------------------------------------------------------------------------------------------------------------ the three forms


def pack(w, x_shape, geometry):
    """U = G W G^T of each group."""
    n = sizes(x_shape, w.shape, geometry)
    return transform_filters(w, geometry.groups, forward_tiling(n, geometry), turned=False)


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
    convolution(transform_filters(w, n.G, tiling, turned=True), flat(dx), 0, tiling, n.G)(source(dy), add)
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


@lru_cache(maxsize=1024, typed=True)  # as tuples, tilings of two forms may be equal
def tiles_at_once(tiling, threads):
    """(tiles of a thread's block, elements of its scratch), or (0, elements of all) if the tiles go through the steps in phases."""
    each, u = elements_of_tile(tiling, SHARE), tiling.SIZE ** 2 * tiling.C * tiling.K

    def blocks(block):
        """The blocks of the thread that has most."""
        return parts(parts(tiling.tiles, block), threads)
    possible = range(8, max(8, min(MOST, BLOCK // each)) + 1, 8)
    block = min(possible, key=lambda block: blocks(block) * (block + BEGIN))
    if (block >= FEWEST and tiling.tiles >= MANY and threads * blocks(block) * block <= PADDED * tiling.tiles) or (u <= KEPT and each * block <= BLOCK):
        return block, each * block + border(tiling)
    each = elements_of_tile(tiling, tiling.K)
    return 0, each * chunk_of(tiling, each) + border(tiling)


def elements_of_tile(tiling, filters):
    """Of V and M, and a line more each, lest tiles be a power of two apart and compete for the same places in the cache."""
    return tiling.SIZE ** 2 * (whole(tiling.C) + whole(filters)) + 2 * LINE


def chunk_of(tiling, each):
    """Tiles of a chunk: about equal chunks."""
    u = tiling.SIZE ** 2 * tiling.C * tiling.K
    most = max(64, min(CHUNK, u) // each)  # as large as U: much smaller, and reading U for each chunk costs more than V and M gain by staying in the cache
    return parts(parts(tiling.tiles, max(1, parts(tiling.tiles, most))), 8) * 8 if tiling.tiles else 8


def border(tiling):
    """Elements for a tile at the border."""
    return tiling.SIZE ** 2 * whole(tiling.C)


LINE = 16  # elements of a cache line


def whole(channels):
    """Rounded up to the widest vector."""
    return parts(channels, 16) * 16


# ------------------------------------------------------------------------------------------------------------------ the filters


def transform_filters(w, groups, tiling, turned):
    """U of each group from w (K, C/G, R, S), in the order in which it is read: 64 filters after the other, in each place by place, in these panels of (C, 32).

    Between places a cache line is left out, lest the places of a channel, which are written together, compete for the same lines of the cache.
    turned: for the input gradient, upside down and with channels as filters.

    U is four times as large as w. Memory is the bound, and to write through the cache is to read U as well: past it, if vectors are whole cache lines, 512 x 512 filters
    take 2.2 ms in place of 3.4, 256 x 256 0.5 to 0.7 in place of 0.9 (two Zen 4 cores, weights from memory; 1.6 and 0.4 by bytes at 30 GB/s). In a step of GoogLeNet's
    training all transforms together took 10 ms in place of 15, and the products that follow no longer.
    """
    w = contiguous(w)
    Kg, Cg, taps = w.shape[0] // groups, w.shape[1], w.shape[2] ** 2
    outer, inner = ((Kg, Cg * taps), (Cg, taps)) if not turned else ((Cg, taps), (Kg, Cg * taps))
    u = aligned(groups * tiling.SIZE ** 2 * (inner[0] * whole(outer[0]) + parts(outer[0], SHARE) * LINE), w.dtype)
    past = past_cache(u) and lanes_of(w.dtype) * w.itemsize == LINE_BYTES
    _transform_filters(tiling, w.reshape(-1), groups, Kg * Cg * taps, inner, outer, turned, past, u.size // groups, u)
    return u


@jit
def place_of(form, i, k, width, C):
    """Where in a group's U the filters from k on, `width` of them, begin at place i."""
    return constant_of(form, "SIZE") ** 2 * (k * C + k // SHARE * LINE) + i * (width * C + LINE)


@jit(parallel=True)
def _transform_filters(form, w, groups, group, inner, outer, turned, past, share, u):
    L = lanes(w)
    vectors = (outer[0] + L - 1) // L
    for task in prange(groups * vectors):
        g, first = np.int64(task // vectors), np.int64(task % vectors) * L
        _transform_some(form, w, g * group, first, inner, outer, turned, past, u, g * share)


@jit
def _transform_some(form, w, w0, first, inner, outer, turned, past, u, u0):
    """The filters first, first + 1, ... that make a vector, for every channel."""
    L, W = lanes(w), panel_width(w)
    R = constant_of(form, "TAPS")
    taps, n = R * R, constant_of(form, "SIZE")
    share, panel = first - first % SHARE, first - first % W
    width = whole_vectors(min(W, outer[0] - panel), w)
    together = whole_vectors(min(SHARE, outer[0] - share), w)
    start, plane = u0 + place_of(form, 0, share, together, inner[0]), together * inner[0] + LINE
    square = np.empty((taps + L - 1) // L * L * L, w.dtype)
    corner, down, across = (taps * L - L, -R * L, -L) if turned else (0, R * L, L)
    for i in range(inner[0]):
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
    dtype, (block, elements) = u.dtype, tiles_at_once(tiling, numba.get_num_threads())
    nothing = np.zeros(0, dtype)
    bias = nothing if bias is None else contiguous(bias)
    past = start == 0 and not in_place and past_cache(out, tiling.target_pixel) and tiling.K % LINE == 0
    chunk, own, shared = (0, elements, 0) if block else (chunk_of(tiling, elements_of_tile(tiling, tiling.K)), border(tiling), elements)
    filters = u.reshape(groups, -1)

    def run(x, add=None):
        add = nothing if add is None else source(add)
        with workspace(own, dtype, shared) as (rows, all_tiles):
            for g in range(groups):
                k = g * tiling.K
                arguments = (tiling, x, g * tiling.C, filters[g], bias, k, add, tiling.K * groups, relu, pool, past, out, start + k)
                if block:
                    _in_blocks(*arguments, block, rows)
                else:
                    _in_phases(*arguments, chunk, all_tiles, rows)
    return run


@jit(parallel=True)
def _in_blocks(form, x, x0, u, bias, k0, residual, residual_pixel, relu, pool, past, y, y0, block, scratch):
    """Each block of tiles through all three steps, by one thread."""
    tiles, places = tiles_of(form), constant_of(form, "SIZE") ** 2
    for number in prange((tiles + block - 1) // block):
        mine = scratch[get_thread_id()]
        first = np.int64(number) * block
        end = min(tiles, first + block)
        C, K = whole_vectors(form.C, x), whole_vectors(min(SHARE, form.K), x)
        v_row, m_row = places * C + 16, places * K + 16
        edge, v, m = mine[:places * C], mine[places * C:places * C + block * v_row], mine[places * C + block * v_row:]
        input_tiles(form, first, end, x, x0, edge, v, 0, v_row, C)
        for k in range(0, form.K, SHARE):
            some = min(SHARE, form.K - k)
            width = whole_vectors(some, x)
            for i in range(places):
                here, following = place_of(form, i, k, width, form.C), place_of(form, i + 1, k, width, form.C)
                multiply_panels(end - first, some, form.C, v, i * C, v_row, 1, k == 0, u, here, following, m, i * width, m_row, False)
            output_tiles(form, first, end, k, k + some, m, 0, m_row, width, edge, bias, k0, residual, residual_pixel, relu, pool, past, y, y0)


@jit(parallel=True)
def _in_phases(form, x, x0, u, bias, k0, residual, residual_pixel, relu, pool, past, y, y0, chunk, shared, scratch):
    """Chunk by chunk, all threads together: transform, multiply, transform back."""
    tiles, places = tiles_of(form), constant_of(form, "SIZE") ** 2
    C, K = whole_vectors(form.C, x), whole_vectors(form.K, x)
    v_row, m_row = places * C + 16, places * K + 16
    v, m = shared[:chunk * v_row], shared[chunk * v_row:]
    for first in range(0, tiles, chunk):
        count = min(chunk, tiles - first)
        pieces = min(count, PIECES)
        for piece in prange(pieces):
            begin, end = count * np.int64(piece) // pieces, count * (np.int64(piece) + 1) // pieces
            input_tiles(form, first + begin, first + end, x, x0, scratch[get_thread_id()], v, begin * v_row, v_row, C)
        cuts = (form.K + TOGETHER - 1) // TOGETHER
        for task in prange(places * cuts):
            i, first_k = np.int64(task) // cuts, np.int64(task) % cuts * TOGETHER
            for k in range(first_k, min(form.K, first_k + TOGETHER), SHARE):
                some = min(SHARE, form.K - k)
                here = place_of(form, i, k, whole_vectors(some, x), form.C)
                following = place_of(form, i, k + SHARE, whole_vectors(min(SHARE, max(0, form.K - k - SHARE)), x), form.C)
                multiply_panels(count, some, form.C, v, i * C, v_row, 1, k == first_k, u, here, following, m, i * K + k, m_row, False)
        for piece in prange(pieces):
            begin, end = count * np.int64(piece) // pieces, count * (np.int64(piece) + 1) // pieces
            square = scratch[get_thread_id()]
            output_tiles(form, first + begin, first + end, 0, form.K, m, begin * m_row, m_row, K, square, bias, k0, residual, residual_pixel, relu, pool, past, y, y0)


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
def input_tiles(form, first, end, x, x0, edge, v, v0, row, plane):
    """V of the tiles from `first` to `end`: place i of tile t, channel c, at v[v0 + (t - first)*row + i*plane + c]."""
    n, m, L = constant_of(form, "SIZE"), constant_of(form, "OUTPUTS"), lanes(x)
    C = whole_vectors(form.C, x)
    for t in range(first, end):
        image, p, q, below, beside = place_on_sheet(form, t, m)
        top, left, pixel = p - form.top, q - form.left, form.source_pixel
        into = v0 + (t - first) * row
        if top >= 0 and left >= 0 and top + n <= form.H and left + n <= form.W and image < form.images and form.C % L == 0:
            at = x0 + ((image * form.H + top) * form.W + left) * pixel
            for c in range(0, form.C, L):
                for i in range(n):
                    for j in range(n, n + m):
                        prefetch(x, at + (i * form.W + j) * pixel + c)  # what the next tile will read besides
                transform(form, "input", x, at + c, form.W * pixel, pixel, v, into + c, n * plane, plane)
        else:
            copy_square(form, x, x0, pixel, form.C, image, top, left, form.H, form.W, below, beside, n, edge, C)
            for c in range(0, form.C, L):
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
