"""The matrix product that other kernels call inside their own tiles: serial, on parts of flat arrays, any size, float32 or float64.

    C[M, N] = A[M, K] @ B[K, N]          or  C += A @ B

**Idea** (Goto & van de Geijn, "Anatomy of high-performance matrix multiplication", 2008). A tile of C, ROWS x (VECTORS * lanes), is summed in registers
while k runs (kernels/simd/tile.py). Each k takes a short row of B, as wide as the tile, and one element from each of ROWS rows of A. So B is *packed*
beforehand: cut into panels as wide as a tile, each stored row by row, and every load of the inner loop is the next vector in memory. A may lie anywhere, with
any strides, so A transposed is A with its strides swapped.

    B (K x 80), packed:   [K][32]  [K][32]  [K][16]         the last panel is as many vectors wide as it needs, filled up with zeros

**Caches.** K is cut into blocks of K_BLOCK. A tile's rows of A, 8 x 256 elements, stay in the first-level cache while the panels of B pass by, from the second-level
cache if the caller chose N so that K_BLOCK * N elements fit there; C is written row after row. (Panels outside, rows inside: 1.05x slower on most shapes, 1.6x where K is
small.) It also keeps sums short: blocks are summed apart and then added, so that the error grows with K_BLOCK + K / K_BLOCK terms rather than with K.

**Napkin.** 2*M*N*K FLOPs. A tile of 8 x 32 does 512 of them per k on 40 numbers loaded, so arithmetic is the bound, not the caches. A Zen 4 core at 3.65 GHz
can do 117 GFLOP/s in float32; this does 110 on packed B. (Sapphire Rapids: 160 to 170 of 176, where OpenBLAS does 150 on the same matrices.) Packing takes 6 / M of
that time where B is in a cache, up to 18 / M where it comes from memory.
"""
import numpy as np

from ..runtime import jit
from ..simd.tile import ROWS, VECTORS, add_outer, add_stored, load_square, prefetch_tile, store_tile, transpose, zero_tile
from ..simd.vector import lanes, load, load_part, prefetch, store

K_BLOCK = 256
LINE = 16  # float32 in a cache line


@jit
def gemm_block(M, N, K, a, a0, a_row, a_col, b, b0, c, c0, c_row, accumulate):
    """C[M, N] = A[M, K] @ B[K, N], or += with accumulate, on flat arrays of one dtype. Any of M, N, K may be 0.

    A   element (m, k) is a[a0 + m*a_row + k*a_col]
    B   packed by pack_b, from b[b0] on
    C   element (m, n) is c[c0 + m*c_row + n]
    """
    if K == 0 and not accumulate:
        for m in range(M):
            c[c0 + m * c_row:c0 + m * c_row + N] = 0
    for k in range(0, K, K_BLOCK):
        add = accumulate or k > 0
        m = 0
        while m < M:  # by the highest tile that still fits
            a1, c1 = a0 + m * a_row + k * a_col, c0 + m * c_row
            if M - m >= ROWS:
                multiply_rows(zero_tile(c, ROWS, VECTORS), zero_tile(c, ROWS, 1), N, K, k, a, a1, a_row, a_col, b, b0, c, c1, c_row, add)
                m += ROWS
            elif M - m >= 4:
                multiply_rows(zero_tile(c, 4, VECTORS), zero_tile(c, 4, 1), N, K, k, a, a1, a_row, a_col, b, b0, c, c1, c_row, add)
                m += 4
            else:
                multiply_rows(zero_tile(c, 1, VECTORS), zero_tile(c, 1, 1), N, K, k, a, a1, a_row, a_col, b, b0, c, c1, c_row, add)
                m += 1


@jit
def multiply_rows(wide, narrow, N, K, k, a, a0, a_row, a_col, b, b0, c, c0, c_row, add):
    """A tile's rows of C, panel by panel: the block of k that begins at `k`. The last panel may be one vector wide. wide, narrow: tiles of zeros.

    With each panel, a part of the next rows of A is asked for: so many streams at once are more than a processor foresees by itself.
    """
    depth = min(K_BLOCK, K - k)
    lines = ROWS * ((depth + LINE - 1) // LINE) if a_col == 1 else 0
    share, line = (lines * panel_width(b) + N - 1) // max(1, N), 0
    for n in range(0, N, panel_width(b)):
        columns = min(panel_width(b), N - n)
        width = whole_vectors(columns, b)
        panel = b0 + n * K + k * width  # all panels before this one are whole ones
        while line < min(lines, (n // panel_width(b) + 1) * share):
            prefetch(a, a0 + (ROWS + line % ROWS) * a_row + line // ROWS * LINE)
            line += 1
        if width > lanes(b):
            multiply_tile(wide, depth, a, a0, a_row, a_col, b, panel, width, c, c0 + n, c_row, columns, add)
        else:
            multiply_tile(narrow, depth, a, a0, a_row, a_col, b, panel, width, c, c0 + n, c_row, columns, add)


@jit
def multiply_tile(tile, K, a, a0, a_row, a_col, b, b0, b_row, c, c0, c_row, columns, add):
    """The micro-kernel: one tile of C. Numba compiles it once for each shape of `tile`, and the sums never leave the registers until they are stored."""
    prefetch_tile(tile, c, c0, c_row)  # the tile's place in C is on its way while we multiply
    for k in range(K):
        tile = add_outer(tile, a, a0 + k * a_col, a_row, b, b0 + k * b_row)
    if add:
        tile = add_stored(tile, c, c0, c_row, columns)
    store_tile(tile, c, c0, c_row, columns)


@jit
def pack_b(K, N, b, b0, b_row, b_col, packed, p0):
    """Pack the (K, N) matrix whose element (k, n) is b[b0 + k*b_row + n*b_col] into panels, from packed[p0] on: packed_size(K, N, b) elements."""
    if b_col == 1:  # either way, walk along memory
        pack_rows(K, N, b, b0, b_row, packed, p0)
    else:
        pack_columns(K, N, b, b0, b_row, b_col, packed, p0)


@jit
def pack_rows(K, N, b, b0, b_row, packed, p0):
    """Rows lie in memory: cut a few of them at a time into the panels' rows (one at a time would write to the same cache lines of every panel in turn)."""
    L, W = lanes(b), panel_width(b)
    for first in range(0, K, 16):
        for n in range(0, N, W):
            columns = min(W, N - n)
            width = whole_vectors(columns, b)
            for k in range(first, min(K, first + 16)):
                source, target = b0 + k * b_row + n, p0 + n * K + k * width
                if columns == W:
                    for v in range(0, W, L):
                        store(packed, target + v, load(b, source + v))
                else:
                    for v in range(0, columns, L):
                        store(packed, target + v, load_part(b, source + v, min(L, columns - v)))


@jit
def pack_columns(K, N, b, b0, b_row, b_col, packed, p0):
    """Columns lie in memory (or nothing does): turn square by square, each as wide as a vector, in registers; what is left over element by element."""
    L, W = lanes(b), panel_width(b)
    edge = np.zeros(L * L, b.dtype)  # a square whose last columns stay zeros
    for n in range(0, N, L):
        panel = n - n % W  # its first column
        columns, width = min(L, N - n), whole_vectors(min(W, N - panel), b)
        source, target = b0 + n * b_col, p0 + panel * K + n - panel
        whole = K - K % L if b_row == 1 else 0
        for k in range(0, whole, L):
            if columns < L:
                for lane in range(columns):
                    store(edge, lane * L, load(b, source + k + lane * b_col))
                store_tile(transpose(load_square(edge, 0, L)), packed, target + k * width, width, L)
            else:
                store_tile(transpose(load_square(b, source + k, b_col)), packed, target + k * width, width, L)
        for k in range(whole, K):
            for lane in range(L):
                packed[target + k * width + lane] = b[source + k * b_row + lane * b_col] if lane < columns else 0


@jit
def packed_size(K, N, array):
    """Number of elements that pack_b writes for a (K, N) matrix of array's dtype."""
    return K * whole_vectors(N, array)


@jit
def panel_width(array):
    """Columns in a panel of packed B of array's dtype, and in a tile of C."""
    return VECTORS * lanes(array)


@jit
def whole_vectors(columns, array):
    """`columns` rounded up to whole vectors."""
    return (columns + lanes(array) - 1) // lanes(array) * lanes(array)
