"""Matrix products: the reference against sums written out, the CPU's against the reference, and the serial block that other kernels build on."""
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tolerance import close

from tinycnn.kernels import backend, runtime
from tinycnn.kernels.matmul import block, cpu, reference
from tinycnn.kernels.simd.vector import WIDTH

VECTORS = Path(__file__).parents[1] / "vectors" / "matmul.npz"
DTYPES = [np.float32, np.float64]

# (..., M, K) @ (..., K, N)
SHAPES = {
    "one number": ((1, 1), (1, 1)),
    "less than a tile": ((2, 3), (3, 5)),
    "a little more than a tile": ((9, 5), (5, 33)),
    "leftovers of every kind": ((23, 17), (17, 65)),  # 8 + 8 + 4 + 1 + 1 + 1 rows, 32 + 32 + 1 columns
    "half a panel": ((13, 7), (7, 47)),
    "several blocks of k": ((5, 600), (600, 18)),
    "many parts": ((300, 30), (30, 400)),
    "several blocks of columns": ((9, 20), (20, 1100)),  # 1100 = 352 + 384 + 364
    "a row": ((1, 70), (70, 50)),
    "a column": ((50, 70), (70, 1)),
    "no k": ((3, 0), (0, 4)),
    "no rows": ((0, 3), (3, 4)),
    "no columns": ((3, 4), (4, 0)),
    "batch": ((3, 6, 5), (3, 5, 7)),
    "batches broadcast": ((2, 1, 6, 5), (3, 5, 7)),
    "one left for all": ((6, 5), (4, 5, 7)),
    "one right for all": ((4, 6, 5), (5, 7)),
    "batch of few rows": ((3, 2, 5), (3, 5, 7)),
    "empty batch": ((0, 6, 5), (5, 7)),
}


def draw(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.fixture
def always_tiled(monkeypatch):
    """Products of every size by the tiled kernels, in many parts."""
    monkeypatch.setattr(cpu, "SMALL", 1)
    monkeypatch.setattr(cpu, "WORK", 1 << 12)
    cpu._cuts.cache_clear()


@pytest.mark.parametrize("case", SHAPES)
def test_reference_is_the_sum_over_k(case):
    """Kills: a transposed operand, the wrong axis summed, a batch broadcast from the wrong end."""
    a, b = (draw(shape, np.float64, seed) for seed, shape in enumerate(SHAPES[case]))
    close(reference.matmul(a, b), (a[..., :, :, None] * b[..., None, :, :]).sum(-2), a.shape[-1])


def test_linear_is_pytorchs():
    """Stored outputs of torch.nn.functional.linear. Kills: w not transposed, the bias forgotten or added along another axis."""
    stored = np.load(VECTORS)
    x, w, bias = stored["x"], stored["w"], stored["bias"]
    for name in ("reference", "cpu"):
        linear = backend(name).matmul.linear
        close(linear(x, w, bias), stored["linear"], x.shape[-1])
        close(linear(x, w, None), stored["without bias"], x.shape[-1])
        close(linear(x[0, 0], w, bias), stored["linear"][0, 0], x.shape[-1])
        assert linear(x[:0], w, bias).shape == (0, *stored["linear"].shape[1:])
        np.testing.assert_array_equal(linear(x[..., :0], w[:, :0], bias), np.broadcast_to(bias, stored["linear"].shape))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SHAPES)
def test_cpu_agrees_with_the_reference(case, dtype, always_tiled):
    """Kills: leftover rows, columns, k or parts lost or counted twice, the batch's offsets, zeros missing where K is 0."""
    a, b = (draw(shape, dtype, seed) for seed, shape in enumerate(SHAPES[case]))
    y = cpu.matmul(a, b)
    assert y.dtype == dtype and y.flags.c_contiguous
    close(y, reference.matmul(a, b), a.shape[-1])


@pytest.mark.parametrize("case", ["leftovers of every kind", "several blocks of k", "batches broadcast", "a row", "batch of few rows"])
def test_any_strides(case, always_tiled):
    """Transposed, sliced, reversed, repeated. Kills: rows and columns of an operand exchanged, a stride taken for 1, a first element that is not the first in memory."""
    views = {
        "transposed": lambda x: np.ascontiguousarray(np.swapaxes(x, -1, -2)).swapaxes(-1, -2),
        "every other column": lambda x: np.repeat(x, 2, -1)[..., ::2],
        "within a larger one": lambda x: np.pad(x, [(1, 2)] * x.ndim)[(slice(1, -2),) * x.ndim],
        "backwards": lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1],
        "one row": lambda x: np.broadcast_to(x[..., :1, :], x.shape),
    }
    a, b = (draw(shape, np.float32, seed) for seed, shape in enumerate(SHAPES[case]))
    for view in views.values():
        for left, right in ((view(a), b), (a, view(b)), (view(a), view(b))):
            close(cpu.matmul(left, right), reference.matmul(left, right), a.shape[-1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5])
def test_few_rows_through_a_linear_layer(rows, dtype, always_tiled):
    """A batch of 1 to 4 has a kernel of its own. Kills: the last outputs or the last inputs lost, rows of x mixed up, rows taken for neighbours in memory."""
    for inputs, outputs in ((70, 50), (64, 4), (5, 7)):
        wide_x, wide_w, bias = draw((rows, inputs + 3), dtype), draw((outputs, inputs + 2), dtype, 1), draw(outputs, dtype, 2)
        x, w = wide_x[:, :inputs], wide_w[:, :inputs]
        expected = reference.linear(x, w, bias)
        close(cpu.linear(x, w, bias), expected, inputs)
        close(cpu.linear(x.copy(), w.copy(), bias), expected, inputs)


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_weights_are_shared_out_however_few_the_products(dtype, monkeypatch):
    """One image through a linear layer is less than SMALL products. Kills: BLAS's one thread for it, or our kernel for what lies otherwise, is too little, or has many
    rows; no rows, a row of a larger array, or w of which every other row is used, taken for what they are not."""
    monkeypatch.setattr(cpu, "WEIGHTS", 37 * 19)
    taken, kernels = [], (cpu._multiply_few_rows, cpu._multiply)
    for kernel in kernels:
        monkeypatch.setattr(cpu, kernel.__name__, lambda *arguments, kernel=kernel: taken.append(kernel) or kernel(*arguments))
    x, w = draw((6, 37), dtype), draw((19, 37), dtype, 1)
    for case, (a, b, shared) in {"one row": (x[:1], w.T, True), "three rows": (x[:3], w.T, True), "no rows": (x[:0], w.T, True), "every other row": (x[:4:2], w.T, True),
                                 "every other output": (x[:1], np.repeat(w, 2, 0)[::2].T, True), "five rows": (x[:5], w.T, False), "too little": (x[:1], w[1:].T, False),
                                 "a row of weights is an input's": (x[:1], np.ascontiguousarray(w.T), False),
                                 "every other input": (np.repeat(x[:1], 2, 1)[:, ::2], w.T, False)}.items():
        taken.clear()
        close(cpu.matmul(a, b), reference.matmul(a, b), 37)
        assert taken == shared * [kernels[0]], case


def test_one_thread_and_two_give_the_same_bits(always_tiled):
    """Kills: a part whose size depends on the number of threads and changes the order of a sum."""
    a, b = draw((300, 300), np.float32), draw((300, 400), np.float32, 1)
    most = runtime.get_num_threads()
    results = []
    for threads in (1, most):
        runtime.set_num_threads(threads)
        results.append((cpu.matmul(a, b), cpu.linear(a[:2], b.T, None)))
    for one, many in zip(*results):
        np.testing.assert_array_equal(one, many)


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_cut_gives_the_same_bits(dtype, always_tiled, monkeypatch):
    """More parts than there are tiles among them. Kills: parts that overlap or leave a gap; a sum whose order depends on where its part begins."""
    a, b = draw((2, 100, 300), dtype), draw((2, 300, 1100), dtype, 1)
    answers = []
    for cuts in ((1, 1), (1, 3), (3, 2), (20, 1), (1, 90)):
        monkeypatch.setattr(cpu, "_cuts", lambda *sizes, cuts=cuts: cuts)
        answers.append(cpu.matmul(a, b))
    close(answers[0], reference.matmul(a, b), 300)
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])


def test_every_thread_has_a_part_where_that_pays():
    """Kills: rows and columns exchanged, parts without a whole tile while others are large, threads started for nothing, the batch not counted."""
    #        M, N, K, matrices, threads: down, across
    sizes = {(64, 50176, 576, 1, 2): (1, 2), (50176, 64, 576, 1, 2): (2, 1), (512, 196, 4608, 1, 2): (2, 1), (2048, 512, 1024, 1, 8): (2, 4),
             (128, 129, 128, 1, 8): (1, 1), (256, 256, 256, 3, 2): (2, 1), (256, 256, 256, 4, 2): (1, 1), (16, 4096, 25088, 1, 6): (1, 6)}
    assert {size: cpu._cuts(*size) for size in sizes} == sizes


def test_long_sums_stay_accurate(always_tiled):
    """Sums of 65,536 positive float32: adding them one after the other is off by 40 eps, in blocks by 3. Kills: the former."""
    a, b = (np.random.default_rng(seed).random(shape).astype(np.float32) for seed, shape in enumerate([(9, 1 << 16), (1 << 16, 40)]))
    expected = a.astype(np.float64) @ b.astype(np.float64)
    close(cpu.matmul(a, b), expected, length=2)
    close(cpu.linear(a[:1], np.ascontiguousarray(b.T), None), expected[:1], length=2)


def test_whole_numbers_are_multiplied_too(always_tiled):
    a, b = np.arange(6).reshape(2, 3), np.arange(12).reshape(3, 4)
    for name in ("reference", "cpu"):
        np.testing.assert_array_equal(backend(name).matmul.matmul(a, b), [[20, 23, 26, 29], [56, 68, 80, 92]])


@pytest.mark.parametrize("name", ["reference", "cpu"])
def test_matrices_that_do_not_fit_say_so(name):
    with pytest.raises(ValueError, match="mismatch"):
        backend(name).matmul.matmul(np.ones((2000, 30)), np.ones((40, 2000)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transposed", [False, True])
def test_block(dtype, transposed):
    """gemm_block as other kernels use it: somewhere in flat arrays, from any layout, added or not. Kills: an offset or stride forgotten, writing outside C (its rows
    have 3 elements between them, which must stay), zeros missing in the packed leftovers, adding where it should not."""
    for M, N, K in ((1, 1, 1), (8, 32, 16), (9, 33, 17), (5, 100, 40), (31, 16, 257), (3, 4, 0), (0, 4, 3), (4, 0, 3)):
        a, b = draw((M, K), dtype), draw((K, N), dtype, 1)
        a_strides, b_strides = ((1, M + 1), (1, K + 2)) if transposed else ((K + 1, 1), (N + 2, 1))
        a_flat, b_flat = lay_out(a, 5, a_strides), lay_out(b, 7, b_strides)
        packed = np.full(3 + block.packed_size(K, N, b_flat) + 2, np.nan, dtype)
        block.pack_b(K, N, b_flat, 7, *b_strides, packed, 3)
        assert np.isnan(packed[:3]).all() and np.isnan(packed[-2:]).all() and np.count_nonzero(packed[3:-2]) == K * N
        for accumulate in (False, True):
            c = draw(11 + M * (N + 3), dtype, 2)
            expected = c.copy()
            inside = np.lib.stride_tricks.as_strided(expected[11:], (M, N), ((N + 3) * c.itemsize, c.itemsize))
            inside[...] = a @ b + (inside if accumulate else 0)
            block.gemm_block(M, N, K, a_flat, 5, *a_strides, packed, 3, c, 11, N + 3, accumulate)
            close(c, expected, K)


def lay_out(matrix, offset, strides):
    """A flat array with the matrix from `offset` on, so that element (i, j) is i * strides[0] + j * strides[1] further; NaN everywhere else."""
    flat = np.full(offset + sum(length * stride for length, stride in zip(matrix.shape, strides)) + 1, np.nan, matrix.dtype)
    np.lib.stride_tricks.as_strided(flat[offset:], matrix.shape, [stride * flat.itemsize for stride in strides])[...] = matrix
    return flat


GUARDED = """
import ctypes, mmap, numpy as np
from tinycnn.kernels.matmul import block, cpu
libc, pages = ctypes.CDLL(None), []

def guarded(shape):
    "An array that ends where a page ends, followed by a page that must not be touched."
    pages.append(mmap.mmap(-1, 3 * mmap.PAGESIZE))
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages[-1]))
    array = np.frombuffer(pages[-1], np.float32, int(np.prod(shape)), 2 * mmap.PAGESIZE - 4 * int(np.prod(shape))).reshape(shape)
    assert libc.mprotect(ctypes.c_void_p(start + 2 * mmap.PAGESIZE), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    return array

for M, N, K in ((9, 33, 17), (5, 16, 3), (1, 7, 18), (12, 31, 16)):
    a, b, bt, c = guarded((M, K)), guarded((K, N)), guarded((N, K)), guarded((M, N))
    packed = guarded(block.packed_size(K, N, b.reshape(-1)))
    for strides, flat in (((N, 1), b.reshape(-1)), ((1, K), bt.reshape(-1))):
        block.pack_b(K, N, flat, 0, *strides, packed, 0)
        for accumulate in (False, True):
            block.gemm_block(M, N, K, a.reshape(-1), 0, K, 1, packed, 0, c.reshape(-1), 0, N, accumulate)
cpu._multiply_few_rows(1, 7, 18, guarded(18), 18, guarded(7 * 18), 18, guarded(7))
"""


def test_nothing_is_touched_behind_the_end_of_an_array():
    """In a process of its own, which would die of it. Kills: whole vectors read where part of one is left."""
    run = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True)
    assert run.returncode == 0, f"exit code {run.returncode}: {run.stderr[-1000:]}"


def digest():
    """A hash of the block's results, bit for bit."""
    digest = hashlib.sha256()
    for dtype in DTYPES:
        for M, N, K in ((9, 33, 17), (31, 100, 300), (5, 7, 40)):
            a, b, c = draw(M * K, dtype), draw(K * N, dtype, 1), draw(M * N, dtype, 2)
            for b_strides in ((N, 1), (1, K)):
                packed = np.empty(block.packed_size(K, N, b), dtype)
                block.pack_b(K, N, b, 0, *b_strides, packed, 0)
                block.gemm_block(M, N, K, a, 0, K, 1, packed, 0, c, 0, N, True)
                digest.update(c.tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("width", [width for width in (4, 1) if width != WIDTH])
def test_other_widths_give_the_same_bits(width):
    """The block in a process whose vectors are narrower. Kills: sizes that are right for 16 lanes only, a sum whose order depends on the width."""
    folder = Path(__file__).parent
    run = subprocess.run([sys.executable, "-c", "import test_matmul; print(test_matmul.digest())"], capture_output=True, text=True,
                         env=os.environ | {"TINYCNN_SIMD_WIDTH": str(width), "PYTHONPATH": os.pathsep.join([str(folder), str(folder.parent), *sys.path[1:]])})
    assert run.stdout.strip() == digest(), run.stderr[-3000:]
