"""The matrix product inside kernels that have packed all they need: C = A @ B or C += A @ B, serial, on flat arrays, with nothing decided at run time but sizes.

Panels of B (as pack_b makes them) are the outer loop: a panel, K x 32, stays in the first-level cache while the rows of A pass by. Rows that are left over at the end
are computed with the last one repeated (kernels/simd/places.py).  Winograd transforms into rows that this likes: with a power of two between the rows of C, a
column of tiles competes for the same places in the cache (1024: 112 GFLOP/s, and 160 by block.py, whose outer loop are the rows).

What a tile of C is added to, or written over, is asked for when its sum begins: where C is far away, that is worth 5 to 10% of a Winograd convolution.

**Napkin.** Of a core's 176 GFLOP/s (Sapphire Rapids) it reaches 165 to 175 for K from 64 to 1000, if B begins on a cache line; 155 where a panel is larger than the
first-level cache.
"""
from ..runtime import jit
from ..simd.places import add_outer_at, add_stored_at, prefetch_at, rows_of, store_tile_at
from ..simd.tile import ROWS, VECTORS, zero_tile, zeros_like
from ..simd.vector import lanes, prefetch
from .block import panel_width, whole_vectors

LINE = 16  # float32 in a cache line


@jit
def multiply_panels(M, N, K, a, a0, a_row, a_col, far, b, b0, following, c, c0, c_row, accumulate):
    """C[M, N] = (or +=) A[M, K] @ B[K, N]. Element (m, k) of A is a[a0 + m*a_row + k*a_col]; (m, n) of C is c[c0 + m*c_row + n], where rows hold whole vectors.

    far: whether A comes from far away. following: where in b the panels are that will be multiplied next.
    """
    for n in range(0, N, panel_width(b)):
        width = whole_vectors(min(panel_width(b), N - n), b)
        ahead = b0 + (n + width) * K if n + width < N else following
        if width > lanes(b):
            _multiply_panel(zero_tile(c, ROWS, VECTORS), M, K, a, a0, a_row, a_col, far and n == 0, b, b0 + n * K, ahead, width, c, c0 + n, c_row, accumulate)
        else:
            _multiply_panel(zero_tile(c, ROWS, 1), M, K, a, a0, a_row, a_col, far and n == 0, b, b0 + n * K, ahead, width, c, c0 + n, c_row, accumulate)


@jit
def _multiply_panel(nothing, M, K, a, a0, a_row, a_col, far, b, b0, ahead, width, c, c0, c_row, accumulate):
    """One panel of B. far: whether to ask for the next rows of A while these are multiplied; eight rows are more streams than the machine foresees by itself.

    Each 16 steps ask for a part of the next panel of B, which begins at `ahead`, such that all of it has been asked for after the last row, if not before.
    """
    lines = max(1, (2 * LINE + M // ROWS - 1) // max(1, M // ROWS))
    for m in range(0, M, ROWS):
        places, soon, next_rows = rows_of(nothing, m, M - 1, a_row), rows_of(nothing, m + ROWS, M - 1, a_row), a0
        if a_row == 1:  # a cache line has two tiles' rows: each asks for one of the two halves of the lines that come next
            soon, next_rows = rows_of(nothing, m % LINE, LINE, a_col), a0 + m - m % LINE + LINE
        tile, row = zeros_like(nothing), b0
        foresee, next_panel = m // ROWS * lines < 2 * LINE, ahead + m // ROWS * lines * K
        results = rows_of(nothing, m, M - 1, c_row)
        for column in range(0, width, LINE):  # where the tile will be written, and perhaps added to what is there: far away more often than not
            prefetch_at(nothing, c, results, c0 + column)
        for some in range(0, K, 16):
            if far:
                prefetch_at(nothing, a, soon, next_rows + some * a_col)
            if foresee:
                for line in range(lines):
                    prefetch(b, next_panel + (some // 16 * lines + line) * LINE)
            for k in range(some, min(some + 16, K)):
                tile = add_outer_at(tile, a, places, a0 + k * a_col, b, row)
                row += width
        if accumulate:
            tile = add_stored_at(tile, c, results, c0, width)
        store_tile_at(tile, c, results, c0, width)
