"""Matrix product on the CPU: parts of C in parallel, each by the register-tiled product of block.py.

**Idea.** C is cut into as many parts as there are threads. Each thread walks over its columns, some hundred at a time, and over k in blocks: it packs what it needs
of B into a buffer that stays in the second-level cache, and multiplies. Operands are read where they lie, transposed or not, and whatever their batch; nothing is
copied beforehand. How C is cut changes no bit of the result, and so may follow the number of threads: the order of each element's sum is set by K_BLOCK alone.

**Napkin.** 2*M*N*K FLOPs; a part of r x c packs each element of B for r products and sums (0.13 ns from a cache, 0.3 to 0.5 from memory, against r / 83 ns) and
fetches each element of A for c. With r = 512 packing is 2% of the block's 165 GFLOP/s (one core, Sapphire Rapids); with r = 16, a small batch through a large layer,
half, and memory is the bound. Whole tiles are computed: 196 columns are 13 vectors of 16, of which 6% are nothing. Hence few parts, with many rows and columns each.

    GFLOP/s (tinycnn / NumPy's OpenBLAS)            one thread      two
    VGG conv4, unfolded     (512, 4608, 784)        148 / 145       290 / 278
    VGG conv5, unfolded     (512, 4608, 196)        131 / 128       265 / 250
    square                  (1024, 1024, 1024)      150 / 143       295 / 280
    fc6 of VGG, batch 16    (16, 25088, 4096)        61 /  35       114 /  66
    fc1 of LeNet, batch 128 (128, 400, 120)         125 / 109       184 / 127

The last takes 67 us on two threads, of which some 6 are spent before the kernel begins.

Two kinds of product want something else:

    tiny        below SMALL products in all, starting threads costs more than it gives: BLAS, on the calling thread
    few rows    a batch of up to 4 through a linear layer uses each weight a few times at most, and the weights of AlexNet and VGG are larger than any cache:
                only memory counts. Packing would write what was read; instead each row of w is multiplied with x where it lies. Reading wants all threads
                long before arithmetic does, so from WEIGHTS on, however few the products: an image through 1024 -> 1000 takes 0.14 ms, and BLAS 0.29.
"""
import math
from functools import lru_cache

import numpy as np
from numba import prange

from ..graph.record import noted
from ..runtime import add_to, contiguous, get_num_threads, jit
from ..simd.vector import fma, lanes, load, load_part, total, zero
from .block import K_BLOCK, LINE, gemm_block, pack_b, packed_size

SMALL = 1 << 20
FEW_ROWS = 4
WEIGHTS = 1 << 18  # elements of B: below, few rows take BLAS's one thread no longer if B is in a cache
COLUMNS = 512  # of B, at most, that a thread packs at once: K_BLOCK x 512 elements stay in the second-level cache
WORK = 1 << 21  # products for which a thread is started: 25 us
PACK, FETCH = 12, 2  # products in whose time an element of B is packed, and one of A fetched
FIRST = np.zeros(1, np.int64)  # where the only matrix begins


def matmul(a, b):
    """(..., M, N) from a (..., M, K) and b (..., K, N). K = 0 gives zeros: an empty sum."""
    if b.ndim == 2 and a.size * b.shape[-1] < SMALL and b.size < WEIGHTS:
        return _numpy(a, b)  # the common case first: what is asked before takes a part of the time
    (M, K), N = a.shape[-2:], b.shape[-1]
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2]) if a.ndim > 2 or b.ndim > 2 else ()
    few_rows = M <= FEW_ROWS and not batch and a.strides[1] == b.strides[0] == a.itemsize
    if (M * N * K * math.prod(batch) < SMALL and not few_rows) or a.dtype.char not in "fd" or K != b.shape[-2]:
        return _numpy(a, b)  # which also says what is wrong with the shapes
    if b.ndim == 2 and a.ndim > 2:  # one B for the whole batch: it makes one tall A
        return matmul(a.reshape(-1, K), b).reshape(batch + (M, N))
    a, a_flat, a_row, a_col = _flat(a)
    b, b_flat, b_row, b_col = _flat(b)
    c = np.empty(batch + (M, N), a.dtype)
    if M <= FEW_ROWS and a_col == b_row == 1 and not batch:
        _multiply_few_rows(M, N, K, a_flat, a_row, b_flat, b_col, c.reshape(-1))
    else:
        cuts = _cuts(M, N, K, math.prod(batch), get_num_threads())
        _multiply(M, N, K, a_flat, _starts(a, batch), a_row, a_col, b_flat, _starts(b, batch), b_row, b_col, c.reshape(-1), *cuts)
    return c


def linear(x, w, bias):
    """(..., O) from x (..., I), w (O, I) and bias (O,) or None."""
    y = matmul(x.reshape(math.prod(x.shape[:-1]), x.shape[-1]), w.T)
    if bias is not None:
        add_to(y, bias)
    return y.reshape(x.shape[:-1] + w.shape[:1])


@noted
def _numpy(a, b):
    return a @ b


def _flat(matrices):
    """(matrices, the memory they lie in as a 1-D array, elements from row to row, from column to column). Copies only where an index would run backwards."""
    size = matrices.itemsize
    if any(stride < 0 or stride % size for stride in matrices.strides):
        matrices = contiguous(matrices)
    flags = matrices.flags
    if (flags.c_contiguous or flags.f_contiguous) and flags.writeable:
        flat = matrices.ravel("K")
    else:
        extent = 1 + sum((length - 1) * stride for length, stride in zip(matrices.shape, matrices.strides)) // size
        flat = np.asarray(Memory(matrices, extent))
    return matrices, flat, matrices.strides[-2] // size, matrices.strides[-1] // size


class Memory:
    """To NumPy, `extent` elements from the array's first on, whatever its strides. Said to be writeable, or Numba would compile its kernels anew for constants."""

    def __init__(self, array, extent):
        self.base = array  # keeps the memory alive
        self.__array_interface__ = {"version": 3, "typestr": array.dtype.str, "shape": (extent,), "data": (array.ctypes.data, False)}


def _starts(matrices, batch):
    """For each matrix of the (broadcast) batch, the offset of its first element."""
    if not batch:
        return FIRST
    starts = np.zeros((), np.int64)
    for length, stride in zip(matrices.shape[:-2], matrices.strides):
        starts = starts[..., None] + np.arange(length) * (stride // matrices.itemsize)
    return np.broadcast_to(starts, batch).flatten()


@lru_cache(maxsize=1024)
def _cuts(M, N, K, matrices, threads):
    """(down, across): into how many parts the rows and the columns of each C are cut, such that every thread has one, unless that is too little for a thread.

    Of all ways to have so many parts, the one in which a thread is done first: it multiplies whole tiles, packs its columns of B, and fetches its rows of A.
    """
    parts = max(1, min(threads, matrices * M * N * K // WORK))

    def time(cuts):
        down, across = cuts
        rows, columns = (-(-length // cut // unit) * unit for length, cut, unit in ((M, down, 8), (N, across, 16)))
        return -(-matrices * down * across // parts) * (rows * columns + PACK * columns + FETCH * rows)
    return min(((down, -(-parts // (matrices * down))) for down in range(1, parts + 1)), key=time)


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
    """Where part i of `length` begins: the parts are whole units, up to the end, and equal up to one."""
    return min(length, (length + unit - 1) // unit * i // parts * unit)


@jit
def _multiply_part(M, N, K, a, a0, a_row, a_col, b, b0, b_row, b_col, c, c0, c_row):
    """Some columns at a time, block by block of k: pack, multiply."""
    blocks = max(1, (N + COLUMNS - 1) // COLUMNS)
    memory = np.empty(packed_size(min(K, K_BLOCK), min(N, COLUMNS), b) + LINE, b.dtype)
    packed = memory[-memory.ctypes.data % 64 // memory.itemsize:]  # vectors that cross from one cache line to the next cost double
    for block in range(blocks):
        n, end = _cut(N, 32, block, blocks), _cut(N, 32, block + 1, blocks)
        for k in range(0, K, K_BLOCK):
            depth = min(K_BLOCK, K - k)
            pack_b(depth, end - n, b, b0 + n * b_col + k * b_row, b_row, b_col, packed, 0)
            gemm_block(M, end - n, depth, a, a0 + k * a_col, a_row, a_col, packed, 0, c, c0 + n, c_row, k > 0)


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
