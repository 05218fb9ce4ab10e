"""The rectifier: all implementations against PyTorch, numbers at which it turns included."""
from functools import partial

import numpy as np
import pytest
from cuda_device import CUDA, kernels_of, needs_simulator
from kernel_checks import DTYPES, IMPLEMENTATIONS, assert_gradient, assert_same_bits_on_any_number_of_threads, in_poisoned_memory, layouts, stored

from tinycnn.kernels import backend, memory
from tinycnn.kernels.layout import from_nhwc, is_channels_last, nhwc

CASES = {"numbers": 0, "turning points": 1}


def draw(case, dtype=np.float64):
    """x, dy: multiples of 1/8, which every dtype holds exactly; or where the rectifier turns, with a NaN gradient wherever none may pass."""
    if case == "numbers":
        rng = np.random.default_rng(0)
        x, dy = (np.round(8 * rng.standard_normal((3, 2, 5))) / 8 for _ in range(2))
    else:
        x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -1, 1e-30, -1e-30])
        dy = np.array([np.nan, np.nan, 2, np.nan, 3, np.inf, 4, -np.inf])
    return x.astype(dtype), dy.astype(dtype)


def pytorch(torch, case):
    """PyTorch's answers, by name."""
    x, dy = map(torch.tensor, draw(case))
    y = torch.relu(x.requires_grad_())
    return {"y": y.detach().numpy(), "dx": torch.autograd.grad(y, x, dy)[0].numpy()}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
@pytest.mark.parametrize("case", CASES)
def test_pytorch_vectors(case, implementation, dtype):
    """Kills: a gradient that passes at 0; y * dy for a choice (0 * inf is NaN); NaN turned into 0; an element at the end of the array forgotten."""
    kernels, expected = kernels_of(implementation).activation, stored("activation", case)
    x, dy = draw(case, dtype)
    y = in_poisoned_memory(lambda: kernels.relu(x))
    dx = in_poisoned_memory(lambda: kernels.relu_backward(dy, y))
    assert y.dtype == dx.dtype == dtype and x.tobytes() == draw(case, dtype)[0].tobytes()
    np.testing.assert_array_equal(y, expected["y"].astype(dtype))
    np.testing.assert_array_equal(dx, expected["dx"])
    assert kernels.relu_(x) is x
    np.testing.assert_array_equal(x, y)


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES)
def test_live_pytorch(case):
    """The stored vectors are not stale."""
    import torch
    for name, answer in pytorch(torch, case).items():
        np.testing.assert_array_equal(stored("activation", case)[name], answer)


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_the_gradient(implementation):
    """Against differences, away from the kink. Kills: a gradient of another function."""
    kernels = kernels_of(implementation).activation
    x, dy = draw("numbers")
    x += 1 / 16
    assert_gradient(kernels.relu_backward(dy, kernels.relu(x)), kernels.relu, x, dy)


def test_more_than_one_tile():
    """A size that is no multiple of a tile or a vector. Kills: a tile's offset; the last, shorter tile."""
    kernels, reference = backend("cpu").activation, backend("reference").activation
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal(2 * (1 << 14) + 4099).astype(np.float32) for _ in range(2))
    np.testing.assert_array_equal(kernels.relu(x), reference.relu(x))
    np.testing.assert_array_equal(kernels.relu_(x.copy()), reference.relu(x))
    np.testing.assert_array_equal(kernels.relu_backward(dy, x), reference.relu_backward(dy, x))
    assert_same_bits_on_any_number_of_threads(lambda: (kernels.relu(x), kernels.relu_(x.copy()), kernels.relu_backward(dy, x)))


@pytest.mark.parametrize("implementation, past_cache", [("cpu", False), ("cpu", True), pytest.param("cuda", False, marks=needs_simulator)])
def test_channels_last(implementation, past_cache, monkeypatch):
    """Results lie as x and y do, also where dy does not, or is some channels of a larger array. Kills: elements paired in memory order; the wrong array's order."""
    monkeypatch.setattr(memory, "LARGE", 0 if past_cache else 1 << 60)
    kernels, reference = kernels_of(implementation).activation, backend("reference").activation
    rng = np.random.default_rng(0)
    x, larger = rng.standard_normal((2, 19, 23, 29)), from_nhwc(nhwc(rng.standard_normal((2, 40, 23, 29))))
    last = from_nhwc(nhwc(x))
    for dy in (larger[:, 7:26], larger[:, 7:26].copy(), from_nhwc(nhwc(larger[:, 7:26]))):
        for y in (x, last):
            dx = kernels.relu_backward(dy, y)
            np.testing.assert_array_equal(dx, reference.relu_backward(dy, y))
            assert is_channels_last(dx) == is_channels_last(y)
    y = kernels.relu(last)
    np.testing.assert_array_equal(y, reference.relu(x))
    assert is_channels_last(y) and kernels.relu_(last) is last
    np.testing.assert_array_equal(last, y)


@pytest.mark.parametrize("implementation, past_cache", [("cpu", False), ("cpu", True), pytest.param("cuda", False, marks=needs_simulator)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 19, 23, 29), (3, 32, 20, 10), (1, 3, 60, 71), (2, 5, 1, 1), (1, 1, 4, 5), (0, 4, 3, 3), (16, 16, 40, 41)])
def test_the_gradient_with_its_sums(shape, dtype, implementation, past_cache, monkeypatch):
    """dx is relu_backward's to the last bit and NaN, db its sum in every channel, for y in both orders and dy in any, or some channels of a larger array.
    Kills: a row or a tile left out of the sums or counted twice; gaps between pixels read as gradients; lanes beyond the last element; sums of dy for those of dx."""
    monkeypatch.setattr(memory, "LARGE", 0 if past_cache else 1 << 60)
    kernels, reference = kernels_of(implementation).activation, backend("reference").activation
    rng = np.random.default_rng(0)
    N, C, H, W = shape
    y = np.maximum(rng.standard_normal(shape), 0).astype(dtype)
    y[(y > 2) & (y < 2.1)] = np.nan
    larger = from_nhwc(nhwc(rng.standard_normal((N, C + 9, H, W)).astype(dtype)))
    larger[:, :4] = larger[:, 4 + C:] = np.nan
    some = larger[:, 4:4 + C]
    for dy in (some, some.copy(), from_nhwc(nhwc(some))):
        for lying in (y, from_nhwc(nhwc(y))):
            dx, db = in_poisoned_memory(partial(kernels.relu_backward_sums, dy, lying))
            expected = reference.relu_backward(dy, y)
            np.testing.assert_array_equal(dx, expected)
            assert is_channels_last(dx) == is_channels_last(lying) and dx.dtype == db.dtype == dtype
            np.testing.assert_allclose(db, expected.astype(np.float64).sum((0, 2, 3)), rtol=0, atol=8 * np.finfo(dtype).eps * max(1, N * H * W) ** 0.5 * 4)
            if implementation == "cpu":
                assert_same_bits_on_any_number_of_threads(partial(kernels.relu_backward_sums, dy, lying))


@pytest.mark.parametrize("implementation", ["cpu", CUDA])
def test_any_layout(implementation):
    """In place as well: the view's elements change, what lies between them does not. Kills: strides ignored; a copy rectified instead of the array."""
    kernels = kernels_of(implementation).activation
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((2, 3, 4, 5)) for _ in range(2))
    y, dx = kernels.relu(x), kernels.relu_backward(dy, x)
    for X, DY in zip(layouts(x), layouts(dy)):
        np.testing.assert_array_equal(kernels.relu(X), y)
        np.testing.assert_array_equal(kernels.relu_backward(DY, X), dx)
        assert kernels.relu_(X) is X
        np.testing.assert_array_equal(X, y)
    whole = -np.ones((2, 6))
    kernels.relu_(whole[:, ::2])
    np.testing.assert_array_equal(whole, [[0, -1, 0, -1, 0, -1]] * 2)


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
@pytest.mark.parametrize("shape", [(0,), (2, 0, 3), ()])
def test_empty_arrays_and_numbers(shape, implementation):
    """Kills: a shape that does not survive."""
    kernels, x = kernels_of(implementation).activation, np.full(shape, -1.0)
    assert kernels.relu(x).shape == kernels.relu_(x.copy()).shape == kernels.relu_backward(x, x).shape == shape
    assert np.all(kernels.relu(x) == 0)
