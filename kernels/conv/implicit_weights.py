"""The weight gradient without unfolding the image, on channels-last memory: the same tile as in implicit.py, with the roles of its lists exchanged.

    dW[tap, c, k] = sum over pixels of  X[where the pixel's window has that tap, c] * dY[pixel, k]

**Idea.** A tile is 8 weights (a tap and a channel each) of 32 filters, and the sum runs over pixels. Each step takes from one pixel's window the elements under
the 8 taps and channels, and that pixel's row of dY. Forward had a list of pixels and moved through taps; here is a list of taps and channels, and the loop moves
through pixels. Rows of dY are packed beforehand, so that each load is the next vector; X is read where it lies, or copied with zeros around it (as in implicit.py).

**Threads** share out filters and taps, each of which one thread sums over all images; where these are few, images are shared out too, and the partial sums added
in order. All this is decided by shape alone.

**Napkin.** 2*N*K*P*Q*(C/G)*R*S FLOPs, a step does 512 of them on 40 numbers loaded: arithmetic is the bound. A block of pixels (about a hundred) is summed in
registers and then added to what the thread has so far: 256 numbers read and written for 256 * 100 products.
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
from ..simd.tile import ROWS, VECTORS, zero_tile
from ..simd.vector import lanes
from .correlation import forward_axis, parts, plan
from .implicit import copy_block, list_pixels
from .sizes import sizes
from .workspace import workspace

TASKS = 16  # wanted, so that threads have something to share out
FILTERS = 64  # of a task: 2 panels
SUMS = 384 << 10  # elements of a task's sums, about: they stay in the second-level cache
PARTIAL = 8 << 20  # elements of all partial sums together, at most
PIXELS = 1024  # of a block, at most


class Share(NamedTuple):
    """How a weight gradient is cut into tasks."""

    filters: int
    weights: int  # of one filter
    splits: int  # of the sum over blocks of pixels
    tasks: int
    copied: int  # elements of a task's copy of x
    packed: int  # and of its rows of dy
    sums: int


@lru_cache(maxsize=1024)
def weight_plan(n, geometry):
    """(Plan, Share, where): where[i] is how far behind the beginning of a window weight i of a filter looks, i = tap * C + channel."""
    if (n.R, n.S) == (1, 1) and geometry.stride == (1, 1) and geometry.padding == (0, 0):
        n = n._replace(N=1, H=n.N * n.H * n.W, W=1, P=n.N * n.P * n.Q, Q=1)
    down, across = (forward_axis(*axis) for axis in zip((n.P, n.Q), (n.R, n.S), *geometry[:3]))
    p, shifts = plan(n.N, n.G, (n.H, n.W, n.C), (n.P, n.Q, n.K, n.K), down, across)
    if p.block_rows * n.Q > PIXELS:
        rows = parts(n.P, parts(n.P, max(1, PIXELS // n.Q)))
        p = p._replace(block_images=1, block_rows=rows, copied_H=(rows - 1) * p.stride_down + down.reach)
    where = (shifts[:, None] + np.arange(p.run)).reshape(-1)
    filters = parts(parts(p.filters, parts(p.filters, FILTERS)), 32) * 32
    weights = parts(parts(len(where), parts(len(where) * filters, SUMS)), ROWS) * ROWS
    tasks = n.G * parts(p.filters, filters) * parts(len(where), weights)
    splits = max(1, min(parts(TASKS, tasks), p.blocks, PARTIAL // max(1, n.K * len(where))))
    pixels = p.block_images * p.block_rows * p.columns
    return p, Share(filters, weights, splits, tasks * splits, p.scratch, pixels * filters, weights * filters), where


def scratch(n, geometry):
    """A row for each thread, and the partial sums."""
    _, share, where = weight_plan(n, geometry)
    return (share.copied + share.packed + share.sums) * numba.get_num_threads() + (share.splits * n.K * len(where) if share.splits > 1 else 0)


def weight_grad(dy, x, w_shape, geometry):
    """dw (K, C/groups, R, S) from dy (N, K, P, Q) and x (N, C, H, W)."""
    n = sizes(x.shape, w_shape, geometry)
    p, share, where = weight_plan(n, geometry)
    partial = np.empty((share.splits, *w_shape), x.dtype)
    with workspace(share.copied + share.packed + share.sums, x.dtype) as memory:
        _weight_grad(share.tasks, nhwc(x).reshape(-1), nhwc(dy).reshape(-1), partial.reshape(-1), p, share, where, n.R * n.S, memory)
    return partial[0] if share.splits == 1 else partial.sum(0)


@jit(parallel=True)
def _weight_grad(tasks, x, dy, dw, p, share, where, taps, scratch):
    for task in prange(tasks):
        _weight_share(np.int64(task), x, dy, dw, p, share, where, taps, scratch[get_thread_id()])


@jit
def _weight_share(task, x, dy, dw, p, share, where, taps, mine):
    """Some weights of some filters of one group, summed over a share of the images."""
    across, down = (p.filters + share.filters - 1) // share.filters, (len(where) + share.weights - 1) // share.weights
    k, task = task % across * share.filters, task // across
    first, task = task % down * share.weights, task // down
    g, split = task % p.groups, task // p.groups
    filters, weights = min(share.filters, p.filters - k), min(share.weights, len(where) - first)
    looks = where[first:first + weights]
    copied, packed, sums = mine[:share.copied], mine[share.copied:share.copied + share.packed], mine[share.copied + share.packed:]
    sums[:] = 0
    bands = (p.rows + p.block_rows - 1) // p.block_rows
    count = (p.images + p.block_images - 1) // p.block_images * bands
    for block in range(split * count // share.splits, (split + 1) * count // share.splits):
        image, row = block // bands * p.block_images, block % bands * p.block_rows
        images, rows = min(p.block_images, p.images - image), min(p.block_rows, p.rows - row)
        pixels = images * rows * p.columns
        read, write = np.empty(pixels, np.int64), np.empty(pixels, np.int64)
        list_pixels(image, images, row, rows, g, p, read, write)
        if not p.in_place:
            copy_block(x, image, images, row, rows, g, p, copied)
        y0 = (image * p.rows + row) * p.columns * p.pixel + g * p.filters + k
        pack_rows(pixels, filters, dy, y0, p.pixel, packed, 0)
        _add_block(x if p.in_place else copied, read, packed, looks, sums, filters)
    _store_sums(sums, filters, weights, ((split * p.groups + g) * p.filters + k) * len(where), first, len(where), p.depth, taps, dw)


@jit
def _add_block(x, read, packed, looks, sums, filters):
    """sums[i, k] += the products of all pixels: panel by panel of filters, tile by tile of weights."""
    for k in range(0, filters, panel_width(x)):
        columns = min(panel_width(x), filters - k)
        width = whole_vectors(columns, x)
        if width > lanes(x):
            _add_panel(zero_tile(x, ROWS, VECTORS), x, read, packed, len(read) * k, width, looks, sums, len(looks) * k)
        else:
            _add_panel(zero_tile(x, ROWS, 1), x, read, packed, len(read) * k, width, looks, sums, len(looks) * k)


@jit
def _add_panel(nothing, x, read, dy, dy0, width, looks, sums, s0):
    last = len(looks) - 1
    for i in range(0, len(looks), ROWS):
        places = places_of(nothing, looks, i, last)
        tile = nothing
        for pixel in range(len(read)):
            tile = add_outer_at(tile, x, places, read[pixel], dy, dy0 + pixel * width)
        rows = rows_of(nothing, i, last, width)
        store_tile_at(add_stored_at(tile, sums, rows, s0, width), sums, rows, s0, width)


@jit
def _store_sums(sums, filters, weights, w0, first, row, C, taps, dw):
    """Turn sums (panels of (weight, filter), weight = tap * C + channel) into filters (K, C, R, S)."""
    W = panel_width(sums)
    for k in range(filters):
        panel = k - k % W
        width = whole_vectors(min(W, filters - panel), sums)
        for i in range(weights):
            tap, c = (first + i) // C, (first + i) % C
            dw[w0 + k * row + c * taps + tap] = sums[panel * weights + i * width + k - panel]
