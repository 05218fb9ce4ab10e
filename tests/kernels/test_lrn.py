"""Local response normalisation: both implementations against PyTorch, and their gradients against differences where alpha is large enough for an error to show."""
import numpy as np
import pytest
from cuda_device import CUDA, kernels_of
from kernel_checks import DTYPES, IMPLEMENTATIONS, assert_gradient, assert_same_bits_on_any_number_of_threads, in_poisoned_memory, layouts, stored
from tolerance import close

from tinycnn.kernels import backend, memory
from tinycnn.kernels.layout import from_nhwc, is_channels_last, nhwc

#   x (N, C, ...), size, alpha, beta, k
CASES = {
    "as in the paper": ((2, 7, 3, 4), 5, 1e-4, 0.75, 2.0),
    "strong": ((2, 7, 2, 3), 5, 0.9, 0.75, 1.0),
    "another power": ((1, 5, 2, 2), 3, 1.1, 0.6, 0.5),
    "even size": ((1, 6, 2, 2), 4, 0.8, 0.75, 1.5),
    "size two": ((1, 4, 1, 3), 2, 0.7, 1.0, 1.0),
    "size one": ((1, 3, 2, 2), 1, 1.0, 0.75, 1.0),
    "wider than the channels": ((1, 3, 2, 2), 9, 0.5, 0.75, 1.0),
    "one channel": ((2, 1, 2, 2), 5, 1.0, 0.75, 1.0),
    "one axis of places": ((2, 5, 6), 3, 1.0, 0.75, 1.0),
    "three axes of places": ((1, 5, 2, 3, 2), 3, 1.0, 0.75, 1.0),
}


def draw(case, dtype=np.float64):
    """x, dy"""
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal(CASES[case][0]).astype(dtype) for _ in range(2))


def both(lrn, case, dtype):
    """(y, dx)"""
    _, size, alpha, beta, k = CASES[case]
    x, dy = draw(case, dtype)
    y, base = lrn.forward(x, size, alpha, beta, k)
    return y, lrn.backward(dy, x, base, size, alpha, beta)


def pytorch(torch, case):
    """PyTorch's answers, by name. Its alpha is ours times the size."""
    _, size, alpha, beta, k = CASES[case]
    x, dy = map(torch.tensor, draw(case))
    y = torch.nn.functional.local_response_norm(x.requires_grad_(), size, alpha * size, beta, k)
    return {"y": y.detach().numpy(), "dx": torch.autograd.grad(y, x, dy)[0].numpy()}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
@pytest.mark.parametrize("case", CASES)
def test_pytorch_vectors(case, implementation, dtype):
    """Kills: alpha divided by the size; an even window off centre, forward or backward; a window that runs over the last channel; a wrong power; tiles that overlap."""
    lrn = kernels_of(implementation).lrn
    for name, answer in zip(("y", "dx"), in_poisoned_memory(lambda: both(lrn, case, dtype))):
        assert answer.dtype == dtype
        close(answer, stored("lrn", case)[name], CASES[case][1])


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES)
def test_live_pytorch(case):
    """The stored vectors are not stale, in values or in the cases they cover."""
    import torch
    for name, answer in pytorch(torch, case).items():
        close(stored("lrn", case)[name], answer, CASES[case][1])


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
@pytest.mark.parametrize("case", CASES)
def test_the_gradient(case, implementation):
    """Against differences. At the paper's alpha a wrong second term passes; the strong cases tell. Kills: alpha for 2 alpha, a forgotten beta, x and y confused."""
    lrn = kernels_of(implementation).lrn
    _, size, alpha, beta, k = CASES[case]
    x, dy = draw(case)
    assert_gradient(both(lrn, case, np.float64)[1], lambda x: lrn.forward(x, size, alpha, beta, k)[0], x, dy)


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_a_neighbour_damps(implementation):
    """Numbers a person can check: 3 channels, windows of 3, base = 1 + sum of squares, power 1. Kills: alpha over the size, normalising over places."""
    x = np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1)
    y, base = kernels_of(implementation).lrn.forward(x, 3, 1.0, 1.0, 1.0)
    np.testing.assert_array_equal(base.ravel(), [6, 15, 14])
    close(y.ravel(), np.array([1 / 6, 2 / 15, 3 / 14]))


@pytest.mark.parametrize("beta", [0.75, 0.8])
def test_more_than_one_tile(beta):
    """More places than fit a tile, for the power that is square roots and for one that is not. Kills: a tile's offset; the last, shorter tile taken for a whole one."""
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((2, 3, 43, 61)) for _ in range(2))
    answers = []
    for implementation in IMPLEMENTATIONS:
        lrn = kernels_of(implementation).lrn
        y, base = lrn.forward(x, 3, 0.5, beta, 2.0)
        answers.append((y, base, lrn.backward(dy, x, base, 3, 0.5, beta)))
    for expected, answer in zip(*answers):
        close(answer, expected, 3)


def test_any_layout():
    """Kills: strides taken for those of a C-contiguous array."""
    lrn = backend("cpu").lrn
    x, dy = draw("as in the paper")
    y, base = lrn.forward(x, 5, 0.5, 0.75, 2.0)
    dx = lrn.backward(dy, x, base, 5, 0.5, 0.75)
    for DY, X, B in zip(*map(layouts, (dy, x, base))):
        for answer, expected in zip((*lrn.forward(X, 5, 0.5, 0.75, 2.0), lrn.backward(DY, X, B, 5, 0.5, 0.75)), (y, base, dx)):
            close(answer, expected, 5)


@pytest.mark.parametrize("past_cache", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size, beta", [(5, 0.75), (4, 0.75), (3, 0.6), (1, 0.75), (70, 0.75)])
@pytest.mark.parametrize("C", [2, 3, 17, 64])
def test_channels_last(C, size, beta, dtype, past_cache, monkeypatch):
    """Fewer channels than lanes, more, and whole vectors; windows of all kinds; more pixels than a task. Kills: a neighbour of another pixel; an even window off centre;
    the end of a pixel; a row that still holds the last pixel's numbers at its ends."""
    monkeypatch.setattr(memory, "LARGE", 0 if past_cache else 1 << 60)
    rng = np.random.default_rng(0)
    x, dy = (from_nhwc(nhwc(rng.standard_normal((2, C, 9, 17)).astype(dtype))) for _ in range(2))
    answers = []
    for implementation in IMPLEMENTATIONS:
        lrn = kernels_of(implementation).lrn
        y, base = lrn.forward(x, size, 0.5, beta, 2.0)
        answers.append((y, base, lrn.backward(dy, x, base, size, 0.5, beta)))
    for expected, answer in zip(*answers):
        assert answer.dtype == dtype and is_channels_last(answer)
        close(answer, expected, size)


def test_the_same_bits_on_any_number_of_threads():
    """Kills: tiles cut by the number of threads."""
    lrn = backend("cpu").lrn
    x = np.random.default_rng(0).standard_normal((3, 4, 40, 50)).astype(np.float32)

    def run():
        y, base = lrn.forward(x, 3, 0.5, 0.75, 2.0)
        return y, base, lrn.backward(x, x, base, 3, 0.5, 0.75)
    assert_same_bits_on_any_number_of_threads(run)
    x = from_nhwc(nhwc(x))
    assert_same_bits_on_any_number_of_threads(run)


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (2, 3, 0), (2, 0, 3)])
def test_empty_arrays(shape, implementation):
    """Kills: a division by the number of places, a reshape to -1."""
    lrn, x = kernels_of(implementation).lrn, np.zeros(shape)
    y, base = lrn.forward(x, 5, 1.0, 0.75, 1.0)
    assert y.shape == base.shape == lrn.backward(x, x, base, 5, 1.0, 0.75).shape == shape
