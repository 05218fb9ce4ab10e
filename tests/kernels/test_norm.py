"""Batch normalisation: both implementations against PyTorch, against differences, and on data whose mean drowns its variance."""
import numpy as np
import pytest
from cuda_device import CUDA, kernels_of
from kernel_checks import DTYPES, IMPLEMENTATIONS, assert_gradient, assert_same_bits_on_any_number_of_threads, in_poisoned_memory, layouts, stored
from tolerance import close

from tinycnn.kernels import backend, memory
from tinycnn.kernels.layout import from_nhwc, is_channels_last, nhwc

#   x (N, C, ...), with weight and bias, eps
CASES = {
    "images": ((3, 4, 2, 5), True, 1e-5),
    "without weight": ((2, 3, 3, 3), False, 1e-5),
    "features": ((7, 5), True, 1e-5),
    "sequences": ((4, 3, 6), True, 1e-3),
    "volumes": ((2, 2, 2, 3, 2), True, 1e-5),
    "one image": ((1, 3, 4, 4), True, 1e-5),
    "one place": ((5, 3, 1, 1), True, 1e-5),
    "eps as large as the variance": ((4, 2, 3, 3), True, 1.0),
}


def draw(case, dtype=np.float64):
    """x, weight, bias, dy: every channel with a mean and a deviation of its own."""
    shape, affine, _ = CASES[case]
    rng, C = np.random.default_rng(0), shape[1]
    channels = (C, *[1] * (len(shape) - 2))
    x = rng.standard_normal(shape) * rng.uniform(0.5, 2, channels) + rng.uniform(-2, 2, channels)
    weight, bias = (rng.standard_normal(C).astype(dtype) if affine else None for _ in range(2))
    return x.astype(dtype), weight, bias, rng.standard_normal(shape).astype(dtype)


def all_answers(norm, case, dtype=np.float64):
    """y, mean, var; dx, dweight, dbias; and y of inference with another mean and variance."""
    x, weight, bias, dy = draw(case, dtype)
    eps = CASES[case][2]
    y, mean, var = norm.batch_forward(x, weight, bias, eps)
    return dict(zip(("y", "mean", "var", "dx", "dweight", "dbias", "inference"),
                    (y, mean, var, *norm.batch_backward(dy, x, weight, mean, var, eps), norm.batch_inference(x, weight, bias, mean / 2, var * 2, eps))))


def pytorch(torch, case):
    """PyTorch's answers, by the same names."""
    x, weight, bias, dy = (None if array is None else torch.tensor(array) for array in draw(case))
    eps, C = CASES[case][2], x.shape[1]
    weight, bias = (torch.full((C,), float(one)).double() if given is None else given for one, given in ((1, weight), (0, bias)))
    leaves = [t.requires_grad_() for t in (x, weight, bias)]
    running_mean, running_var = torch.zeros(C).double(), torch.zeros(C).double()
    y = torch.nn.functional.batch_norm(x, running_mean, running_var, weight, bias, True, 1.0, eps)
    M = x.numel() // C
    mean, var = running_mean, running_var * ((M - 1) / M)  # its running variance is unbiased
    inference = torch.nn.functional.batch_norm(x, mean / 2, var * 2, weight, bias, False, 0.0, eps)
    answers = dict(zip(("y", "mean", "var", "dx", "dweight", "dbias", "inference"), (y, mean, var, *torch.autograd.grad(y, leaves, dy), inference)))
    return {name: tensor.detach().numpy() for name, tensor in answers.items()}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
@pytest.mark.parametrize("case", CASES)
def test_pytorch_vectors(case, implementation, dtype):
    """Kills: an unbiased variance; eps outside the root; each of the three terms of dx forgotten; weight left out of dx; batch and channel confused."""
    norm = kernels_of(implementation).norm
    for name, answer in in_poisoned_memory(lambda: all_answers(norm, case, dtype)).items():
        assert answer.dtype == (np.float64 if name in ("mean", "var") else dtype)
        close(answer, stored("norm", case)[name], draw(case)[0].size, dtype)


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES)
def test_live_pytorch(case):
    """The stored vectors are not stale, in values or in the cases they cover."""
    import torch
    for name, answer in pytorch(torch, case).items():
        close(stored("norm", case)[name], answer, draw(case)[0].size)


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
@pytest.mark.parametrize("case", CASES)
def test_the_gradient(case, implementation):
    """Against differences, with a random cotangent: the sum of a normalised batch has no gradient at all. Kills: mean or variance taken for constants."""
    norm, eps = kernels_of(implementation).norm, CASES[case][2]
    x, weight, bias, dy = draw(case)
    answers = all_answers(norm, case)
    assert_gradient(answers["dx"], lambda x: norm.batch_forward(x, weight, bias, eps)[0], x, dy)
    if weight is not None:
        assert_gradient(answers["dweight"], lambda weight: norm.batch_forward(x, weight, bias, eps)[0], weight, dy)
        assert_gradient(answers["dbias"], lambda bias: norm.batch_forward(x, weight, bias, eps)[0], bias, dy)


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
@pytest.mark.parametrize("shape", [(8, 2, 30, 31), (500, 2)])
def test_a_mean_a_thousand_times_the_deviation(shape, implementation):
    """float32 with mean 1000 and deviation 1, against float64 on the same numbers: 1000 has 6e-5 between neighbours, and z may be off by that much and no more.
    Kills: E[x^2] - E[x]^2 in float32, which is off by a tenth and may be negative; weight * x - weight * mean, which is off by several neighbours."""
    x = (1000 + np.random.default_rng(0).standard_normal(shape)).astype(np.float32)
    weight, bias = np.array([1, -2], np.float32), np.array([0.5, 1000], np.float32)
    y, mean, var = kernels_of(implementation).norm.batch_forward(x, weight, bias, 1e-5)
    exact, exact_mean, exact_var = backend("reference").norm.batch_forward(x.astype(np.float64), weight.astype(np.float64), bias.astype(np.float64), 1e-5)
    close(mean, exact_mean, dtype=np.float32)
    close(var, exact_var, dtype=np.float32)
    assert np.abs(y - exact)[:, 0].max() < 2e-5
    dy = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    dx = kernels_of(implementation).norm.batch_backward(dy, x, weight, mean, var, 1e-5)[0]
    exact_dx = backend("reference").norm.batch_backward(dy.astype(np.float64), x.astype(np.float64), weight.astype(np.float64), exact_mean, exact_var, 1e-5)[0]
    assert np.abs(dx - exact_dx).max() < 1e-4 * np.abs(exact_dx).max()


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_a_constant_channel(implementation):
    """Its variance is 0, exactly: y is the bias and nothing overflows. Kills: a variance that rounding makes negative; eps forgotten."""
    x = np.full((2, 1, 3, 3), np.float32(0.1))
    y, mean, var = kernels_of(implementation).norm.batch_forward(x, None, np.array([7], np.float32), 1e-5)
    close(mean, np.array([0.1]), x.size, np.float32)
    assert var.item() < 1e-16
    close(y, np.full_like(x, 7), x.size)


def test_float32_sums_do_not_drift():
    """A channel of 300,000 values near 1: summed in float32 one after the other its mean is off by 1e-3. Kills: sums in float32."""
    x = np.random.default_rng(0).uniform(0.9, 1.1, (3, 1, 100_000)).astype(np.float32)
    _, mean, var = backend("cpu").norm.batch_forward(x, None, None, 1e-5)
    close(mean, x.mean(dtype=np.float64).reshape(1), dtype=np.float32)
    close(var, x.var(dtype=np.float64).reshape(1), dtype=np.float32)


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_a_mean_a_million_times_the_deviation(implementation):
    """In float64. Kills: E[x^2] - E[x]^2, in double as well: it has four digits left here."""
    noise = np.random.default_rng(0).standard_normal((4, 2, 10, 10))
    _, mean, var = kernels_of(implementation).norm.batch_forward(noise + 1e6, None, None, 1e-5)
    exact = (noise + 1e6) - 1e6  # as much of it as there is in the sums
    close(mean, exact.mean((0, 2, 3)) + 1e6)
    close(var, exact.var((0, 2, 3)), 400)


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_a_channel_that_begins_far_away(implementation):
    """Its first element is all the deviation there is. Kills: sums of distances to the first element that are not kept in double."""
    x = np.full((1, 2, 20, 20), 3, np.float32)
    x[0, :, 0, 0] = 1e4, -1e4
    _, mean, var = kernels_of(implementation).norm.batch_forward(x, None, None, 1e-5)
    close(mean, x.mean((0, 2, 3), dtype=np.float64), dtype=np.float32)
    close(var, x.var((0, 2, 3), dtype=np.float64), dtype=np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
@pytest.mark.parametrize("C", [1, 700])
def test_running_statistics(C, implementation, dtype):
    """By momentum and as plain averages, each of the three present or not, of many channels (the counter is read by all and raised once) and of an empty batch.
    Kills: a biased variance; the old and the new exchanged; an average that counts from 0; channels beyond a block."""
    follow_, rng, M = kernels_of(implementation).norm.follow_, np.random.default_rng(0), 6
    mean, var = rng.standard_normal(C), rng.uniform(1, 2, C)
    running_mean, running_var, batches = rng.standard_normal(C).astype(dtype), rng.uniform(1, 2, C).astype(dtype), np.array(3)
    for momentum, fresh in ((0.3, 0.3), (None, 1 / 5), (0, 0), (1.0, 1)):
        expected = [(1 - fresh) * running + fresh * seen for running, seen in ((running_mean, mean), (running_var, var * M / (M - 1)))]
        follow_(running_mean, running_var, batches, mean, var, M, momentum)
        close(running_mean, expected[0], dtype=dtype)
        close(running_var, expected[1], dtype=dtype)
    assert batches == 7 and running_mean.dtype == dtype
    before = running_mean.copy()
    follow_(running_mean, running_var, batches, mean, var, 0, None)
    np.testing.assert_array_equal(running_mean, before)
    follow_(None, None, batches, mean, var, M, 0.5)
    assert batches == 9
    follow_(None, running_var, None, mean, var, M, 1.0)
    close(running_var, var * M / (M - 1), dtype=dtype)


def in_order(array, order):
    """The same numbers, contiguous or channels-last."""
    return np.ascontiguousarray(array) if order == "contiguous" else from_nhwc(nhwc(array))


def test_any_layout():
    """Channels-last memory has kernels of its own, which add in another order. Kills: strides taken for those of a C-contiguous array."""
    norm = backend("cpu").norm
    x, weight, bias, dy = draw("images")
    y, mean, var = norm.batch_forward(x, weight, bias, 1e-5)
    dx = norm.batch_backward(dy, x, weight, mean, var, 1e-5)[0]
    gaps = [np.repeat(values, 2)[::2] for values in (weight, bias, mean, var)]
    for X, DY in zip(layouts(x), layouts(dy)):
        close(norm.batch_forward(X, *gaps[:2], 1e-5)[0], y, x.size)
        close(norm.batch_backward(DY, X, gaps[0], *gaps[2:], 1e-5)[0], dx, x.size)
        close(norm.batch_inference(X, *gaps, 1e-5), norm.batch_inference(x, weight, bias, mean, var, 1e-5))
    mixed = norm.batch_backward(in_order(dy, "channels-last"), x, weight, mean, var, 1e-5)[0]
    np.testing.assert_array_equal(mixed, dx)


# one channel and one pixel, less than a vector, more, several tiles; the last needs two tiles and ends within a row and within a vector
SIZES = [(1, 1, 3, 5), (2, 3, 5, 7), (3, 17, 9, 11), (2, 64, 7, 9), (5, 3, 131, 37), (3, 24, 1, 1), (0, 5, 3, 3), (2, 300, 3, 3)]


@pytest.mark.parametrize("past_cache", [False, True])
@pytest.mark.parametrize("order", ["contiguous", "channels-last"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SIZES)
def test_both_orders_on_all_sizes(shape, dtype, order, past_cache, monkeypatch):
    """With and without a rectifier and a residual, against the reference; results lie as x does. Kills: the end of a row, a tile or an array; sums of the wrong
    channel; a mask for the wrong element; the residual rectified before it is added; dy taken after or without the mask; writing past the cache off by a vector."""
    monkeypatch.setattr(memory, "LARGE", 0 if past_cache else 1 << 60)
    rng, C = np.random.default_rng(0), shape[1]
    x, dy, added = (in_order(rng.standard_normal(shape).astype(dtype), order) for _ in range(3))
    x += np.arange(C, dtype=dtype).reshape(C, 1, 1)
    weight, bias = (rng.standard_normal(C).astype(dtype) for _ in range(2))
    answers = []
    for implementation in ("reference", "cpu"):
        norm = kernels_of(implementation).norm
        y, mean, var = norm.batch_forward(x, weight, bias, 1e-3)
        rectified = norm.batch_forward(x, weight, bias, 1e-3, True)[0]
        residual = norm.batch_forward(x, weight, bias, 1e-3, True, added)[0]
        inference = norm.batch_inference(x, weight, bias, mean * 0.9, var * 2, 1e-3, True, added)
        backward = norm.batch_backward(dy, x, weight, mean, var, 1e-3)
        relu_backward = norm.batch_relu_backward(dy, x, None, weight, bias, mean, var, 1e-3)
        residual_backward = norm.batch_relu_backward(dy, x, residual, weight, bias, mean, var, 1e-3)
        assert relu_backward[3] is None
        answers.append((y, mean, var, rectified, residual, inference, *backward, *relu_backward[:3], *residual_backward))
    for actual, expected in zip(answers[1], answers[0]):
        assert actual.dtype == expected.dtype
        close(actual, expected, 4 * x.size, dtype)
        assert actual.ndim < 4 or (is_channels_last(actual) if order == "channels-last" else actual.flags.c_contiguous)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("C", [16, 48, 272, 24, 3])
def test_dy_that_is_some_channels_of_a_larger_array(C, dtype):
    """The same bits as of a copy of them, with a rectifier and a residual or without. More pixels than a tile has; channels that do not fill vectors are copied.
    Kills: pixels not told from rows; the distance from pixel to pixel taken for that in x; channels beside them read; another order of sums."""
    norm, rng, shape = backend("cpu").norm, np.random.default_rng(0), (2, C, 67, 41)
    x, y = (in_order(rng.standard_normal(shape).astype(dtype), "channels-last") for _ in range(2))
    weight, bias = (rng.standard_normal(C).astype(dtype) for _ in range(2))
    larger = in_order(rng.standard_normal((2, C + 9, 67, 41)).astype(dtype), "channels-last")
    larger[:, :4] = larger[:, 4 + C:] = np.nan
    some = larger[:, 4:4 + C]
    _, mean, var = norm.batch_forward(x, weight, bias, 1e-3)

    def answers(dy):
        return (*norm.batch_backward(dy, x, weight, mean, var, 1e-3), *norm.batch_relu_backward(dy, x, None, weight, bias, mean, var, 1e-3)[:3],
                *norm.batch_relu_backward(dy, x, y, weight, bias, mean, var, 1e-3))
    for actual, expected in zip(answers(some), answers(some.copy())):
        np.testing.assert_array_equal(actual, expected)
    assert_same_bits_on_any_number_of_threads(lambda: answers(some))


@pytest.mark.parametrize("order", ["contiguous", "channels-last"])
def test_the_mask_is_that_of_the_output(order):
    """Where the output is 0 nothing passes, to the element, also where the mean leaves float32 few digits. Kills: a mask from a value rounded otherwise."""
    norm = backend("cpu").norm
    x = in_order((1000 + np.random.default_rng(0).standard_normal((4, 8, 31, 29))).astype(np.float32), order)
    weight, bias = np.linspace(0.5, 2, 8, dtype=np.float32), np.linspace(-1, 1, 8, dtype=np.float32)
    y, mean, var = norm.batch_forward(x, weight, bias, 1e-5, True)
    dbias = norm.batch_relu_backward(np.ones_like(x), x, None, weight, bias, mean, var, 1e-5)[2]
    np.testing.assert_array_equal(dbias, (y > 0).sum((0, 2, 3)))


def test_the_same_bits_on_any_number_of_threads():
    """In float64, where the last bit of a sum shows. Kills: sums shared out by the number of threads."""
    norm = backend("cpu").norm
    x = np.random.default_rng(0).standard_normal((9, 5, 13, 17))

    def run():
        y, mean, var = norm.batch_forward(x, None, None, 1e-5)
        return y, mean, var, *norm.batch_backward(y, x, None, mean, var, 1e-5), norm.batch_inference(x, None, None, mean, var, 1e-5)
    assert_same_bits_on_any_number_of_threads(run)
    x = in_order(np.random.default_rng(0).standard_normal((9, 5, 43, 47)), "channels-last")
    assert_same_bits_on_any_number_of_threads(run)
    assert_same_bits_on_any_number_of_threads(lambda: norm.batch_relu_backward(x, x, abs(x), None, None, np.zeros(5), np.ones(5), 1e-5))


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (2, 3, 0), (0, 3)])
def test_empty_batches(shape, implementation):
    """Mean and variance of nothing are 0, and no warning is given. Kills: a division by the size of the batch."""
    norm, x = kernels_of(implementation).norm, np.zeros(shape)
    y, mean, var = norm.batch_forward(x, None, None, 1e-5)
    np.testing.assert_array_equal([mean, var], np.zeros((2, 3)))
    dx, dweight, dbias = norm.batch_backward(x, x, None, mean, var, 1e-5)
    np.testing.assert_array_equal([dweight, dbias], np.zeros((2, 3)))
    assert y.shape == dx.shape == norm.batch_inference(x, None, None, mean, var, 1e-5).shape == shape
