"""A convolution without its details: what forward and input gradient have in common, and the plan by which the kernel in implicit.py computes either.

Along each axis, result i reads the source at i*stride + offset for a few offsets, one for each tap, and is written at first + i*step:

    forward      y[p]      reads x at  p*stride + r*dilation - padding          for all r
    input_grad   dx[h]     reads dy at p  wherever  h = p*stride + r*dilation - padding  has an integer p

For stride 1 the second is p = h + padding - r*dilation: the filter turned round. For larger strides the h fall into `stride` classes (phases), by the remainder of
h + padding; all h of a class see the same taps r, and from one to the next p moves by 1. So an input gradient is a correlation with some of the taps for each
pair of phases, and nothing is multiplied by the zeros that a dilated dy would have (Dumoulin & Visin 2016, section 4.6, inserts them).
"""
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..simd.tile import ROWS


class Axis(NamedTuple):
    """One axis of a correlation."""

    count: int  # results
    first: int  # where result 0 is written
    step: int  # from one result's place to the next
    stride: int  # from where one result reads to where the next does
    taps: tuple  # of the filter, in the order of their offsets
    offsets: tuple  # ascending

    @property
    def reach(self):
        """Source elements from the first to the last that one result reads; 0 without taps."""
        return self.offsets[-1] - self.offsets[0] + 1 if self.offsets else 0

    @property
    def extent(self):
        """Source elements from the first to the last that anything reads."""
        return (self.count - 1) * self.stride + self.reach if self.offsets else 0

    def inside(self, length):
        """The share of all reads that fall inside a source of that length."""
        reads = np.add.outer(np.arange(self.count) * self.stride, self.offsets)
        return float(np.mean((reads >= 0) & (reads < length))) if reads.size else 1.0

    def sees(self, offset, length):
        """(first, end) of the results that read inside a source of that length by that offset."""
        first = min(self.count, max(0, -(offset // self.stride)))
        return first, max(first, min(self.count, (length - 1 - offset) // self.stride + 1))

    def within(self, length):
        """Whether all reads fall inside a source of that length."""
        return not self.offsets or (self.offsets[0] >= 0 and self.offsets[0] + self.extent <= length)


def forward_axis(results, size, stride, padding, dilation):
    """The axis of a forward pass: `results` positions of a filter of `size`."""
    return Axis(results, 0, 1, stride, tuple(range(size)), tuple(r * dilation - padding for r in range(size)))


def gradient_axes(length, size, stride, padding, dilation):
    """The axes, a phase each, of an input gradient for an input of that length."""
    for first in range(min(stride, length)):
        taps = [r for r in range(size - 1, -1, -1) if (first + padding - r * dilation) % stride == 0]
        offsets = [(first + padding - r * dilation) // stride for r in taps]
        yield Axis((length - 1 - first) // stride + 1, first, stride, 1, tuple(taps), tuple(offsets))


class Plan(NamedTuple):
    """One correlation, cut into tasks. Numbers of elements, except where it says otherwise. Numba kernels take it as it is (flat: they cannot nest tuples)."""

    images: int
    groups: int
    H: int  # of the source, an array (images, H, W, C); C: elements from pixel to pixel
    W: int
    C: int
    depth: int  # channels of the source in one group
    rows: int  # of results
    columns: int
    filters: int  # channels of the target in one group
    target_H: int  # of the target
    target_W: int
    pixel: int  # elements from pixel to pixel of the target
    top: int  # where the result (0, 0) is written, and how far apart results are
    left: int
    step_down: int
    step_across: int
    stride_down: int  # how far apart their windows are
    stride_across: int
    low_down: int  # the smallest offsets
    low_across: int
    block_images: int  # images, rows of results, and filters of one task
    block_rows: int
    block_filters: int
    run: int  # source elements in a row that meet weights in a row
    in_place: bool  # whether the source is read where it lies; else tasks copy what they need, with zeros around it
    copied_H: int  # of one image's part of such a copy, with all rows of a block
    copied_W: int
    pitch: int  # elements from pixel to pixel of the copy
    abreast: bool  # whether a tile is one place of 8 images, or as many as it has rows: all have the same taps outside, which are left out. Copies nothing

    @property
    def tasks(self):
        return self.blocks * self.groups * parts(self.filters, self.block_filters)

    @property
    def blocks(self):
        """Blocks of images and rows."""
        return parts(self.images, self.block_images) * parts(self.rows, self.block_rows)

    @property
    def scratch(self):
        """Elements of a task's copy."""
        return 0 if self.in_place else self.block_images * self.copied_H * self.copied_W * self.pitch


COPY = 128 << 10  # elements of a task's copy, or of what it reads in place, at most (unless one row needs more): a part of the second-level cache
KEPT = 128 << 10  # elements of weights that stay in the second-level cache
UNIT = 8  # results in a row of tiles
PIXELS = 64  # results of a task, at least, if there are as many: they share the filters that a task reads
FEWEST, ENOUGH = 48, 8  # results of a task, at least, where otherwise there would be less than so many tasks
TASKS = 16  # wanted, so that threads have something to share out
EQUAL = 8, 4, 2  # tasks are a multiple of one of these, so that so many threads have equally many: 25 tasks for two threads are 13 and 12, which costs 4%
WORTH = 0.98  # of all products, those inside the source, at most, if the others are to be left out
ABREAST = 512 << 10  # elements that the windows of a row of results cover in 8 images, at most, if these are to be read together
GAP = 16  # elements, a cache line
LANES = 32  # filters are divided among tasks in multiples of this


def plan(images, groups, source, target, down, across):
    """(Plan, shifts): the correlation along the axes `down` and `across`. source, target: (H, W, elements from pixel to pixel, channels) of the arrays.

    shifts: for each run of source elements, how far behind the beginning of a result's window it begins.
    """
    depth, filters = source[3] // groups, target[3] // groups
    abreast = share_inside(images, groups, source, down, across) < 1
    in_place = abreast or (down.within(source[0]) and across.within(source[1]))
    together = ROWS if abreast else 1  # images that go through a block side by side, as if they were one with so many times wider rows
    sets, columns = parts(images, together), across.count * together
    width = source[1] if in_place else across.extent
    touched = min(down.stride, down.reach) * min(width, across.count * across.reach) if in_place else down.stride * width  # pixels, for a row of results
    rows_read = max(1, touched * depth * together)
    rows = max(1, min(down.count, COPY // rows_read))
    if len(down.offsets) * len(across.offsets) * depth * filters <= KEPT:  # then every task may read all weights
        rows = min(rows, max(parts(PIXELS, max(1, columns)), parts(down.count, parts(TASKS, max(1, sets * groups)))))
    rows = max(1, parts(down.count, max(1, parts(down.count, rows))))  # about equal blocks
    if across.count == 1:
        rows = parts(rows, UNIT) * UNIT  # a block of single pixels, without rest in tiles of 8
    at_once = 1 if rows < down.count else max(1, min(sets, parts(PIXELS, max(1, down.count * columns))))
    blocks = parts(sets, at_once) * parts(down.count, rows) * groups
    shares = min(parts(filters, LANES), parts(TASKS, max(blocks, 1)))
    if blocks * shares < ENOUGH and at_once == 1 and down.count:  # few filters on a small image: smaller blocks
        least = parts(FEWEST, columns)
        rows = min(rows, max(least, parts(down.count, parts(ENOUGH, max(1, shares * sets * groups)))))
        rows = parts(down.count, parts(down.count, rows))  # about equal again
        rows = parts(rows, UNIT) * UNIT if across.count == 1 else rows
        blocks = sets * parts(down.count, rows) * groups
    some_filters = parts(parts(filters, shares), LANES) * LANES
    if rows < down.count:
        rows = _equally_many(down.count, rows, UNIT if across.count == 1 else 1, sets * groups * parts(filters, some_filters))
    copied = ((rows - 1) * down.stride + down.reach, across.extent)
    pitch = depth + GAP if depth >= 64 else depth  # pixels a power of two apart would compete for the same places in the cache
    row_gap, pixel = (source[1] * source[2], source[2]) if in_place else (copied[1] * pitch, pitch)
    low = (down.offsets[0] if down.offsets else 0, across.offsets[0] if across.offsets else 0)
    shifts = [(r - low[0]) * row_gap + (s - low[1]) * pixel for r in down.offsets for s in across.offsets]
    run = depth
    if len(across.offsets) == across.reach and depth == pixel:  # the pixels under a row of the filter lie in a row
        shifts, run = shifts[::max(1, len(across.offsets))], depth * len(across.offsets)
    return Plan(images, groups, *source[:3], depth, down.count, across.count, filters, *target[:3], down.first, across.first, down.step, across.step,
                down.stride, across.stride, *low, at_once * together, rows, some_filters, run, in_place, *copied, pitch, abreast), np.array(shifts, np.int64)


@lru_cache(maxsize=1024)
def share_inside(images, groups, source, down, across):
    """The share of all products that is left if tiles are one place of 8 images and taps outside the source are left out: 1 if it does not pay to do so.

    5x5 filters on 7x7 images multiply zeros a third of the time. Images too few to fill tiles count as more.
    """
    H, W, pixel, C = source
    filters_in_a_piece = all(len(axis.offsets) == axis.reach for axis in (down, across)) and groups == 1 and pixel == C
    if not (images and filters_in_a_piece) or ROWS * W * C * down.reach > ABREAST:
        return 1
    share = down.inside(H) * across.inside(W) * parts(images, ROWS) * ROWS / images
    return share if share <= WORTH else 1


def _equally_many(count, rows, unit, others):
    """Rows of a block such that there are equally many tasks for each thread, `others` for each block of the `count` rows: up to a quarter fewer than `rows`."""
    for threads in EQUAL:
        for fewer in range(rows, rows * 3 // 4, -unit):
            tasks = parts(count, fewer) * others
            if tasks >= threads and tasks % threads == 0:
                return fewer
    return rows


@lru_cache(maxsize=4096)
def numbers(plan):
    """A tuple of numbers as an array, which is handed to a kernel in a tenth of the time."""
    return np.array(plan, np.int64)


def parts(total, size):
    """The number of pieces of `size` that cover `total`."""
    return -(-total // size)
