"""The weight gradient by Winograd's method: the adjoint of each step of winograd.py, in the reverse order. 3x3 and 5x5 filters of stride 1, channels-last memory.

    V[i] (T, C)   =  B^T D B                          as in the forward pass
    Z[i] (T, K)   =  A dY A^T                         the adjoint of turning M into Y
    dU[i] (C, K)  =  V[i]^T @ Z[i]                    summed over all tiles of all images
    dW            =  G^T dU G                         once, at the end

It is exact: not an approximation of the gradient, but the gradient of what forward computes, up to rounding.

**Threads.** If tiles are many and dU is small (64 channels by 64 filters of 56x56), tiles are shared out in a fixed number of *splits*, each of which has a dU and goes
through the first three steps *block* by block of tiles; these dU are added in order. Else a chunk of tiles goes through the steps in *phases*, and in the third the
threads share out the places and channels of the one dU. So all of them write V and Z, and read what others have written: half as fast where two cores have no last
cache in common (see winograd.py), but to compute V or Z for each thread anew was a tenth slower where they have.

In dU filters lie side by side, in dW the taps of a filter's channels. So the last step takes a vector of channels and some filters at a time: dU is read in the order in
which it lies, and turned in registers what goes to a filter is a run of 16*9 elements.

**Napkin**, F(4x4, 3x3): 2*N*K*C*P*Q * 36/16 FLOPs, a quarter of the definition's; V and Z are written and read once, dU is read and written once a block or chunk, and
read once more at the end, four times the weights: that is bound by memory.
"""

from functools import lru_cache

import numba
import numpy as np
from numba import get_thread_id, prange

from ..layout import nhwc
from ..matmul.block import panel_width, whole_vectors
from ..matmul.panels import multiply_panels
from ..runtime import jit
from ..simd.tile import load_square, store_tile, transpose
from ..simd.vector import add, lanes, load, store, store_part
from .correlation import parts
from .sizes import sizes
from .winograd import copy_square, forward_tiling, input_tiles, place_on_sheet, tiles_of, whole
from .winograd_transform import constant_of, transform
from .workspace import workspace

BLOCK = 768 << 10  # elements of V and Z of a block
LEAST, MOST_CHUNK = 2 << 20, 6 << 20  # elements of V and Z of a chunk
MANY = 16  # times as many tiles as channels, and as filters, make another split worth while
MOST = 9 << 20  # elements of dU
SPLITS = 16  # of the tiles, at most
PIECES = 32  # of a chunk, for threads to share out
SHARE = 64  # channels of dU that a thread computes at once
FILTERS = 256  # of a vector of channels of dW that a thread turns at once


def sum_size(tiling):
    """Elements of dU."""
    return tiling.SIZE ** 2 * tiling.C * whole(tiling.K)


@lru_cache(maxsize=1024, typed=True)  # as tuples, tilings of two forms may be equal
def tiles_at_once(tiling):
    """(splits, tiles of a block), or (0, tiles of a chunk) for phases."""
    each, worth = tiling.SIZE ** 2 * (whole(tiling.C) + whole(tiling.K)), tiling.tiles // max(1, MANY * max(tiling.C, tiling.K))
    if worth > 1:
        splits = min(SPLITS, 1 << worth.bit_length() - 1)
        tiles = parts(tiling.tiles, splits)
        return splits, max(8, parts(tiles, parts(tiles, max(8, BLOCK // each))))
    chunk = min(max(sum_size(tiling), LEAST), MOST_CHUNK)  # as large as dU, which passes by for each chunk
    return 0, max(8, parts(tiling.tiles, max(1, parts(tiling.tiles, max(64, chunk // each)))))


def scratch(n, geometry):
    """Elements of scratch memory of all threads together."""
    own, total, shared = memory_of(forward_tiling(n, geometry, form="weight_grad"))
    return own * numba.get_num_threads() + total + shared


@lru_cache(maxsize=1024, typed=True)  # as tuples, tilings of two forms may be equal
def memory_of(tiling):
    """Elements of each thread's scratch, V and Z of its block; of dU, of all splits; and of V and Z of a chunk."""
    splits, block = tiles_at_once(tiling)
    own, shared = (scratch_of(tiling, block), 0) if splits else (scratch_of(tiling, 0), scratch_of(tiling, block))
    return max(own, turning(tiling)), max(1, splits) * sum_size(tiling), shared


def scratch_of(tiling, block):
    """Elements of V, Z, and a tile at the border."""
    return tiling.SIZE ** 2 * ((block + 1) * (whole(tiling.C) + whole(tiling.K)) + 32)


def turning(tiling):
    """Elements of 16 channels of dW, as many as the widest vector has lanes, for FILTERS filters, and for 16 of these once more, turned."""
    return tiling.TAPS ** 2 * 16 * (min(FILTERS, whole(tiling.K)) + 16)


def weight_grad(dy, x, w_shape, geometry):
    """dw (K, C/groups, R, S) from dy (N, K, P, Q) and x (N, C, H, W)."""
    n = sizes(x.shape, w_shape, geometry)
    tiling = forward_tiling(n, geometry, form="weight_grad")
    (splits, block), (own, total, shared) = tiles_at_once(tiling), memory_of(tiling)
    dw = np.empty(w_shape, x.dtype)
    x, dy = nhwc(x).reshape(-1), nhwc(dy).reshape(-1)
    with workspace(own, x.dtype, total + shared) as (memory, shared):
        sums, shared = shared[:total], shared[total:]
        for g in range(n.G):
            if splits:
                _in_blocks(tiling, x, g * tiling.C, dy, g * tiling.K, sums, splits, block, memory)
            else:
                _in_phases(tiling, x, g * tiling.C, dy, g * tiling.K, sums, block, shared, memory)
            _finish(tiling, sums, max(1, splits), memory, dw.reshape(-1), g * tiling.K * tiling.C * n.R * n.S)
    return dw


@jit(parallel=True)
def _in_blocks(form, x, x0, dy, dy0, sums, splits, block, scratch):
    """Each split's sum over its tiles, block by block, by one thread."""
    tiles, places = tiles_of(form), constant_of(form, "SIZE") ** 2
    C, K = whole_vectors(form.C, x), whole_vectors(form.K, x)
    v_plane, z_plane, plane = block * C + 16, block * K + 16, form.C * K
    for number in prange(splits):
        split, mine = np.int64(number), scratch[get_thread_id()]
        edge, v, z = mine[:places * max(C, K)], mine[places * max(C, K):places * (max(C, K) + v_plane)], mine[places * (max(C, K) + v_plane):]
        begin, end = tiles * split // splits, tiles * (split + 1) // splits
        sums[split * places * plane:(split + 1) * places * plane] = 0
        for first in range(begin, end, block):
            count = min(block, end - first)
            input_tiles(form, first, first + count, x, x0, edge, v, 0, C, v_plane)
            gradient_tiles(form, first, first + count, dy, dy0, edge, z, 0, 0, count, z_plane)
            for i in range(places):
                multiply_panels(form.C, form.K, count, v, i * v_plane, 1, C, True, z, i * z_plane, (i + 1) * z_plane, sums, (split * places + i) * plane, K, True)


@jit(parallel=True)
def _in_phases(form, x, x0, dy, dy0, sums, chunk, shared, scratch):
    """Chunk by chunk, all threads together: transform, multiply."""
    tiles, places = tiles_of(form), constant_of(form, "SIZE") ** 2
    C, K = whole_vectors(form.C, x), whole_vectors(form.K, x)
    v_plane, z_plane, plane = chunk * C + 16, chunk * K + 16, form.C * K
    v, z = shared[:places * v_plane], shared[places * v_plane:]
    if tiles == 0:
        sums[:] = 0
    for first in range(0, tiles, chunk):
        count = min(chunk, tiles - first)
        pieces = min(count, PIECES)
        for piece in prange(pieces):
            begin, end = count * np.int64(piece) // pieces, count * (np.int64(piece) + 1) // pieces
            edge = scratch[get_thread_id()]
            input_tiles(form, first + begin, first + end, x, x0, edge, v, begin * C, C, v_plane)
            gradient_tiles(form, first + begin, first + end, dy, dy0, edge, z, 0, begin, count, z_plane)
        shares = (form.C + SHARE - 1) // SHARE
        for task in prange(places * shares):
            i, c = np.int64(task) // shares, np.int64(task) % shares * SHARE
            multiply_panels(min(SHARE, form.C - c), form.K, count, v, i * v_plane + c, 1, C, True, z, i * z_plane, i * z_plane, sums, i * plane + c * K, K, first > 0)


@jit
def gradient_tiles(form, first, end, dy, dy0, edge, z, z0, before, count, plane):
    """Z of the tiles from `first` to `end`, in panels of `count` tiles, of which `before` precede the first: ready to be multiplied."""
    n, m, L, W = constant_of(form, "SIZE"), constant_of(form, "OUTPUTS"), lanes(dy), panel_width(dy)
    row, pixel = whole_vectors(form.K, dy), form.target_pixel
    for t in range(first, end):
        image, top, left, below, beside = place_on_sheet(form, t, m)
        at = dy0 + ((image * form.P + top) * form.Q + left) * pixel
        inside = top + m <= form.P and left + m <= form.Q and image < form.images and form.K % L == 0
        if not inside:
            copy_square(form, dy, dy0, pixel, form.K, image, top, left, form.P, form.Q, below, beside, m, edge, row)
        for k in range(0, form.K, L):
            panel = k - k % W
            width = whole_vectors(min(W, form.K - panel), dy)
            into = z0 + panel * count + (before + t - first) * width + k - panel
            if inside:
                transform(form, "output_grad", dy, at + k, form.Q * pixel, pixel, z, into, n * plane, plane)
            else:
                transform(form, "output_grad", edge, k, m * row, row, z, into, n * plane, plane)


@jit(parallel=True)
def _finish(form, sums, splits, scratch, dw, w0):
    """dW = G^T dU G, where dU is the sum of the splits' shares."""
    L = lanes(sums)
    down, across = (form.C + L - 1) // L, (form.K + FILTERS - 1) // FILTERS
    for task in prange(down * across):
        c, k = np.int64(task) // across * L, np.int64(task) % across * FILTERS
        _finish_some(form, sums, splits, c, min(L, form.C - c), k, min(form.K, k + FILTERS), scratch[get_thread_id()], dw, w0)


@jit
def _finish_some(form, sums, splits, c, channels, some, behind, scratch, dw, w0):
    """A vector of channels, filters from `some` to `behind`. scratch: (vector of filters, channel and tap, filter), and then one vector's (filter, channel and tap)."""
    n, R, L = constant_of(form, "SIZE"), constant_of(form, "TAPS"), lanes(sums)
    K, taps = whole_vectors(form.K, sums), R * R
    plane, row, square = form.C * K, channels * taps, taps * L * L
    turned = (behind - some + L - 1) // L * square
    for channel in range(channels):  # in the order in which dU lies
        for k in range(some, behind, L):
            at = (c + channel) * K + k
            for other in range(1, splits):
                for i in range(n * n):
                    here = at + i * plane
                    store(sums, here, add(load(sums, here), load(sums, here + other * n * n * plane)))
            transform(form, "filter_grad", sums, at, n * plane, plane, scratch, (k - some) // L * square + channel * taps * L, R * L, L)
    for k in range(some, behind, L):
        for e in range(0, row, L):
            store_tile(transpose(load_square(scratch, (k - some) // L * square + e * L, L)), scratch, turned + e, taps * L, L)
        for lane in range(min(L, behind - k)):
            into, values = w0 + ((k + lane) * form.C + c) * taps, turned + lane * taps * L
            for e in range(0, row, L):
                store_part(dw, into + e, min(L, row - e), load(scratch, values + e))
