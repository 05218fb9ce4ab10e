"""Convolution as a matrix product that never unfolds the image (implicit GEMM), on channels-last memory: any filter, stride, padding, dilation, groups.

    Y[pixel, k] = sum over taps and channels of  X[where the pixel's window has that tap, c] * W[tap, c, k]

**Idea.** A tile of Y, 8 pixels by 32 filters, is summed in registers (kernels/simd/places.py). Each step takes one element for each of the 8 pixels and a row of 32
weights. The elements of the 8 pixels are anywhere, but at each step they move on together: through the channels of a pixel, through the pixels under a row
of the filter (which lie in a row), and from there to the next row by a jump that is the same for all. So eight addresses and a short list of jumps replace the
unfolded image. Weights are packed beforehand in the order in which they are met, 32 filters side by side.

Where windows stick out of the image, a task first copies the rows that it reads into its scratch memory, with zeros around them; where they do not, as for every
1x1 filter, it reads them where they lie. And where there are eight images or more, a tile is one place of eight: all have the same taps outside, a third of the products
for 5x5 filters on 7x7 images, 9% for 3x3 with stride 2 on 14x14, which are left out; nothing is copied, and no tile is left half empty. 3 input channels, as in a first
layer, are nothing special: 7 pixels of a row are 21 elements in a row.

The input gradient is the same loop on dy, phase by phase: see correlation.py (that of a first layer is not: first_gradient.py). Bias, a residual and the ReLU are
applied to the tile while it is in registers.

**Threads** share out blocks of images, rows and filters, cut by shape alone; each result is computed by one thread, in one order.

**Napkin.** 2*N*K*P*Q*(C/G)*R*S FLOPs. A step does 512 of them on 40 numbers loaded: arithmetic is the bound, 175 GFLOP/s on a Sapphire Rapids core. The copy moves
each element once for all taps and filters. What is lost: lanes where K is not a multiple of 16, and rows where a block's pixels are not a multiple of 8.
Measured on two cores (350 GFLOP/s, 23 GB/s): 280 to 300 GFLOP/s with filters larger than 1x1, 220 to 260 with 1x1, where memory is near; PyTorch is up to a tenth faster
there. On a Zen 4 (230 GFLOP/s) 512 channels, 3x3, stride 2 and 7x7 results are 204 pixel by pixel, 236 with eight images abreast.
"""
from functools import cache, lru_cache

import numba
import numpy as np
from numba import get_thread_id, prange
from numba.np.unsafe.ndarray import to_fixed_tuple

from ..graph.record import noted
from ..matmul.block import pack_b, panel_width, whole_vectors
from ..memory import empty_channels_last, flat, past_cache
from ..runtime import contiguous, jit
from ..simd.places import add_outer_at, add_row, add_stored_at, clamp_tile, places_of, prefetch_at, store_tile_at, stream_tile_at
from ..simd.tile import ROWS, VECTORS, columns_of, load_square, store_tile, transpose, zero_tile, zeros_like
from ..simd.vector import lanes, load, load_part, prefetch, store, store_part, zero
from .correlation import KEPT, LANES, UNIT, Plan, forward_axis, gradient_axes, numbers, parts, plan, share_inside
from .epilogue import NOTHING
from .outputs import source, target
from .sizes import sizes
from .workspace import aligned, workspace

NAME = "implicit"
RATE = 125e9  # FLOP/s of one core
MOVE = 0.3e-9  # seconds to copy or pack an element
LINE = 16  # elements of a cache line
READ, SUM = 0.5e-9, 2.5e-9  # seconds to fetch a weight, and to add up the parts of a weight's gradient
NUMBERS = len(Plan._fields)
TILE, LIST = 20e-9, 5e-9  # seconds to begin a tile, and to list a pixel


def cost(form, n, geometry, dtype):
    """The products, with lanes that are not used; the copy; weights; and for each group beginning its tiles and listing its pixels."""
    if form == "weight_grad":
        from . import pointwise_weights
        if pointwise_weights.is_pointwise(n, geometry):
            return pointwise_weights.cost(n, dtype)
    if form == "input_grad":
        from . import first_gradient
        if first_gradient.is_first(n, geometry):
            return first_gradient.cost(n, dtype)
    filters = n.C if form == "input_grad" else n.K
    used = parts(filters // n.G, 16) * 16 * n.G / filters
    moved = n.N * (n.H * n.W * n.C * (n.R * n.S > 1) + n.P * n.Q * n.K * (form == "weight_grad")) * MOVE
    moved += n.K * n.C // n.G * n.R * n.S * (SUM if form == "weight_grad" else READ)
    pixels = n.N * n.G * (n.H * n.W if form == "input_grad" else n.P * n.Q)
    return (n.flops * used * _share_inside(form, n, geometry) / RATE + moved) * (dtype.itemsize / 4) + pixels * (LIST + TILE / ROWS * parts(filters // n.G, 32)) + 20e-6


def _share_inside(form, n, geometry):
    """The share of all products that is computed."""
    if form == "forward":
        down, across = (forward_axis(*axis) for axis in zip((n.P, n.Q), (n.R, n.S), *geometry[:3]))
        return share_inside(n.N, n.G, (n.H, n.W, n.C, n.C), down, across)
    if form == "input_grad" and geometry.stride == (1, 1):
        down, across = (next(gradient_axes(*axis)) for axis in zip((n.H, n.W), (n.R, n.S), *geometry[:3]))
        return share_inside(n.N, n.G, (n.P, n.Q, n.K, n.K), down, across)
    return 1


def scratch(form, n, geometry):
    """A row for each thread."""
    if form == "weight_grad":
        from . import implicit_weights
        return implicit_weights.scratch(n, geometry)
    if form == "input_grad":
        from . import first_gradient
        if first_gradient.is_first(n, geometry):
            return first_gradient.scratch(n, geometry, np.dtype(np.float32)) * numba.get_num_threads()
    plans = [_forward_plan(n, geometry)] if form == "forward" else [planned for planned, _ in _gradient_plans(n, geometry)[0]]
    return max(p.scratch for p, _ in plans) * numba.get_num_threads()


# ------------------------------------------------------------------------------------------------------------------ the three forms


def pack(w, x_shape, geometry, once=False):
    """Filters (K, C/G, R, S) in the order in which forward meets them: for each group, panels of 32 filters, in each (tap, channel, filter)."""
    return pack_filters(w, geometry.groups, _all_taps(w.shape[2] * w.shape[3]), columns="filters").reshape(-1)


def forward(x, packed, w_shape, bias, geometry, epilogue=NOTHING):
    """y (N, K, P, Q), channels-last, from x (N, C, H, W)."""
    return prepare(x.shape, packed, w_shape, bias, geometry, epilogue)(x, epilogue.add)


def prepare(x_shape, packed, w_shape, bias, geometry, epilogue=NOTHING, x_pixel=None):
    """The function of x, and of what is added, that forward is for images of this shape. x_pixel: elements from pixel to pixel of x, if there are gaps."""
    n = sizes(x_shape, w_shape, geometry)
    y, memory, start, y_pixel = target(epilogue.out, (n.N, n.K, n.P, n.Q), packed.dtype)
    run = correlation(packed, memory, start, _forward_plan(n, geometry, y_pixel, x_pixel), bias, epilogue.relu, epilogue.in_place)

    def forward(x, add=None):
        run(source(x, x_pixel), add)
        return y
    return forward


def input_grad(dy, w, x_shape, geometry, add=None):
    """dx (N, C, H, W), channels-last, from dy (N, K, P, Q) and w, plus `add`."""
    from . import first_gradient
    n = sizes(x_shape, w.shape, geometry)
    if first_gradient.is_first(n, geometry):
        return first_gradient.input_grad(dy, w, x_shape, geometry, add)
    dx = empty_channels_last(x_shape, dy.dtype)
    memory, dy = flat(dx), source(dy)
    plans, phases = _gradient_plans(n, geometry)
    packed, first = pack_filters(w, n.G, phases, columns="channels"), 0
    for planned, taps in plans:
        correlation(packed[first:first + taps].reshape(-1), memory, 0, planned)(dy, add)
        first += taps
    return dx


def weight_grad(dy, x, w_shape, geometry):
    """dw (K, C/groups, R, S) from dy (N, K, P, Q) and x."""
    from . import implicit_weights
    return implicit_weights.weight_grad(dy, x, w_shape, geometry)


@lru_cache(maxsize=1024)
def _forward_plan(n, geometry, y_pixel=None, x_pixel=None):
    """(Plan, shifts) of a forward pass, from and into arrays whose pixels are so many elements apart."""
    if (n.R, n.S) == (1, 1) and geometry.stride == (1, 1) and geometry.padding == (0, 0):
        n = n._replace(N=1, H=n.N * n.H * n.W, W=1, P=n.N * n.P * n.Q, Q=1)  # pixels that have nothing to do with each other: one column of them
    down, across = (forward_axis(*axis) for axis in zip((n.P, n.Q), (n.R, n.S), *geometry[:3]))
    return plan(n.N, n.G, (n.H, n.W, x_pixel or n.C, n.C), (n.P, n.Q, y_pixel or n.K, n.K), down, across)


@lru_cache(maxsize=1024)
def _gradient_plans(n, geometry):
    """([((Plan, shifts), number of taps) of each pair of phases of an input gradient], phases for pack_filters)"""
    if (n.R, n.S) == (1, 1) and geometry.stride == (1, 1) and geometry.padding == (0, 0):
        n = n._replace(N=1, H=n.N * n.H * n.W, W=1, P=n.N * n.P * n.Q, Q=1)
    rows, columns = (tuple(gradient_axes(*axis)) for axis in zip((n.H, n.W), (n.R, n.S), *geometry[:3]))
    plans, phases = [], np.full((3, n.R * n.S), -1)
    for down in rows:
        for across in columns:
            taps = [r * n.S + s for r in down.taps for s in across.taps]
            phases[0, taps], phases[1, taps], phases[2, taps] = sum(count for _, count in plans), len(taps), np.arange(len(taps))
            plans.append((plan(n.N, n.G, (n.P, n.Q, n.K, n.K), (n.H, n.W, n.C, n.C), down, across), len(taps)))
    return plans, phases


# ------------------------------------------------------------------------------------------------------------------ packing


def pack_filters(w, groups, phases, columns):
    """Weights (K, C/G, R, S) as panels, a row for each tap. columns: what lies side by side in a panel, "filters" (forward) or "channels" (input gradient, whose sum is
    over filters). Some taps make a phase, whose rows together are, group by group and panel by panel, (tap, inner, 32).

    phases (3, R*S): for each tap how many rows the phases before its own have, how many its own has, and which of those is its; -1 for one that meets nothing.
    """
    w = contiguous(w)
    K, C, R, S = w.shape
    inner, inner_step, outer, outer_step = (C, R * S, K // groups, C * R * S) if columns == "filters" else (K // groups, C * R * S, C, R * S)
    rows, tap = int((phases[1] >= 0).sum()), groups * inner * 16 * parts(outer, 16)  # elements of a tap: enough for any vector
    packed = aligned(rows * tap, w.dtype).reshape(rows, tap)
    if rows:
        _pack_filters(w.reshape(-1), groups, K // groups * C * R * S, phases, inner, inner_step, outer, outer_step, packed)
    return packed


@cache
def _all_taps(count):
    """The phases of a forward pass: all taps are one."""
    return np.stack([np.zeros(count, np.int64), np.full(count, count), np.arange(count)])


@jit(parallel=True)
def _pack_filters(w, groups, group_step, phases, inner, inner_step, outer, outer_step, packed):
    W, taps = panel_width(w), phases.shape[1]
    panels, into = (outer + W - 1) // W, packed.reshape(-1)
    for task in prange(groups * panels):
        g, first = np.int64(task) // panels, np.int64(task) % panels * W
        columns = min(W, outer - first)
        source, before = g * group_step + first * outer_step, (g * whole_vectors(outer, w) + first) * inner
        if taps == 1:
            pack_b(inner, columns, w, source, inner_step, outer_step, into, before)
        else:
            places = phases[0] * packed.shape[1] + phases[1] * before + phases[2] * inner * whole_vectors(columns, w)
            places[phases[1] < 0] = -1
            _pack_panel(w, source, inner, inner_step, columns, outer_step, into, places)


@jit
def _pack_panel(w, source, inner, inner_step, columns, outer_step, packed, places):
    """A panel from weights whose taps lie in a row, as perhaps do the taps of all channels: square by square, turned in registers. places: where that of each tap is."""
    width, L, taps = whole_vectors(columns, w), lanes(w), len(places)
    run, runs = (inner * taps, 1) if inner_step == taps else (taps, inner)
    square = np.empty(L * L, w.dtype)
    for v in range(0, width, L):
        for i in range(runs):
            for e in range(0, run, L):
                turn(w, source + v * outer_step + i * inner_step + e, outer_step, min(L, columns - v), min(L, run - e), square)
                for j in range(min(L, run - e)):
                    row = i + (e + j) // taps if runs == 1 else i
                    place = places[(e + j) % taps]
                    if place >= 0:
                        store(packed, place + row * width + v, load(square, j * L))


@jit
def turn(w, w0, step, rows, columns, square):
    """square[j, i] = element j of row i of the matrix at w0 whose rows are `step` apart; 0 in rows that are not there."""
    L = lanes(w)
    if rows == L and w0 + (L - 1) * step + L <= w.size:
        store_tile(transpose(load_square(w, w0, step)), square, 0, L, L)
    else:
        for j in range(columns):
            for i in range(L):
                square[j * L + i] = w[w0 + i * step + j] if i < rows else 0


# ------------------------------------------------------------------------------------------------------------------ the loop


def correlation(packed, out, start, planned, bias=None, relu=False, in_place=False):
    """The function of a flat source that runs a plan: out[start + ...] = the correlation of the source with packed filters, and the epilogue."""
    p, shifts = planned
    dtype, tasks, scratch, plan = packed.dtype, p.tasks, p.scratch, numbers(p)
    nothing = np.zeros(0, dtype)
    biases = nothing if bias is None else padded_bias(bias, p.groups)
    stream = start == 0 and not in_place and past_cache(out, p.pixel) and p.filters % LANES == 0

    def run(x, add=None):
        add = nothing if add is None else source(add)
        with workspace(scratch, dtype) as (memory, _):
            _correlate(tasks, x, packed, biases, add, relu, stream, out, start, plan, shifts, memory)
    return run


@noted
def padded_bias(bias, groups):
    """The bias with each group's share filled up to whole panels."""
    filters = len(bias) // groups
    if filters % LANES == 0:
        return contiguous(bias)
    padded = np.zeros((groups, parts(filters, 32) * 32), bias.dtype)
    padded[:, :filters] = bias.reshape(groups, filters)
    return padded.reshape(-1)


@jit(parallel=True)
def _correlate(tasks, x, w, bias, add, relu, stream, y, y0, plan, shifts, scratch):
    p = Plan(*to_fixed_tuple(plan, NUMBERS))
    copied = np.full(len(scratch), -1)  # which block each thread has read last (and copied to its scratch memory): tasks of the same block follow one another
    for task in prange(tasks):
        thread = get_thread_id()
        copied[thread] = _correlate_block(np.int64(task), x, w, bias, add, relu, stream, y, y0, p, shifts, scratch[thread], copied[thread])


@jit
def _correlate_block(task, x, w, bias, add, relu, stream, y, y0, p, shifts, mine, copied):
    """The results of some images, some rows, some filters of one group. copied: the block that the thread has read, and `mine` a copy of; returns which it is now."""
    images, rows, some = p.block_images, p.block_rows, p.block_filters
    shares, bands = (p.filters + some - 1) // some, (p.rows + rows - 1) // rows
    k, task = task % shares * some, task // shares
    block, g, task = task, task % p.groups, task // p.groups
    band, image = task % bands, task // bands * images
    unit = UNIT if p.columns == 1 else 1
    units = (p.rows + unit - 1) // unit
    row, behind = units * band // bands * unit, units * (band + 1) // bands * unit
    images, rows = min(images, p.images - image), min(behind, p.rows) - row
    pixels = rows * p.columns * ((images + ROWS - 1) // ROWS * ROWS if p.abreast else images)
    read, write, taps = np.empty(pixels, np.int64), np.empty(pixels, np.int64), np.empty(((pixels + ROWS - 1) // ROWS, 4), np.int64)
    if p.abreast:
        list_abreast(image, images, row, rows, len(shifts), p, read, write, taps)
    else:
        list_pixels(image, images, row, rows, g, p, read, write)
        for tile in range(len(taps)):
            taps[tile, 0], taps[tile, 1], taps[tile, 2], taps[tile, 3] = 0, len(shifts), 0, p.run
    residual = write // p.pixel * (p.filters * p.groups) if add.size else write
    if not p.in_place and shifts.size and block != copied:
        copy_block(x, image, images, row, rows, g, p, mine)
    end, W = min(k + some, p.filters), panel_width(w)
    weights = (g * whole_vectors(p.filters, w)) * shifts.size * p.run
    source, y0, b0 = x if p.in_place else mine, y0 + g * p.filters, g * ((p.filters + 31) // 32 * 32)
    whole = k + (end - k) // W * W
    wide, narrow, a0 = zero_tile(w, ROWS, VECTORS), zero_tile(w, ROWS, 1), g * p.filters
    new = block != copied
    for rest in range(2):  # whole panels; and what is left of one, unless a single vector holds it
        first, behind, columns = (whole, end, end - whole) if rest else (k, whole, W)
        if behind > first and columns > lanes(w):
            _tiles(wide, source, read, taps, new and first == k, first, behind, columns, shifts, p, w, weights, bias, b0, add, residual, a0, relu,
                   stream and not rest, y, y0, write)
    if 0 < end - whole <= lanes(w):
        _tiles(narrow, source, read, taps, new and whole == k, whole, end, end - whole, shifts, p, w, weights, bias, b0, add, residual, a0, relu, False, y, y0, write)
    return block


@jit
def _tiles(nothing, x, read, taps, new, first, end, columns, shifts, p, w, w0, bias, b0, add, residual, a0, relu, stream, y, y0, write):
    """The filters from `first` to `end`, `columns` at a time, at all pixels of a block. nothing: a tile of that shape. new: whether x may be far away. taps: see
    list_abreast.

    If all their weights stay in the second-level cache, it goes pixel by pixel, so that results are written in a row; else panel by panel of weights, each of which
    stays in the nearest cache. Either way the weights that come next are asked for in good time: the next panel, or those of the next task. (One function with
    everything in it: Numba counts references to each array whenever it is passed on.)
    """
    tiles, last, depth, width = len(taps), len(read) - 1, len(shifts) * p.run, columns_of(nothing)
    together = end - first if depth * (end - first) <= KEPT else columns  # filters that a tile meets before the next one begins
    further = (together + columns - 1) // columns * columns  # from a panel to the one that is asked for meanwhile
    lines = max(1, (2 * LINE + tiles - 1) // tiles)  # of it, that each tile asks for while 16 of its own steps pass: 32 lines
    for begin in range(first, end, together):
        for number in range(tiles):
            o = number * ROWS
            places, soon, into = places_of(nothing, read, o, last), places_of(nothing, read, o + ROWS, last), places_of(nothing, write, o, last)
            added = places_of(nothing, residual, o, last)
            top, bottom, left, right = taps[number, 0], taps[number, 1], taps[number, 2], taps[number, 3]
            for f in range(begin, begin + together, width):
                tile = zeros_like(nothing)
                if add.size:  # what this tile will be added to, while it is computed
                    for line in range(a0 + f, a0 + f + columns, LINE):
                        prefetch_at(nothing, add, added, line)
                foresee = number * lines < 2 * LINE and f + further < p.filters
                ahead = w0 + (f + further) * depth + number * lines * depth
                row, outside = w0 + f * depth + (top * p.run + left) * width, (p.run - right + left) * width
                for t in range(top, bottom):
                    behind = shifts[t] + right
                    for line in range(shifts[t] + left, behind, LINE):
                        if new and f == first:
                            prefetch_at(nothing, x, soon, line)  # eight pixels at once are more streams than the machine foresees by itself
                        if foresee:
                            for _ in range(lines):
                                prefetch(w, ahead)
                                ahead += LINE
                        for j in range(line, min(line + LINE, behind)):
                            tile = add_outer_at(tile, x, places, j, w, row)
                            row += width
                    row += outside
                if bias.size:
                    tile = add_row(tile, bias, b0 + f)
                if add.size:
                    tile = add_stored_at(tile, add, added, a0 + f, columns)
                if relu:
                    tile = clamp_tile(tile)
                if stream:
                    stream_tile_at(tile, y, into, y0 + f)
                else:
                    store_tile_at(tile, y, into, y0 + f, columns)


@jit
def list_pixels(image, images, row, rows, g, p, read, write):
    """For each result of a block: where its window begins in the source (or its copy), and where it is written. From row to row it is equally far."""
    for i in range(images):
        for q in range(p.columns):
            if p.in_place:
                h, w = row * p.stride_down + p.low_down, q * p.stride_across + p.low_across
                source, down = (((image + i) * p.H + h) * p.W + w) * p.C + g * p.depth, p.stride_down * p.W * p.C
            else:
                source, down = (i * p.copied_H * p.copied_W + q * p.stride_across) * p.pitch, p.stride_down * p.copied_W * p.pitch
            h, w = p.top + row * p.step_down, p.left + q * p.step_across
            target, below = (((image + i) * p.target_H + h) * p.target_W + w) * p.pixel, p.step_down * p.target_W * p.pixel
            for r in range(rows):
                o = (i * rows + r) * p.columns + q
                read[o], write[o] = source + r * down, target + r * below


@jit
def list_abreast(image, images, row, rows, rows_of_taps, p, read, write, taps):
    """As list_pixels, with one place of eight images after the other (the last image for those that are not there). taps, for each tile: from which row of taps to
    which one, and from which element of a row to which one, its windows are inside the source."""
    o = 0
    for r in range(rows):
        for q in range(p.columns):
            h, w = (row + r) * p.stride_down + p.low_down, q * p.stride_across + p.low_across
            for i in range((images + ROWS - 1) // ROWS * ROWS):
                if i % ROWS == 0:
                    tile = o // ROWS
                    taps[tile, 0], taps[tile, 1] = max(0, -h), min(rows_of_taps, p.H - h)
                    taps[tile, 2], taps[tile, 3] = max(0, -w) * p.C, min(p.run, (p.W - w) * p.C)
                i_th = image + min(i, images - 1)
                read[o] = ((i_th * p.H + h) * p.W + w) * p.C
                write[o] = ((i_th * p.target_H + p.top + (row + r) * p.step_down) * p.target_W + p.left + q * p.step_across) * p.pixel
                o += 1


@jit
def copy_block(x, image, images, row, rows, g, p, mine):
    """What the windows of a block cover, one group's channels, with zeros where that is outside the source."""
    H, W, C = p.H, p.W, p.C
    top, left = row * p.stride_down + p.low_down, p.low_across
    covered = (rows - 1) * p.stride_down + p.copied_H - (p.block_rows - 1) * p.stride_down  # rows, of a block that may have fewer
    width = p.copied_W
    first, end = max(0, -left), min(width, W - left)
    for i in range(images):
        for h in range(covered):
            at = (i * p.copied_H + h) * width * p.pitch
            if 0 <= top + h < H and first < end:
                clear(mine, at, first * p.pitch)
                pixel = (((image + i) * H + top + h) * W + left + first) * C + g * p.depth
                if p.pitch == C:
                    copy(x, pixel, mine, at + first * p.pitch, (end - first) * C)
                else:
                    for w in range(end - first):
                        copy(x, pixel + w * C, mine, at + (first + w) * p.pitch, p.depth)
                clear(mine, at + end * p.pitch, (width - end) * p.pitch)
            else:
                clear(mine, at, width * p.pitch)


@jit
def copy(x, x0, y, y0, count):
    """y[y0:y0 + count] = x[x0:x0 + count]"""
    L = lanes(x)
    for j in range(0, count - L + 1, L):
        store(y, y0 + j, load(x, x0 + j))
    rest = count % L
    if rest:
        store_part(y, y0 + count - rest, rest, load_part(x, x0 + count - rest, rest))


@jit
def clear(y, y0, count):
    """y[y0:y0 + count] = 0"""
    L = lanes(y)
    for j in range(0, count, L):
        store_part(y, y0 + j, min(L, count - j), zero(y))
