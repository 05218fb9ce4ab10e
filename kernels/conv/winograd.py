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
from ..memory import empty_channels_last, flat, past_cache
from ..runtime import contiguous, jit
from ..simd.choose import stream, where_larger
from ..simd.vector import add, lanes, load, load_part, maximum, prefetch, store, store_part, zero
from .correlation import parts
from .epilogue import NOTHING
from .implicit import turn
from .outputs import source, target
from .sizes import sizes
from .winograd_forms import F2x3, F2x5, F4x3
from .winograd_transform import constant_of, transform
from .workspace import aligned, workspace

NAME = "winograd"
POOLS = True  # tiles of results are even, so that none of 2 x 2 results lies in two of them
RATE = 130e9  # FLOP/s of one core
MOVE = 0.12e-9  # seconds for an element of V or M: computed, written, read
READ, FETCH = 0.3e-9, 0.5e-9  # seconds for an element of U, from the last cache, or from memory
NEAR = 4 << 20  # elements of U that the last cache may hold
BLOCK = 400 << 10  # elements of a block's V and M: most of the second-level cache
KEPT = 150 << 10  # elements of U that stay in the second-level cache beside a block
FEWEST, MOST = 24, 56  # tiles of a block: at least, if U does not stay; at most
MANY = 4 * FEWEST  # tiles in all, at least, if U does not stay
PADDED = 1.1  # of them, rows that are computed, at most, if U does not stay
CHUNK = 10 << 20  # elements of a chunk's V and M
PIECES = 32  # of a chunk, for threads to share out
SHARE = 64  # filters that are multiplied at once
TOGETHER = 2 * SHARE  # filters of a task in phases


def cost(form, n, geometry, dtype):
    """Of the better form: products, transforms, and reading U."""
    if form == "weight_grad" and 36 * n.C * n.K // n.G ** 2 > 9 << 20:
        return inf  # dU would need more scratch memory than there may be
    return min((_cost(choice, form, n) * (dtype.itemsize / 4) for choice in candidates(n, geometry)), default=inf)


def candidates(n, geometry):
    """The forms that can compute it."""
    if geometry.stride != (1, 1) or geometry.dilation != (1, 1) or n.R != n.S:
        return ()
    return {3: (F4x3, F2x3), 5: (F2x5,)}.get(n.R, ())


def _cost(choice, form, n):
    """Seconds on one core."""
    C, K = n.C // n.G, n.K // n.G
    target = (n.H, n.W) if form == "input_grad" else (n.P, n.Q)
    tiles = n.N * n.G * parts(target[0], choice.OUTPUTS) * parts(target[1], choice.OUTPUTS)
    places = choice.SIZE ** 2
    lanes_of = [-(-filters // 16) * 16 for filters in (C, K)]
    u = places * n.G * C * K
    weights = u * (READ if u <= NEAR else FETCH) * (2 if form == "weight_grad" else 1)
    products = 2 * places * parts(tiles, 8) * 8 * lanes_of[0] * lanes_of[1] / RATE
    return products + places * tiles * sum(lanes_of) * MOVE + weights + 60e-6


def choose(form, n, geometry):
    """The cheapest form."""
    return min(candidates(n, geometry), key=lambda choice: _cost(choice, form, n))


def scratch(form, n, geometry):
    """V and M of every thread's block, or of a chunk."""
    if form == "weight_grad":
        from . import winograd_weights
        return winograd_weights.scratch(n, geometry)
    tiling = forward_tiling(n, geometry) if form == "forward" else gradient_tiling(n, geometry)
    block, elements = tiles_at_once(tiling)
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
    run = convolution(packed, memory, start, forward_tiling(n, geometry, y_pixel, x_pixel), n.G, bias, epilogue.relu, epilogue.pool, epilogue.in_place)

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
def forward_tiling(n, geometry, y_pixel=None, x_pixel=None, form="forward"):
    """The Tiling of one group's forward pass, from and into arrays whose pixels are so many elements apart."""
    choice = choose(form, n, geometry)
    m = choice.OUTPUTS
    return choice(n.N, n.H, n.W, x_pixel or n.C, *geometry.padding, n.C // n.G, n.P, n.Q, y_pixel or n.K, n.K // n.G, parts(n.P, m), parts(n.Q, m))


@lru_cache(maxsize=1024)
def gradient_tiling(n, geometry):
    """The Tiling of one group's input gradient: source dy, target dx."""
    choice = choose("input_grad", n, geometry)
    m, (top, left) = choice.OUTPUTS, (n.R - 1 - padding for padding in geometry.padding)
    return choice(n.N, n.P, n.Q, n.K, top, left, n.K // n.G, n.H, n.W, n.C, n.C // n.G, parts(n.H, m), parts(n.W, m))


def tiles_at_once(tiling):
    """(tiles of a thread's block, elements of its scratch), or (0, elements of all) if the tiles go through the steps in phases."""
    each, u, threads = elements_of_tile(tiling, SHARE), tiling.SIZE ** 2 * tiling.C * tiling.K, numba.get_num_threads()
    most = max(8, min(MOST, BLOCK // each // 8 * 8))
    blocks = parts(parts(tiling.tiles, most), threads) * threads  # as many for each thread
    block = max(8, parts(parts(tiling.tiles, blocks), 8) * 8) if tiling.tiles else 8
    if (block >= FEWEST and tiling.tiles >= MANY and blocks * block <= PADDED * tiling.tiles) or (u <= KEPT and each * block <= BLOCK):
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
    """
    w = contiguous(w)
    Kg, Cg, taps = w.shape[0] // groups, w.shape[1], w.shape[2] ** 2
    outer, inner = ((Kg, Cg * taps), (Cg, taps)) if not turned else ((Cg, taps), (Kg, Cg * taps))
    u = aligned(groups * tiling.SIZE ** 2 * (inner[0] * whole(outer[0]) + parts(outer[0], SHARE) * LINE), w.dtype)
    _transform_filters(tiling, w.reshape(-1), groups, Kg * Cg * taps, inner, outer, turned, u.size // groups, u)
    return u


@jit
def place_of(form, i, k, width, C):
    """Where in a group's U the filters from k on, `width` of them, begin at place i."""
    return constant_of(form, "SIZE") ** 2 * (k * C + k // SHARE * LINE) + i * (width * C + LINE)


@jit(parallel=True)
def _transform_filters(form, w, groups, group, inner, outer, turned, share, u):
    L = lanes(w)
    vectors = (outer[0] + L - 1) // L
    for task in prange(groups * vectors):
        g, first = np.int64(task // vectors), np.int64(task % vectors) * L
        _transform_some(form, w, g * group, first, inner, outer, turned, u, g * share)


@jit
def _transform_some(form, w, w0, first, inner, outer, turned, u, u0):
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
        for place in range(n * n):  # n*n stretches of memory at once are more than the machine foresees: asked for two channels ahead
            prefetch(u, into + place * plane + 2 * width)
        transform(form, "filter", square, corner, down, across, u, into, n * plane, plane)


# ------------------------------------------------------------------------------------------------------------------ the three steps


def convolution(u, out, start, tiling, groups, bias=None, relu=False, pool=False, in_place=False):
    """The function of a flat source that takes every group in turn: out[start + ...] = the convolution with transformed filters, and the epilogue."""
    dtype, (block, elements) = u.dtype, tiles_at_once(tiling)
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
    tiles, places = form.images * form.down * form.across, constant_of(form, "SIZE") ** 2
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
    tiles, places = form.images * form.down * form.across, constant_of(form, "SIZE") ** 2
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
def input_tiles(form, first, end, x, x0, edge, v, v0, row, plane):
    """V of the tiles from `first` to `end`: place i of tile t, channel c, at v[v0 + (t - first)*row + i*plane + c]."""
    n, m, L = constant_of(form, "SIZE"), constant_of(form, "OUTPUTS"), lanes(x)
    C = whole_vectors(form.C, x)
    for t in range(first, end):
        image, top, left = t // (form.down * form.across), t // form.across % form.down * m - form.top, t % form.across * m - form.left
        pixel = form.source_pixel
        at = x0 + ((image * form.H + top) * form.W + left) * pixel
        into = v0 + (t - first) * row
        if top >= 0 and left >= 0 and top + n <= form.H and left + n <= form.W and form.C % L == 0:
            for c in range(0, form.C, L):
                for i in range(n):
                    for j in range(n, n + m):
                        prefetch(x, at + (i * form.W + j) * pixel + c)  # what the next tile will read besides
                transform(form, "input", x, at + c, form.W * pixel, pixel, v, into + c, n * plane, plane)
        else:
            copy_square(x, at, form.W * pixel, pixel, form.C, top, left, form.H, form.W, n, edge, C)
            for c in range(0, form.C, L):
                transform(form, "input", edge, c, n * C, C, v, into + c, n * plane, plane)


@jit
def copy_square(x, at, down, across, C, top, left, H, W, n, edge, row):
    """The n x n pixels at x[at] (of which the first is in row `top` and column `left` of an image), with zeros where they are outside the image."""
    L = lanes(x)
    for i in range(n):
        for j in range(n):
            inside = 0 <= top + i < H and 0 <= left + j < W
            for c in range(0, C, L):
                value = load_part(x, at + i * down + j * across + c, min(L, C - c)) if inside else zero(x)
                store(edge, (i * n + j) * row + c, value)


@jit
def output_tiles(form, first, end, some, behind, products, m0, row, plane, square, bias, k0, residual, residual_pixel, relu, pool, past, y, y0):
    """Y of the tiles from `first` to `end`, filters from `some` to `behind`, and the epilogue. M: place i of tile t, filter k, is at
    products[m0 + (t - first)*row + i*plane + k - some]."""
    n, m, L = constant_of(form, "SIZE"), constant_of(form, "OUTPUTS"), lanes(y)
    for t in range(first, end):
        image, top, left = t // (form.down * form.across), t // form.across % form.down * m, t % form.across * m
        rows, columns, P, Q, step = min(m, form.P - top), min(m, form.Q - left), form.P, form.Q, 1
        if pool:
            rows, columns, P, Q, step = rows - rows % 2, columns - columns % 2, P // 2, Q // 2, 2
        at = (image * P + top // step) * Q + left // step
        for k in range(some, behind, L):
            transform(form, "output", products, m0 + (t - first) * row + k - some, n * plane, plane, square, 0, m * L, L)
            count = min(L, form.K - k)
            shift = load_part(bias, k0 + k, count) if bias.size else zero(y)
            for i in range(0, rows, step):
                for j in range(0, columns, step):
                    value = load(square, (i * m + j) * L)
                    if pool:
                        for other in (i * m + j + 1, (i + 1) * m + j, (i + 1) * m + j + 1):
                            new = load(square, other * L)
                            value = where_larger(new, value, new, value)
                    value = add(value, shift)
                    pixel = at + i // step * Q + j // step
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
