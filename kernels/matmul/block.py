"""The matrix product that other kernels call inside their own tiles: serial, on parts of flat arrays, any size.

    C[M, N] = A[M, K] @ B[K, N]          or  C += A @ B

**Idea** (Goto & van de Geijn 2008). A tile of C, ROWS x (VECTORS * lanes), is summed in registers while k runs (kernels/simd/tile.py). Per k it wants one
short row of B, contiguous, and one element from each of ROWS rows of A. So B is *packed* beforehand: cut into panels as wide as a tile, each stored row by
row, and every load of the inner loop is the next vector. A may lie anywhere, with any strides (A transposed is A with its strides swapped); packing it too
pays where its rows are far apart or it is read many times.

    packed B, panels 0, 1, 2:   [K][32]  [K][32]  [K][16]        the last is as many vectors wide as it needs, filled up with zeros

**Caches.** K is cut into blocks of K_BLOCK: one panel's block, K_BLOCK * 32 floats, stays in the first-level cache while all rows of A pass by. It also
keeps float32 sums short: blocks are summed apart, then added, and the error grows with K_BLOCK + K / K_BLOCK rather than with K.

**Napkin.** 2*M*N*K FLOPs; a tile of 8 x 32 does 512 per k on 40 numbers loaded. Zen 4 at 3.65 GHz does 117 GFLOP/s per core and this loop 116.
"""
from ..runtime import jit
from ..simd.tile import ROWS, VECTORS, add_outer, add_stored, store_tile, zero_tile
from ..simd.vector import lanes, load_part, store

K_BLOCK = 256


@jit
def panel_width(array):
    """Columns in a panel of packed B for arrays of this dtype (and columns in a tile of C)."""
    return VECTORS * lanes(array)


@jit
def packed_size(K, N, array):
    """Elements that pack_b writes for a (K, N) matrix of array's dtype."""
    return K * lanes(array) * ((N + lanes(array) - 1) // lanes(array))


@jit
def pack_b(K, N, b, b0, b_row, b_col, packed, p0):
    """Pack the (K, N) matrix whose element (k, n) is b[b0 + k*b_row + n*b_col] into panels from packed[p0] on: packed_size(K, N, b) elements."""
    L = lanes(b)
    for j in range(0, N, panel_width(b)):
        columns = min(panel_width(b), N - j)
        width = L * ((columns + L - 1) // L)
        for k in range(K):
            source, target = b0 + k * b_row + j * b_col, p0 + j * K + k * width
            if b_col == 1:
                for v in range(0, columns, L):
                    store(packed, target + v, load_part(b, source + v, min(L, columns - v)))
            else:
                for n in range(columns):
                    packed[target + n] = b[source + n * b_col]
                for n in range(columns, width):
                    packed[target + n] = 0


@jit
def pack_a(M, K, a, a0, a_row, a_col, packed, p0):
    """Pack the (M, K) matrix whose element (m, k) is a[a0 + m*a_row + k*a_col] so that the ROWS elements of a step stand together: packed_a_size(M, K) elements.

    The result is A with a_row = 1, a_col = ROWS and a_tile = ROWS * K.
    """
    for i in range(0, M, ROWS):
        for k in range(K):
            for r in range(ROWS):
                packed[p0 + i * K + k * ROWS + r] = a[a0 + (i + r) * a_row + k * a_col] if i + r < M else 0


@jit
def packed_a_size(M, K):
    """Elements that pack_a writes."""
    return ROWS * ((M + ROWS - 1) // ROWS) * K


@jit
def gemm_block(M, N, K, a, a0, a_row, a_col, a_tile, b, b0, c, c0, c_row, accumulate):
    """C[M, N] = A[M, K] @ B[K, N], or += with accumulate, on flat arrays of one dtype.

    A   element (m, k) is a[a0 + m*a_row + k*a_col]; a_tile, the distance from one ROWS rows to the next, is ROWS * a_row (see pack_a for packed A)
    B   packed by pack_b, from b[b0] on
    C   element (m, n) is c[c0 + m*c_row + n]
    """
    if K == 0 and not accumulate:
        for m in range(M):
            c[c0 + m * c_row:c0 + m * c_row + N] = 0
    L = lanes(b)
    for k0 in range(0, K, K_BLOCK):
        depth, add = min(K_BLOCK, K - k0), accumulate or k0 > 0
        for j in range(0, N, panel_width(b)):
            columns = min(panel_width(b), N - j)
            width = L * ((columns + L - 1) // L)
            panel = b0 + j * K + k0 * width
            for i in range(0, M, ROWS):
                tile_rows(min(ROWS, M - i), depth, a, a0 + i // ROWS * a_tile + k0 * a_col, a_row, a_col, b, panel, width, c, c0 + i * c_row + j, c_row, columns, add)


@jit
def tile_rows(rows, K, a, a0, a_row, a_col, b, b0, width, c, c0, c_row, columns, add):
    """`rows` <= ROWS rows of one panel: a whole tile, or what is left over as tiles of 4, 2 and 1 rows."""
    wide = width > lanes(b)
    i = 0
    while i < rows:
        a1, c1 = a0 + i * a_row, c0 + i * c_row
        if rows == ROWS:
            step = ROWS
            if wide:
                one_tile(zero_tile(c, ROWS, VECTORS), K, a, a1, a_row, a_col, b, b0, width, c, c1, c_row, columns, add)
            else:
                one_tile(zero_tile(c, ROWS, 1), K, a, a1, a_row, a_col, b, b0, width, c, c1, c_row, columns, add)
        elif rows - i >= 4:
            step = 4
            if wide:
                one_tile(zero_tile(c, 4, VECTORS), K, a, a1, a_row, a_col, b, b0, width, c, c1, c_row, columns, add)
            else:
                one_tile(zero_tile(c, 4, 1), K, a, a1, a_row, a_col, b, b0, width, c, c1, c_row, columns, add)
        else:
            step = 1
            if wide:
                one_tile(zero_tile(c, 1, VECTORS), K, a, a1, a_row, a_col, b, b0, width, c, c1, c_row, columns, add)
            else:
                one_tile(zero_tile(c, 1, 1), K, a, a1, a_row, a_col, b, b0, width, c, c1, c_row, columns, add)
        i += step


@jit
def one_tile(tile, K, a, a0, a_row, a_col, b, b0, width, c, c0, c_row, columns, add):
    """The micro-kernel: a tile of C, of the shape of `tile` (zeros), summed over K in registers."""
    for k in range(K):
        tile = add_outer(tile, a, a0 + k * a_col, a_row, b, b0 + k * width)
    if add:
        tile = add_stored(tile, c, c0, c_row, columns)
    store_tile(tile, c, c0, c_row, columns)
