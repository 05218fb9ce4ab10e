"""Step 6: vectors named, and a tile of sums that stays in registers (kernels/simd). Nothing is unfolded.

In step 4 every product loads a sum and stores it again, because the compiler does not see that a small array could live in registers. Here the tile, 8 rows by 2
vectors, is one value, and each step of the innermost loop takes one number for each row and two vectors that serve all eight: 16 multiply-adds on 10 operands.

The 8 numbers may lie anywhere (kernels/simd/places.py), so no unfolded matrix is needed: each row of the tile has a place of its own where it begins to read, and a
list of jumps, the same for all, says how it goes on. That list and the list of places exchange their roles between forward and weight gradient:

    forward         places: where each pixel's window begins     jumps: from tap to tap, channel to channel      vectors: filters
    weight_grad     places: the taps and channels of a weight    jumps: from pixel to pixel                      vectors: dy
"""
import numba
import numpy as np
from common import input_grad_by, pad
from numba import prange

from tinycnn.kernels.simd.places import add_outer_at, places_of, rows_of, store_tile_at
from tinycnn.kernels.simd.tile import ROWS, VECTORS, zero_tile
from tinycnn.kernels.simd.vector import WIDTH

IDEA, ORDER = "vectors named, a tile of sums in registers", "NHWC"
PANEL, BLOCK = VECTORS * WIDTH, 4 * ROWS  # columns of a tile; rows of a task


def forward(x, w, padding):
    padded = pad(x, padding)
    (N, H, W, _), (K, _, R, S) = padded.shape, w.shape
    P, Q = H - R + 1, W - S + 1
    windows, taps = lists(padded, P, Q, R, S)
    return multiply(padded, windows, taps, w.transpose(2, 3, 1, 0).reshape(-1, K)).reshape(N, P, Q, K)


input_grad = input_grad_by(forward)


def weight_grad(dy, x, padding):
    padded = pad(x, padding)
    (_, P, Q, K), (_, H, W, C) = dy.shape, padded.shape
    R, S = H - P + 1, W - Q + 1
    windows, taps = lists(padded, P, Q, R, S)
    dw = multiply(padded, taps, windows, dy.reshape(-1, K))
    return np.ascontiguousarray(dw.reshape(R, S, C, K).transpose(3, 2, 0, 1))


def lists(padded, P, Q, R, S):
    """Where in the image (N, H, W, C) the window of each pixel (n, p, q) begins; and how far behind that each of its taps and channels (r, s, c) lies."""
    place = np.arange(padded.size).reshape(padded.shape)
    return place[:, :P, :Q, 0].flatten(), place[0, :R, :S, :].flatten()


def multiply(image, places, jumps, matrix):
    """(places, K): the sum over j of  image[places[i] + jumps[j]] * matrix[j, :]"""
    rows, K = matrix.shape
    panels = -(-K // PANEL)  # as wide as a tile: the matrix is cut into them, each stored row by row, with zeros where the last one is not full
    matrix = np.pad(matrix, ((0, 0), (0, panels * PANEL - K)))
    packed = np.ascontiguousarray(matrix.reshape(rows, panels, PANEL).swapaxes(0, 1))
    out = np.empty((len(places), panels * PANEL), image.dtype)
    multiply_panels(image.reshape(-1), places, jumps, packed.reshape(-1), out.reshape(-1), panels)
    return out if K == panels * PANEL else np.ascontiguousarray(out[:, :K])


@numba.njit(parallel=True)
def multiply_panels(a, places, jumps, b, out, panels):
    for task in prange((len(places) + BLOCK - 1) // BLOCK):
        first = np.int64(task) * BLOCK
        for panel in range(panels):
            multiply_tiles(zero_tile(a, ROWS, VECTORS), first, min(first + BLOCK, len(places)), a, places, jumps, b, panel, out, panels * PANEL)


@numba.njit
def multiply_tiles(nothing, first, end, a, places, jumps, b, panel, out, width):
    """The rows from `first` to `end` of a panel, tile by tile. Behind the last row, the last one is repeated."""
    for i in range(first, end, ROWS):
        tile, at, row = nothing, places_of(nothing, places, i, end - 1), panel * len(jumps) * PANEL
        for j in range(len(jumps)):
            tile = add_outer_at(tile, a, at, jumps[j], b, row)
            row += PANEL
        store_tile_at(tile, out, rows_of(nothing, i, end - 1, width), panel * PANEL, PANEL)
