"""Matrix product on the CPU: parts of C in parallel, each by the register-tiled product of block.py.

**Idea.** C is cut into parts, by shape alone. For each, one thread walks over k in blocks: it packs its columns of B into a buffer that stays in the
second-level cache, and multiplies. Operands are read where they lie, transposed or not, and whatever their batch; nothing is copied beforehand.

**Napkin.** Within a part of ROWS_AT_ONCE x COLUMNS_AT_ONCE, packing an element of B costs 0.1 to 0.4 ns and 256 FMAs on it 4.7: at most a few percent. C is
read and written once per K_BLOCK. Two kinds of product want something else:

    tiny        below SMALL products in all, starting threads costs more than it gives: BLAS, on the calling thread
    few rows    a batch of up to 4 through a linear layer uses each weight once or a few times, and the weights of AlexNet and VGG are larger than any cache:
                only memory counts. Packing would write what was read; instead each row of w is multiplied with x where it lies.
"""
import math

import numpy as np
from numba import prange

from ..runtime import contiguous, jit
from ..simd.vector import fma, lanes, load, load_part, total, zero
from . import reference
from .block import K_BLOCK, gemm_block, pack_b, packed_size

SMALL = 1 << 20
FEW_ROWS = 4
ROWS_AT_ONCE, COLUMNS_AT_ONCE = 256, 384  # with K_BLOCK: 256 KB of A and 384 KB of B in the second-level cache
PARTS, WORK = 32, 1 << 20  # cut smaller, until there are 32 parts for threads to share evenly, but never below a million products each


def matmul(a, b):
    """(..., M, N) from a (..., M, K) and b (..., K, N). K = 0 gives zeros: an empty sum."""
    (M, K), N = a.shape[-2:], b.shape[-1]
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2]) if a.ndim > 2 or b.ndim > 2 else ()
    products = M * N * K * math.prod(batch)
    if products < SMALL or a.dtype.kind != "f" or K != b.shape[-2]:
        return reference.matmul(a, b)  # which also says what is wrong with the shapes
    if b.ndim == 2 and a.ndim > 2:  # one B for the whole batch: it makes one tall A
        return matmul(a.reshape(-1, K), b).reshape(batch + (M, N))
    a, a_flat, a_row, a_col = _flat(a)
    b, b_flat, b_row, b_col = _flat(b)
    c = np.empty(batch + (M, N), a.dtype)
    if M <= FEW_ROWS and a_col == b_row == 1 and not batch:
        _multiply_few_rows(M, N, K, a_flat, a_row, b_flat, b_col, c.reshape(-1))
    else:
        _multiply(M, N, K, a_flat, _starts(a, batch), a_row, a_col, b_flat, _starts(b, batch), b_row, b_col, c.reshape(-1), *_part(M, N, K, products))
    return c


def linear(x, w, bias):
    """(..., O) from x (..., I), w (O, I) and bias (O,) or None."""
    y = matmul(x.reshape(-1, x.shape[-1]), w.T)
    if bias is not None:
        y += bias
    return y.reshape(x.shape[:-1] + w.shape[:1])


def _flat(matrices):
    """(matrices, the memory they lie in as a 1-D array, elements from row to row, from column to column). Copies only where an index would run backwards."""
    size = matrices.itemsize
    if any(stride < 0 or stride % size for stride in matrices.strides):
        matrices = contiguous(matrices)
    if matrices.flags.c_contiguous and matrices.flags.writeable:
        flat = matrices.reshape(-1)
    else:
        extent = 1 + sum((length - 1) * stride for length, stride in zip(matrices.shape, matrices.strides)) // size
        flat = np.asarray(Memory(matrices, extent))
    return matrices, flat, matrices.strides[-2] // size, matrices.strides[-1] // size


class Memory:
    """To NumPy, `extent` elements from the array's first on, whatever its strides. Said to be writeable, or Numba would compile its kernels anew for constants."""

    def __init__(self, array, extent):
        self.array = array  # keeps the memory alive
        self.__array_interface__ = {"version": 3, "typestr": array.dtype.str, "shape": (extent,), "data": (array.ctypes.data, False)}


def _starts(matrices, batch):
    """For each matrix of the (broadcast) batch, the offset of its first element."""
    starts = np.zeros((), np.int64)
    for length, stride in zip(matrices.shape[:-2], matrices.strides):
        starts = starts[..., None] + np.arange(length) * (stride // matrices.itemsize)
    return np.broadcast_to(starts, batch).flatten()


def _part(M, N, K, products):
    """(rows, columns) of the parts that C is cut into."""
    rows, columns = min(M, ROWS_AT_ONCE), min(N, COLUMNS_AT_ONCE)
    while products // (rows * columns * K) < PARTS and rows * columns * K > 2 * WORK:
        if columns >= rows and columns > 64:
            columns = -(-columns // 64) * 32
        elif rows > 16:
            rows = -(-rows // 16) * 8
        else:
            break
    return rows, columns


@jit(parallel=True)
def _multiply(M, N, K, a, a_starts, a_row, a_col, b, b_starts, b_row, b_col, c, rows, columns):
    """C of every matrix in the batch, part by part."""
    down, across = (M + rows - 1) // rows, (N + columns - 1) // columns
    for part in prange(len(a_starts) * down * across):
        matrix, m, n = part // across // down, part // across % down * rows, part % across * columns
        _multiply_part(min(rows, M - m), min(columns, N - n), K, a, a_starts[matrix] + m * a_row, a_row, a_col,
                       b, b_starts[matrix] + n * b_col, b_row, b_col, c, (matrix * M + m) * N + n, N)


@jit
def _multiply_part(M, N, K, a, a0, a_row, a_col, b, b0, b_row, b_col, c, c0, c_row):
    packed = np.empty(packed_size(min(K, K_BLOCK), N, b), b.dtype)
    for k in range(0, K, K_BLOCK):
        depth = min(K_BLOCK, K - k)
        pack_b(depth, N, b, b0 + k * b_row, b_row, b_col, packed, 0)
        gemm_block(M, N, depth, a, a0 + k * a_col, a_row, a_col, packed, 0, c, c0, c_row, k > 0)


@jit(parallel=True)
def _multiply_few_rows(M, N, K, a, a_row, b, b_col, c):
    """C[m, n] is the product of row m of A and column n of B, both contiguous: four columns at a time, so that four sums are under way."""
    for four in prange((N + 3) // 4):
        n0, n1, n2, n3 = 4 * four, min(4 * four + 1, N - 1), min(4 * four + 2, N - 1), min(4 * four + 3, N - 1)  # the last may repeat: the same sum again
        for m in range(M):
            c[m * N + n0], c[m * N + n1], c[m * N + n2], c[m * N + n3] = _dot_four(K, a, m * a_row, b, n0 * b_col, n1 * b_col, n2 * b_col, n3 * b_col)


@jit
def _dot_four(K, a, a0, b, b0, b1, b2, b3):
    """The products of a row of A with four columns of B, which begin at a0 and b0...b3."""
    L = lanes(a)
    s0 = s1 = s2 = s3 = zero(a)
    for k in range(0, K - K % L, L):
        x = load(a, a0 + k)
        s0, s1, s2, s3 = fma(x, load(b, b0 + k), s0), fma(x, load(b, b1 + k), s1), fma(x, load(b, b2 + k), s2), fma(x, load(b, b3 + k), s3)
    k, rest = K - K % L, K % L
    x = load_part(a, a0 + k, rest)
    s0, s1 = fma(x, load_part(b, b0 + k, rest), s0), fma(x, load_part(b, b1 + k, rest), s1)
    s2, s3 = fma(x, load_part(b, b2 + k, rest), s2), fma(x, load_part(b, b3 + k, rest), s3)
    return total(s0), total(s1), total(s2), total(s3)
