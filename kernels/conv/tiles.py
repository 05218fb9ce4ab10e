"""How convolution by matrix product is cut up: by shape alone, so that the bits of a result depend on neither threads nor time, and so that scratch is bounded.

The unfolded image has C/G * R*S rows (a row is a channel and a tap) and P*Q columns (positions). A tile of it is `channels` channels, `taps` taps of each, and
`positions` columns; the filters that it is multiplied by at once are `filters`. The tile and what else a thread needs beside it stay in the second-level cache
(about a megabyte), and a tile is large enough that the time to fill it is small beside the time to multiply it.
"""
from typing import NamedTuple

from ..matmul.block import K_BLOCK

FORMS = ("forward", "input_grad", "weight_grad")
DEPTH = K_BLOCK  # at most, of what a product sums over: a block of the matrix product, lest a second, smaller one be left
ROWS = 288  # about: of the unfolded image in a tile, where they are not what is summed over. 32 channels of 3x3
TASKS = 16  # wanted, so that threads have something to share out
LINE = 16  # elements: rows in scratch begin on cache lines
SCRATCH = 64 << 20  # bytes, of all threads together


class Tiles(NamedTuple):
    channels: int  # input channels of one group in a tile
    taps: int  # of each channel: all R*S, unless channels is 1 and they are too many
    positions: int
    filters: int  # filters of one group that it is multiplied by at once
    splits: int  # parts of the sum over images and positions (weight gradient)
    unfolds: bool  # whether there is anything to unfold
    tasks: int  # parts of the work that threads share out
    scratch: int  # elements that a thread needs
    row: int  # elements from row to row in scratch, of matrices whose columns are positions
    filter_row: int  # and of those whose columns are filters


def tiles(form, n, geometry):
    """The Tiles for one of FORMS, of a convolution of Sizes n."""
    C, K, RS, PQ, G = n.C // n.G, n.K // n.G, n.R * n.S, n.P * n.Q, n.G
    channels, taps = even(C, max(1, ROWS // RS), 8 if 8 * RS <= 2 * ROWS else 1), even(RS, 2 * ROWS, 8)  # a product's tile is eight rows high
    positions, filters, splits = even(PQ, DEPTH, 32), even(K, DEPTH, 32), 1
    if form == "forward":  # sums over channels and taps
        channels, taps = even(C, max(1, DEPTH // RS), 1), even(RS, DEPTH, 1)
        positions = even(PQ, min(DEPTH, max(64, n.N * G * PQ // TASKS)), 32)  # small tiles cost less than ...
        images = n.N * G * parts(PQ, positions)
        filters = even(K, max(64, K * images // TASKS), 8)  # ... to unfold again for other filters: all of them, unless there are few images
        tasks = images * parts(K, filters)
        beside = channels * taps * row(positions)  # the same as panels
    elif form == "input_grad":  # sums over filters
        tasks = n.N * G * parts(C, channels)
        beside = filters * row(positions)  # dy as panels
    else:  # sums over positions and images
        tasks = G * parts(K, filters) * parts(C, channels) * parts(RS, taps)
        splits = max(1, min(parts(TASKS, tasks), n.N * parts(PQ, positions)))
        tasks *= splits
        beside = row(filters) * (positions + channels * taps)  # dy as panels, and the product
    unfolds = (n.R, n.S) != (1, 1) or geometry.stride != (1, 1) or geometry.padding != (0, 0)
    return Tiles(channels, taps, positions, filters, splits, unfolds, tasks, channels * taps * row(positions) + beside, row(positions), row(filters))


def even(total, most, multiple):
    """The size of about equal parts of `total`, each at most `most` or little more: a multiple of `multiple` unless one part suffices."""
    count = parts(total, most)
    return max(total, 1) if count <= 1 else min(total, parts(parts(total, count), multiple) * multiple)


def row(columns):
    """Elements for a row of so many: whole lines, and one more, lest rows be a power of two apart and compete for the same places in the cache."""
    return parts(columns, LINE) * LINE + LINE


def parts(total, size):
    """The number of pieces of `size` that cover `total`."""
    return -(-total // size)
