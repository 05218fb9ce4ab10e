"""Softmax and its logarithm: both implementations against PyTorch, on every axis, and where exponentials overflow, vanish or are infinite."""
import numpy as np
import pytest
from cuda_device import CUDA, kernels_of
from kernel_checks import DTYPES, IMPLEMENTATIONS, assert_gradient, assert_same_bits_on_any_number_of_threads, in_poisoned_memory, layouts, stored
from tolerance import close

from tinycnn.kernels import backend
from tinycnn.kernels.softmax.exponential import exp

#   shape, axis
CASES = {
    "classes": ((5, 7), 1),
    "first axis": ((4, 3), 0),
    "channels of images": ((2, 4, 3, 2), 1),
    "middle axis, counted from the end": ((3, 2, 5, 2), -2),
    "one number": ((6, 1), 1),
    "one axis": ((9,), 0),
    "more rows than a tile": ((19, 3), -1),
}
FUNCTIONS = ("softmax", "log_softmax")


def draw(case, dtype=np.float64):
    """x, dy"""
    rng, shape = np.random.default_rng(0), CASES[case][0]
    return (5 * rng.standard_normal(shape)).astype(dtype), rng.standard_normal(shape).astype(dtype)


def pytorch(torch, case):
    """PyTorch's answers, by name."""
    x, dy = map(torch.tensor, draw(case))
    answers = {}
    for name in FUNCTIONS:
        y = getattr(torch, name)(x.requires_grad_(), CASES[case][1])
        answers[name], answers[f"{name} dx"] = y.detach().numpy(), torch.autograd.grad(y, x, dy)[0].numpy()
    return answers


def both(kernels, name, x, dy, axis):
    """(y, dx)"""
    y = getattr(kernels, name)(x, axis)
    return y, getattr(kernels, f"{name}_backward")(dy, y, axis)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
@pytest.mark.parametrize("case", CASES)
def test_pytorch_vectors(case, implementation, name, dtype):
    """Kills: a sum over another axis; an axis put back in the wrong place; x for y or dy for dy*y in the backward; rows beyond a tile forgotten."""
    shape, axis = CASES[case]
    y, dx = in_poisoned_memory(lambda: both(kernels_of(implementation).softmax, name, *draw(case, dtype), axis))
    assert y.dtype == dx.dtype == dtype
    close(y, stored("softmax", case)[name], shape[axis])
    close(dx, stored("softmax", case)[f"{name} dx"], shape[axis])


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES)
def test_live_pytorch(case):
    """The stored vectors are not stale, in values or in the cases they cover."""
    import torch
    for name, answer in pytorch(torch, case).items():
        close(stored("softmax", case)[name], answer, 9)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_the_gradient(implementation, name):
    """Against differences. Kills: the common term forgotten or of the wrong sign."""
    kernels = kernels_of(implementation).softmax
    x, dy = draw("channels of images")
    x /= 5
    assert_gradient(both(kernels, name, x, dy, 1)[1], lambda x: getattr(kernels, name)(x, 1), x, dy)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_large_and_infinite_logits(implementation, dtype):
    """Kills: exponentials without the shift; log(softmax(x)) for log_softmax, which is -inf too soon; NaN or a warning where a logit is -inf, an answer where no
    softmax exists; a NaN that is passed over, wherever it stands."""
    kernels = kernels_of(implementation).softmax
    x = np.array([[1e4, 1e4, -1e4], [-1e4, -1e4 - 200, -2e4], [0, -np.inf, 0]], dtype)
    np.testing.assert_array_equal(kernels.softmax(x, 1)[0], np.array([0.5, 0.5, 0], dtype))
    np.testing.assert_array_equal(kernels.softmax(x, 1)[2], np.array([0.5, 0, 0.5], dtype))
    close(kernels.log_softmax(x, 1)[:2], np.array([[-np.log(2), -np.log(2), -2e4 - np.log(2)], [0, -200, -1e4]]))
    assert kernels.log_softmax(x, 1)[2, 1] == -np.inf
    for row in ([-np.inf] * 3, [0, np.inf, 0], [np.nan, 0, 0], [0, np.nan, 1], [0, 1, np.nan]):
        for name in FUNCTIONS:
            y = getattr(kernels, name)(np.array([row, [0, 0, 0]], dtype), 1)
            assert np.isnan(y[0]).any() and np.isfinite(y[1]).all(), (name, row)
    assert np.isnan(kernels.softmax(np.full((1, 3), -np.inf, dtype), 1)).all()


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_float32_against_float64(implementation):
    """A thousand classes. Kills: float32 sums that drift, a total rounded too soon."""
    kernels = kernels_of(implementation).softmax
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((3, 1000)).astype(np.float32) for _ in range(2))
    for name in FUNCTIONS:
        for answer, exact in zip(both(kernels, name, x, dy, 1), both(backend("reference").softmax, name, x.astype(np.float64), dy.astype(np.float64), 1)):
            close(answer, exact)
    close(kernels.softmax(x, 1).sum(1), np.ones(3), 1000)


def test_the_exponential():
    """From 0 down to where float64 ends, each within tolerance of itself; beyond, 0. Kills: terms missing, log 2 in one part, an exponent off by one, a NaN lost."""
    x = -np.concatenate([np.linspace(0, 1.1, 500), np.linspace(0, 708, 1500)])
    close(np.array([exp(value) for value in x]) / np.exp(x), np.ones_like(x))
    assert exp(0.0) == 1 and exp(-709.0) == exp(-np.inf) == 0 and np.isnan(exp(np.nan))


def test_any_layout():
    """Kills: strides taken for those of a C-contiguous array."""
    kernels = backend("cpu").softmax
    x, dy = draw("channels of images")
    for name in FUNCTIONS:
        y, dx = both(kernels, name, x, dy, 1)
        for X, DY, Y in zip(layouts(x), layouts(dy), layouts(y)):
            np.testing.assert_array_equal(getattr(kernels, name)(X, 1), y)
            np.testing.assert_array_equal(getattr(kernels, f"{name}_backward")(DY, Y, 1), dx)


def test_the_same_bits_on_any_number_of_threads():
    """Kills: tiles cut by the number of threads."""
    kernels = backend("cpu").softmax
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((37, 50)).astype(np.float32) for _ in range(2))
    for name in FUNCTIONS:
        assert_same_bits_on_any_number_of_threads(lambda name=name: both(kernels, name, x, dy, 1))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 3)])
@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_empty_arrays(implementation, shape):
    """Kills: the maximum of nothing."""
    kernels, x = kernels_of(implementation).softmax, np.zeros(shape)
    for name in FUNCTIONS:
        y, dx = both(kernels, name, x, x, 1)
        assert y.shape == dx.shape == shape
