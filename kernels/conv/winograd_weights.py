"""The weight gradient by Winograd's method: the adjoint of each step of winograd.py, in the reverse order. 3x3 and 5x5 filters of stride 1, channels-last memory.

    V[i] (T, C)   =  B^T D B                          as in the forward pass
    Z[i] (T, K)   =  A dY A^T                         the adjoint of turning M into Y
    dU[i] (C, K)  =  V[i]^T @ Z[i]                    summed over all tiles of all images
    dW            =  G^T dU G                         once, at the end

It is exact: not an approximation of the gradient, but the gradient of what forward computes, up to rounding.

**Threads.** If tiles are many beside channels and filters, they are shared out in a fixed number of *splits*, each of which has a dU; these are added in order at the
end. Where there are more threads than splits, dU is cut into *parts*, some channels by some filters. A thread takes a part through the first three steps, *block* by
block of tiles, and computes for itself what it needs of V and Z: two threads compute V twice, say. To compute it once and read what the other has written took 0.92 to
1.07 of the time where two cores have a last cache in common, and up to twice the time where they have not (docs/benchmarks.md). A part of dU lies in one piece. When two
threads wrote to the same rows, 256 bytes each in turn, each core fetched ahead what the other was about to write: 48 channels, 128 filters, 7x7, 0.96 ms in place of
0.73, 0.79 where cores are near.

In dU filters lie side by side, in dW the taps of a filter's channels. So the last step takes a vector of channels and some filters at a time: dU is read in the order in
which it lies, and turned in registers what goes to a filter is a run of 16*9 elements.

**Napkin**, F(4x4, 3x3): 2*N*K*C*P*Q * 36/16 FLOPs, a quarter of the definition's; V and Z are written and read once or twice, dU is read and written once a block,
and read once more at the end, four times the weights: that is bound by memory.
"""

from functools import lru_cache
from typing import NamedTuple

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
from .tiles import SCRATCH
from .winograd import LARGEST, MOVE, RATE, copy_square, forward_tiling, input_tiles, place_on_sheet, tiles_of, whole
from .winograd_transform import constant_of, transform
from .workspace import workspace

LEAST, MOST_BLOCK = 1 << 20, 7 << 19  # elements of V, and of Z of SHARE filters, of a block
SHARE = 64  # filters whose Z is computed at once
MANY, MORE = 4, 16  # times as many tiles as channels, and as filters, make a second split worth while; and each one more
SPLITS = 16  # of the tiles, at most
FILTERS = 256  # of a vector of channels of dW that a thread turns at once


class Cut(NamedTuple):
    """What a thread takes at once: one of the splits of the tiles, for a part of dU, block by block."""

    splits: int
    block: int  # tiles
    channels: int  # of a part
    filters: int


@lru_cache(maxsize=1024, typed=True)  # as tuples, tilings of two forms may be equal
def cut_of(tiling, threads):
    """The Cut for so many threads, on which the order of additions does not depend: parts of dU are cut such that together they are done first."""
    places, C, K = tiling.SIZE ** 2, whole(tiling.C), whole(tiling.K)
    splits = splits_of(tiling)
    tiles = parts(tiling.tiles, splits)
    most = min(max(places * C * K, LEAST), MOST_BLOCK) // max(1, places * (C + min(K, SHARE)))  # as large as dU, which passes by for each block
    block = max(8, parts(tiles, max(1, parts(tiles, max(8, most)))))

    def time(cut):
        """Of the thread that has most to do, for each tile and place of a split, in seconds: products, V and Z."""
        own, sums = memory_of(tiling, cut)
        running = max(1, min(threads, (SCRATCH // 4 - sums) // own))
        return parts(sums // max(1, part_of(tiling, cut)), running) * (2 * cut.channels * cut.filters / RATE + (cut.channels + cut.filters) * MOVE)
    pieces = parts(threads, splits)
    return min((Cut(splits, block, share(C, parts(pieces, across)), share(K, across)) for across in range(1, pieces + 1)), key=time)


def splits_of(tiling):
    """Into how many splits the tiles are cut: a power of two, such that all dU together are not larger than the one may be."""
    many = tiling.tiles // max(1, tiling.C, tiling.K)
    wanted = min(SPLITS, max(2, many // MORE)) if many >= MANY else 1
    return 1 << max(1, min(wanted, LARGEST // (tiling.SIZE ** 2 * whole(tiling.C) * whole(tiling.K)))).bit_length() - 1


def share(channels, count):
    """Of as many channels, or filters, one of `count` shares, in whole vectors."""
    return max(1, parts(channels // 16, count)) * 16


def scratch(n, geometry):
    """Elements of scratch memory of all threads together."""
    tiling, threads = forward_tiling(n, geometry, form="weight_grad"), numba.get_num_threads()
    own, sums = memory_of(tiling, cut_of(tiling, threads))
    return own * threads + sums


def memory_of(tiling, cut):
    """Elements of each thread's scratch, V and Z of its block and a tile at the border; and of dU, all parts of all splits."""
    places, filters = tiling.SIZE ** 2, min(SHARE, cut.filters)
    number = cut.splits * parts(tiling.C, cut.channels) * parts(tiling.K, cut.filters)
    return max(places * (cut.block * (cut.channels + filters) + max(cut.channels, filters) + 32), turning(tiling)), number * part_of(tiling, cut)


def part_of(tiling, cut):
    """Elements of a part of dU."""
    return tiling.SIZE ** 2 * cut.channels * cut.filters


def turning(tiling):
    """Elements of 16 channels of dW, as many as the widest vector has lanes, for FILTERS filters, and for 16 of these once more, turned."""
    return tiling.TAPS ** 2 * 16 * (min(FILTERS, whole(tiling.K)) + 16)


def weight_grad(dy, x, w_shape, geometry):
    """dw (K, C/groups, R, S) from dy (N, K, P, Q) and x (N, C, H, W)."""
    n = sizes(x.shape, w_shape, geometry)
    tiling = forward_tiling(n, geometry, form="weight_grad")
    cut = cut_of(tiling, numba.get_num_threads())
    dw = np.empty(w_shape, x.dtype)
    x, dy = nhwc(x).reshape(-1), nhwc(dy).reshape(-1)
    own, sums = memory_of(tiling, cut)
    with workspace(own, x.dtype, sums) as (memory, sums):
        for g in range(n.G):
            _sum(tiling, x, g * tiling.C, dy, g * tiling.K, sums, *cut, memory)
            _finish(tiling, sums, *cut, memory, dw.reshape(-1), g * tiling.K * tiling.C * n.R * n.S)
    return dw


@jit(parallel=True)
def _sum(form, x, x0, dy, dy0, sums, splits, block, channels, filters, scratch):
    """Each split's dU, part by part (place, channel, filter), each by one thread."""
    tiles, places = tiles_of(form), constant_of(form, "SIZE") ** 2
    down, across = (form.C + channels - 1) // channels, (form.K + filters - 1) // filters
    v_plane, z_plane, plane, row = block * channels + 16, block * min(SHARE, filters) + 16, channels * filters, max(channels, min(SHARE, filters))
    for number in prange(splits * down * across):
        task, mine = np.int64(number), scratch[get_thread_id()]
        split, c, k, total = task // (down * across), task // across % down * channels, task % across * filters, task * places * plane
        begin, end, behind_c, behind_k = tiles * split // splits, tiles * (split + 1) // splits, min(form.C, c + channels), min(form.K, k + filters)
        edge, v, z = mine[:places * row], mine[places * row:places * (row + v_plane)], mine[places * (row + v_plane):]
        if begin == end:
            sums[total:total + places * plane] = 0
        for first in range(begin, end, block):
            count = min(block, end - first)
            input_tiles(form, first, first + count, c, behind_c, x, x0, edge, v, 0, channels, v_plane)
            for some in range(k, behind_k, SHARE):
                behind = min(behind_k, some + SHARE)
                gradient_tiles(form, first, first + count, some, behind, dy, dy0, edge, z, 0, z_plane)
                for i in range(places):
                    multiply_panels(behind_c - c, behind - some, count, v, i * v_plane, 1, channels, True, z, i * z_plane, (i + 1) * z_plane,
                                    sums, total + i * plane + some - k, filters, first > begin)


@jit
def gradient_tiles(form, first, end, some, behind, dy, dy0, edge, z, z0, plane):
    """Z of the tiles from `first` to `end`, filters from `some` to `behind`, in panels: ready to be multiplied."""
    n, m, L, W = constant_of(form, "SIZE"), constant_of(form, "OUTPUTS"), lanes(dy), panel_width(dy)
    filters, pixel = behind - some, form.target_pixel
    row = whole_vectors(filters, dy)
    for t in range(first, end):
        image, top, left, below, beside = place_on_sheet(form, t, m)
        at = dy0 + some + ((image * form.P + top) * form.Q + left) * pixel
        inside = top + m <= form.P and left + m <= form.Q and image < form.images and filters % L == 0
        if not inside:
            copy_square(form, dy, dy0 + some, pixel, filters, image, top, left, form.P, form.Q, below, beside, m, edge, row)
        for k in range(0, filters, L):
            panel = k - k % W
            width = whole_vectors(min(W, filters - panel), dy)
            into = z0 + panel * (end - first) + (t - first) * width + k - panel
            if inside:
                transform(form, "output_grad", dy, at + k, form.Q * pixel, pixel, z, into, n * plane, plane)
            else:
                transform(form, "output_grad", edge, k, m * row, row, z, into, n * plane, plane)


@jit(parallel=True)
def _finish(form, sums, splits, block, channels, filters, scratch, dw, w0):
    """dW = G^T dU G, where dU is the sum of the splits' shares. What a thread has added up, it takes again, where there is one split."""
    L = lanes(sums)
    across, high, wide = (form.K + filters - 1) // filters, (channels + L - 1) // L, (filters + FILTERS - 1) // FILTERS  # parts beside each other; tasks of a part
    every = (form.C + channels - 1) // channels * across
    part_size = constant_of(form, "SIZE") ** 2 * channels * filters
    for number in prange(every * high * wide):
        part, i, j = np.int64(number) // (high * wide), np.int64(number) // wide % high * L, np.int64(number) % wide * FILTERS
        c, k = part // across * channels + i, part % across * filters + j
        behind = min(form.K, k + min(FILTERS, filters - j))
        if c < form.C and k < behind:
            dU = part * part_size + i * filters + j
            _finish_some(form, sums, dU, filters, channels * filters, splits, every * part_size, c, min(L, form.C - c), k, behind, scratch[get_thread_id()], dw, w0)


@jit
def _finish_some(form, sums, dU, row, plane, splits, split, c, channels, some, behind, scratch, dw, w0):
    """A vector of channels, filters from `some` to `behind`, whose dU begins at sums[dU]. row, plane, split: elements from a channel, a place, a split to the next.

    scratch: (vector of filters, channel and tap, filter), and then one vector's (filter, channel and tap).
    """
    n, R, L = constant_of(form, "SIZE"), constant_of(form, "TAPS"), lanes(sums)
    taps = R * R
    run, square = channels * taps, taps * L * L
    turned = (behind - some + L - 1) // L * square
    for channel in range(channels):  # in the order in which dU lies
        for k in range(some, behind, L):
            at = dU + channel * row + k - some
            for other in range(1, splits):
                for i in range(n * n):
                    here = at + i * plane
                    store(sums, here, add(load(sums, here), load(sums, here + other * split)))
            transform(form, "filter_grad", sums, at, n * plane, plane, scratch, (k - some) // L * square + channel * taps * L, R * L, L)
    for k in range(some, behind, L):
        for e in range(0, run, L):
            store_tile(transpose(load_square(scratch, (k - some) // L * square + e * L, L)), scratch, turned + e, taps * L, L)
        for lane in range(min(L, behind - k)):
            into, values = w0 + ((k + lane) * form.C + c) * taps, turned + lane * taps * L
            for e in range(0, run, L):
                store_part(dw, into + e, min(L, run - e), load(scratch, values + e))
