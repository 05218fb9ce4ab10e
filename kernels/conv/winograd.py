"""Winograd convolution (winograd_forms.py has the formulas), on channels-last memory: 3x3 and 5x5 filters of stride 1.

**Three steps.** With n*n places in a tile (36 for F(4x4, 3x3)), C channels, K filters, and the image cut into T overlapping tiles,

    V[i] (T, C)  =  B^T D B      each tile, each channel: a channel is a lane, so the transform is plain vector arithmetic
    M[i] (T, K)  =  V[i] @ U[i]      n*n matrix products; U = G W G^T, packed, was made once
    Y            =  A^T M A      and bias, residual, ReLU, while it is at hand

**Caches** decide how it is scheduled. If V and M of a few dozen tiles fit the second-level cache together, each thread takes such a *block* of tiles through all three
steps, and only x and y move through memory. If not (C and K are large, and then U, 37 MB for 512 x 512, is what is read most), a chunk of all tiles goes through the
steps in *phases*: everything is transformed, then multiplied, each thread holding one U[i] at a time, then transformed back.

A tile's row of V holds its n*n places one after the other, so that the transform writes to one stretch of memory; the products do not care how far apart their rows are.
Writing is most of a transform's time: 36 vectors in 75 ns, 37 ns of which arithmetic, and into the second-level cache a core writes no more than 44 GB/s.

**Threads** share out blocks of tiles, or in the second phase the places; each result is computed by one thread, in one order.

**Napkin**, F(4x4, 3x3): 2*N*K*C*P*Q * 36/16 FLOPs instead of *9, a quarter. 64 channels, 224x224, batch 16: 59 GFLOP become 15, 42 ms on two cores (350 GFLOP/s), but
x and y are 205 MB each, 20 ms at 23 GB/s: memory is near.
Measured (batch 16, two cores of an Intel Xeon, Sapphire Rapids, AVX-512; in brackets what the products alone would take at peak): 64 channels 224x224 72 ms (42), 128
channels 112x112 67 ms (42), 256 channels 56x56 66 ms (42), 512 channels 28x28 64 ms (42), 64 channels 56x56 4.9 ms (2.6). The products run at 130 to 160 of 175 GFLOP/s;
the rest is transforms, which write V and M to the second-level or the last cache, and memory. PyTorch takes 2.1 to 2.6 times as long.
"""
from functools import lru_cache
from math import inf

import numba
import numpy as np
from numba import get_thread_id, prange

from ..layout import nhwc
from ..matmul.block import panel_width, whole_vectors
from ..matmul.panels import multiply_panels
from ..memory import empty_channels_last, past_cache
from ..runtime import contiguous, jit
from ..simd.choose import stream
from ..simd.vector import add, lanes, load, load_part, maximum, prefetch, store, store_part, zero
from .correlation import parts
from .epilogue import NOTHING, Epilogue
from .outputs import target
from .sizes import sizes
from .winograd_forms import F2x3, F2x5, F4x3
from .winograd_transform import constant_of, transform
from .workspace import aligned, workspace

NAME = "winograd"
RATE = 130e9  # FLOP/s of one core
MOVE = 0.12e-9  # seconds for an element of V or M: computed, written, read
READ, FETCH = 0.3e-9, 0.5e-9  # seconds for an element of U, from the last cache, or from memory
NEAR = 4 << 20  # elements of U that the last cache may hold
BLOCK = 300 << 10  # elements of a block's V and M: a part of the second-level cache
KEPT = 150 << 10  # elements of U that stay in the second-level cache
REREAD = 600 << 10  # elements of U, at most, that every block of FEWEST tiles or more may read again
CHUNK = 10 << 20  # elements of a chunk's V and M
FEWEST = 24  # tiles for which it pays to read U
PIECES = 32  # of a chunk, for threads to share out
SHARE = 128  # filters that a thread multiplies at once


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
    n = sizes(x.shape, w_shape, geometry)
    y, memory, start, pixel = target(epilogue.out, (n.N, n.K, n.P, n.Q), x.dtype)
    tiling = forward_tiling(n, geometry, pixel)
    convolve(nhwc(x), packed, memory, start, tiling, geometry.groups, bias, epilogue)
    return y


def input_grad(dy, w, x_shape, geometry, add=None):
    """dx (N, C, H, W), channels-last, from dy (N, K, P, Q) and w, plus `add`: the convolution of dy with filters turned round, whose channels and filters change
    roles."""
    n = sizes(x_shape, w.shape, geometry)
    dx = empty_channels_last(x_shape, dy.dtype)
    tiling = gradient_tiling(n, geometry)
    convolve(nhwc(dy), transform_filters(w, n.G, tiling, turned=True), nhwc(dx).reshape(-1), 0, tiling, n.G, None, Epilogue(add=add))
    return dx


def weight_grad(dy, x, w_shape, geometry):
    """dw (K, C/groups, R, S) from dy (N, K, P, Q) and x."""
    from .winograd_weights import weight_grad
    return weight_grad(dy, x, w_shape, geometry)


@lru_cache(maxsize=1024)
def forward_tiling(n, geometry, pixel=None, form="forward"):
    """The Tiling of one group's forward pass."""
    choice = choose(form, n, geometry)
    m = choice.OUTPUTS
    return choice(n.N, n.H, n.W, n.C, *geometry.padding, n.C // n.G, n.P, n.Q, pixel or n.K, n.K // n.G, parts(n.P, m), parts(n.Q, m))


@lru_cache(maxsize=1024)
def gradient_tiling(n, geometry):
    """The Tiling of one group's input gradient: source dy, target dx."""
    choice = choose("input_grad", n, geometry)
    m, (top, left) = choice.OUTPUTS, (n.R - 1 - padding for padding in geometry.padding)
    return choice(n.N, n.P, n.Q, n.K, top, left, n.K // n.G, n.H, n.W, n.C, n.C // n.G, parts(n.H, m), parts(n.W, m))


def tiles_at_once(tiling):
    """(tiles of a thread's block, elements of its scratch), or (0, elements of all) if the tiles go through the steps in phases."""
    each, u = elements_of_tile(tiling), tiling.SIZE ** 2 * tiling.C * tiling.K
    most = BLOCK // each // 8 * 8
    block = max(8, min(most, parts(parts(tiling.tiles, 16), 8) * 8))  # at least 16 blocks for threads to share out, where there are tiles enough
    if most >= FEWEST and (u <= KEPT or (u <= REREAD and block >= FEWEST)):
        return block, each * block + border(tiling)
    return 0, each * chunk_of(tiling, each) + border(tiling)


def elements_of_tile(tiling):
    """Of V and M, and a line more each, lest tiles be a power of two apart and compete for the same places in the cache."""
    return tiling.SIZE ** 2 * (whole(tiling.C) + whole(tiling.K)) + 2 * LINE


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
    """U of each group (groups, n*n, panels of (C, K)), from w (K, C/G, R, S). turned: for the input gradient, upside down and with channels as filters."""
    w = contiguous(w)
    Kg, Cg, taps = w.shape[0] // groups, w.shape[1], w.shape[2] ** 2
    outer, inner = ((Kg, Cg * taps), (Cg, taps)) if not turned else ((Cg, taps), (Kg, Cg * taps))
    u = aligned(groups * tiling.SIZE ** 2 * inner[0] * whole(outer[0]), w.dtype)
    _transform_filters(tiling, w.reshape(-1), groups, Kg * Cg * taps, inner, outer, turned, u.size // groups, u)
    return u


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
    panel = first - first % W
    width = whole_vectors(min(W, outer[0] - panel), w)
    plane = inner[0] * whole_vectors(outer[0], w)
    square = np.zeros(taps * L, w.dtype)
    for i in range(inner[0]):
        for lane in range(min(L, outer[0] - first)):
            source = w0 + i * inner[1] + (first + lane) * outer[1]
            for tap in range(taps):
                square[(taps - 1 - tap if turned else tap) * L + lane] = w[source + tap]
        into = u0 + panel * inner[0] + i * width + first - panel
        for place in range(n * n):  # n*n stretches of memory at once are more than the machine foresees: asked for two channels ahead
            prefetch(u, into + place * plane + 2 * width)
        transform(form, "filter", square, 0, R * L, L, u, into, n * plane, plane)


# ------------------------------------------------------------------------------------------------------------------ the three steps


def convolve(source, u, out, start, tiling, groups, bias, epilogue):
    """Every group in turn: out[start + ...] = the convolution of `source` (N, H, W, channels) with transformed filters, and the epilogue."""
    block, elements = tiles_at_once(tiling)
    bias = np.zeros(0, source.dtype) if bias is None else contiguous(bias)
    residual = np.zeros(0, source.dtype) if epilogue.add is None else nhwc(epilogue.add).reshape(-1)
    share = u.size // groups
    past = start == 0 and past_cache(out, tiling.target_pixel) and tiling.K % LINE == 0
    for g in range(groups):
        k = g * tiling.K
        arguments = (tiling, source.reshape(-1), g * tiling.C, u[g * share:(g + 1) * share], bias, k, residual, tiling.K * groups, epilogue.relu, past, out, start + k)
        with workspace(elements if block else border(tiling), source.dtype, 0 if block else elements) as (rows, shared):
            if block:
                _in_blocks(*arguments, block, rows)
            else:
                _in_phases(*arguments, chunk_of(tiling, elements_of_tile(tiling)), shared, rows)


@jit(parallel=True)
def _in_blocks(form, x, x0, u, bias, k0, residual, residual_pixel, relu, past, y, y0, block, scratch):
    """Each block of tiles through all three steps, by one thread."""
    tiles, places = form.images * form.down * form.across, constant_of(form, "SIZE") ** 2
    for number in prange((tiles + block - 1) // block):
        mine = scratch[get_thread_id()]
        first = np.int64(number) * block
        end = min(tiles, first + block)
        C, K = whole_vectors(form.C, x), whole_vectors(form.K, x)
        v_row, m_row = places * C + 16, places * K + 16
        edge, v, m = mine[:places * C], mine[places * C:places * C + block * v_row], mine[places * C + block * v_row:]
        input_tiles(form, first, end, x, x0, edge, v, 0, v_row, C)
        for i in range(places):
            multiply_panels(end - first, form.K, form.C, v, i * C, v_row, 1, u, i * form.C * K, m, i * K, m_row, False)
        output_tiles(form, first, end, m, 0, m_row, K, edge, bias, k0, residual, residual_pixel, relu, past, y, y0)


@jit(parallel=True)
def _in_phases(form, x, x0, u, bias, k0, residual, residual_pixel, relu, past, y, y0, chunk, shared, scratch):
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
        shares = (form.K + SHARE - 1) // SHARE
        for task in prange(places * shares):
            i, k = np.int64(task) // shares, np.int64(task) % shares * SHARE
            multiply_panels(count, min(SHARE, form.K - k), form.C, v, i * C, v_row, 1, u, (i * K + k) * form.C, m, i * K + k, m_row, False)
        for piece in prange(pieces):
            begin, end = count * np.int64(piece) // pieces, count * (np.int64(piece) + 1) // pieces
            output_tiles(form, first + begin, first + end, m, begin * m_row, m_row, K, scratch[get_thread_id()], bias, k0, residual, residual_pixel, relu, past, y, y0)


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
def output_tiles(form, first, end, products, m0, row, plane, square, bias, k0, residual, residual_pixel, relu, past, y, y0):
    """Y of the tiles from `first` to `end`, from M: place i of tile t, filter k, at products[m0 + (t - first)*row + i*plane + k]; and the epilogue."""
    n, m, L = constant_of(form, "SIZE"), constant_of(form, "OUTPUTS"), lanes(y)
    for t in range(first, end):
        image, top, left = t // (form.down * form.across), t // form.across % form.down * m, t % form.across * m
        rows, columns = min(m, form.P - top), min(m, form.Q - left)
        at = (image * form.P + top) * form.Q + left
        for k in range(0, form.K, L):
            transform(form, "output", products, m0 + (t - first) * row + k, n * plane, plane, square, 0, m * L, L)
            count = min(L, form.K - k)
            shift = load_part(bias, k0 + k, count) if bias.size else zero(y)
            for i in range(rows):
                for j in range(columns):
                    value = add(load(square, (i * m + j) * L), shift)
                    pixel = at + i * form.Q + j
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
