"""The CUDA matrix product against NumPy: both tiles, leftovers in every direction, operands that lie in any way, batches, sums in parts."""
import numpy as np
import pytest
from cuda_device import kernels_of, needs_simulator, to_device
from kernel_checks import DTYPES, layouts
from tolerance import close

from tinycnn.kernels.cuda import array_module, empty
from tinycnn.kernels.cuda.backend import is_simulated
from tinycnn.kernels.matmul import cuda as module

pytestmark = needs_simulator
cuda = kernels_of("cuda").matmul


def draw(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.fixture(params=["small", "large"])
def tile(request, monkeypatch):
    """Everything in this tile, however few there are."""
    monkeypatch.setattr(module, "cut", lambda *_: (request.param, 1))
    return request.param


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (64, 65, 16), (129, 63, 9), (130, 140, 33), (2, 3, 0), (0, 3, 2), (1, 200, 17)])
def test_sizes(shape, dtype, tile):
    """Kills: leftovers of a tile in any direction; a step of the pipeline too few or too many; what was left in C where the sum is empty."""
    M, N, K = shape
    a, b = draw(M, K, dtype=dtype), draw(K, N, dtype=dtype, seed=1)
    close(cuda.matmul(a, b), a @ b, K)


def test_operands_that_lie_otherwise(tile):
    """Kills: a step taken for that of another direction; vectors read from where they do not lie together, or not on a multiple of 16 bytes."""
    a, b = draw(68, 20), draw(20, 72, seed=1)
    shifted = np.zeros(1 + a.size, np.float32)[1:].reshape(a.shape)
    shifted[:] = a
    for A in (a, shifted, *layouts(a)):
        for B in (b, *layouts(b)):
            close(cuda.matmul(A, B), a @ b, 20)
    for rows, columns in ((a[1:, 1:], b[1:, 3:]), (a[:, :9], b[:9, :70])):
        close(cuda.matmul(rows, columns), rows @ columns, 20)


def test_results_that_lie_otherwise(tile):
    """Kills: a C written where it does not lie, or beside it."""
    a, b, xp = draw(66, 5), draw(5, 70, seed=1), array_module()
    memory = xp.asarray(np.zeros((70, 2, 66), np.float32))
    module.multiply(xp.asarray(a), xp.asarray(b), memory[:, 1].T)
    close(memory.get()[:, 1].T, a @ b, 5)
    assert not memory.get()[:, 0].any()


@pytest.mark.parametrize("shapes", [((2, 3, 4, 5), (2, 3, 5, 6)), ((3, 4, 5), (5, 6)), ((4, 5), (3, 5, 6)), ((2, 1, 4, 5), (3, 5, 6)), ((0, 4, 5), (0, 5, 6)),
                                    ((2, 4, 0), (2, 0, 3))])
def test_batches(shapes):
    """Kills: the matrix of another place in the batch; one that is repeated taken for many."""
    a, b = draw(*shapes[0]), draw(*shapes[1], seed=1)
    close(cuda.matmul(a, b), a @ b, 5)
    last = np.swapaxes(np.ascontiguousarray(np.swapaxes(a, 0, -1)), 0, -1)
    close(cuda.matmul(last, b), a @ b, 5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("parts", [2, 3, 7])
def test_a_sum_in_parts(parts, dtype, monkeypatch):
    """Kills: an element of K in two parts or in none; a part that is empty; the bias added once for each."""
    monkeypatch.setattr(module, "cut", lambda *_: ("small", parts))
    x, w, bias = draw(3, 21, dtype=dtype), draw(66, 21, dtype=dtype, seed=1), draw(66, dtype=dtype, seed=2)
    close(cuda.linear(x, w, bias), x @ w.T + bias, 21)
    a, b = draw(2, 5, 21, dtype=dtype), draw(2, 21, 4, dtype=dtype, seed=1)
    close(cuda.matmul(a, b), a @ b, 21)


def test_the_cut():
    """By shape alone. Kills: many parts where there are blocks enough; none where a long sum leaves the device idle, or a second round of blocks nearly empty;
    a large tile in double."""
    f, d = np.dtype(np.float32), np.dtype(np.float64)
    assert module.cut(4096, 4096, 64, 1, f) == ("large", 1) and module.cut(4096, 4096, 64, 1, d) == ("small", 1)
    assert module.cut(10, 10, 100_000, 1, f) == ("small", 264) and module.cut(10, 10, 300, 1, f) == ("small", 1) and module.cut(64, 64, 4096, 36, f) == ("small", 11)
    assert module.cut(256, 2304, 3136, 1, f) == ("small", 3)  # 144 tiles: two rounds, the second of 12; three times as many: four, of a third of the length
    assert module.cut(1024, 1024, 1024, 1, f) == ("small", 1) and module.cut(0, 5, 1000, 1, f)[1] <= 3


@pytest.mark.parametrize("x_shape", [(3, 7), (2, 3, 7), (7,), (0, 7)])
def test_linear(x_shape):
    """Kills: a bias for rows in place of columns; leading axes lost."""
    x, w, bias = draw(*x_shape), draw(5, 7, seed=1), draw(5, seed=2)
    close(cuda.linear(x, w, bias), x @ w.T + bias, 8)
    close(cuda.linear(x, w, None), x @ w.T, 7)


def test_wrong_shapes_and_choices(monkeypatch):
    a = to_device(draw(3, 4))
    with pytest.raises(ValueError, match=r"matmul: shapes \(3, 4\) and \(3, 4\) do not fit"):
        module.matmul(a, a)
    monkeypatch.setenv("TINYCNN_CUDA_MATMUL", "mkl")
    with pytest.raises(ValueError, match="TINYCNN_CUDA_MATMUL is 'mkl'; it can be 'own' or 'cublas'"):
        module.matmul(a, a.T)
    monkeypatch.setenv("TINYCNN_CUDA_MATMUL", "cublas")
    assert module.uses_cublas() != is_simulated() and module.multiply(a, a.T, empty((3, 3), a.dtype)).shape == (3, 3)
