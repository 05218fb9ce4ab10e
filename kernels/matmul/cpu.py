"""Matrix product on the CPU: parts of C in parallel, each by the register-tiled product of block.py.

**Idea.** C is cut into parts, by shape alone. For each, one thread walks over k in blocks: it packs its columns of B into a buffer that stays in the
second-level cache, and multiplies. Operands are read where they lie, transposed or not, and whatever their batch; nothing is copied beforehand. How C is cut
changes no bit of the result: the order of each element's sum is set by K_BLOCK alone.

**Napkin.** 2*M*N*K FLOPs; a part of r x c packs each element of B for r products and sums (0.1 ns from a cache, 0.3 to 0.5 from memory, against r / 55 ns) and reads
and writes C once per K_BLOCK. With r = 512 that is 95% of the block's 110 GFLOP/s; with r = 16, a small batch through a large layer, half, and memory is the bound.

Two kinds of product want something else:

    tiny        below SMALL products in all, starting threads costs more than it gives: BLAS, on the calling thread
    few rows    a batch of up to 4 through a linear layer uses each weight a few times at most, and the weights of AlexNet and VGG are larger than any cache:
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
MOST_ROWS, MOST_COLUMNS = 1024, 384  # of a part: K_BLOCK x 384 elements of packed B stay in the second-level cache
PARTS, WORK = 8, 1 << 21  # parts wanted, for threads to share evenly, if each has two million products: 40 us


def matmul(a, b):
    """(..., M, N) from a (..., M, K) and b (..., K, N). K = 0 gives zeros: an empty sum."""
    (M, K), N = a.shape[-2:], b.shape[-1]
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2]) if a.ndim > 2 or b.ndim > 2 else ()
    products = M * N * K * math.prod(batch)
    if products < SMALL or a.dtype.char not in "fd" or K != b.shape[-2]:
        return reference.matmul(a, b)  # which also says what is wrong with the shapes
    if b.ndim == 2 and a.ndim > 2:  # one B for the whole batch: it makes one tall A
        return matmul(a.reshape(-1, K), b).reshape(batch + (M, N))
    a, a_flat, a_row, a_col = _flat(a)
    b, b_flat, b_row, b_col = _flat(b)
    c = np.empty(batch + (M, N), a.dtype)
    if M <= FEW_ROWS and a_col == b_row == 1 and not batch:
        _multiply_few_rows(M, N, K, a_flat, a_row, b_flat, b_col, c.reshape(-1))
    else:
        _multiply(M, N, K, a_flat, _starts(a, batch), a_row, a_col, b_flat, _starts(b, batch), b_row, b_col, c.reshape(-1), *_cuts(M, N, K, math.prod(batch)))
    return c


def linear(x, w, bias):
    """(..., O) from x (..., I), w (O, I) and bias (O,) or None."""
    y = matmul(x.reshape(math.prod(x.shape[:-1]), x.shape[-1]), w.T)
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


def _cuts(M, N, K, matrices):
    """(down, across): into how many parts the rows and the columns of C are cut.

    A part of r x c packs its columns of B for r rows, and fetches its rows of A for c columns; packing an element costs six times as much as fetching one. So
    rows are halved while r > 6c and columns otherwise, until threads have parts enough or the parts become too small to be worth a thread's while.
    """
    down, across = -(-M // MOST_ROWS), -(-N // MOST_COLUMNS)
    across += across % 2 if across > 1 else 0  # an even number for two threads to share
    while matrices * down * across < min(PARTS, matrices * M * N * K // WORK):
        if M >= 16 * down and (M * across > 6 * N * down or N < 32 * across):
            down *= 2
        elif N >= 32 * across:
            across *= 2
        else:
            break
    return down, across


@jit(parallel=True)
def _multiply(M, N, K, a, a_starts, a_row, a_col, b, b_starts, b_row, b_col, c, down, across):
    """C of every matrix in the batch, part by part."""
    for part in prange(len(a_starts) * down * across):
        matrix, i, j = part // across // down, part // across % down, part % across
        m, m_end, n, n_end = _cut(M, 8, i, down), _cut(M, 8, i + 1, down), _cut(N, 16, j, across), _cut(N, 16, j + 1, across)
        _multiply_part(m_end - m, n_end - n, K, a, a_starts[matrix] + m * a_row, a_row, a_col, b, b_starts[matrix] + n * b_col, b_row, b_col,
                       c, (matrix * M + m) * N + n, N)


@jit
def _cut(length, unit, i, parts):
    """Where part i of `length` begins: the parts are equal up to one unit."""
    return min(length, (length + unit - 1) // unit * i // parts * unit)


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
