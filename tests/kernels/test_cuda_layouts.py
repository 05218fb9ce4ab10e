"""The CUDA kernels of everything but convolution and matrix product, against the reference: arrays that lie in memory in every way, sizes of several blocks and parts."""
import numpy as np
import pytest
from cuda_device import kernels_of, needs_simulator
from kernel_checks import DTYPES, layouts
from tolerance import close

from tinycnn.kernels import backend
from tinycnn.kernels.layout import from_nhwc, is_channels_last, nhwc
from tinycnn.kernels.window import Window

pytestmark = needs_simulator
reference, cuda = backend("reference"), kernels_of("cuda")
WINDOW = Window((3, 2), (2, 1), (1, 1))
ONES = np.linspace(0.5, 1.5, 300)


def norm(k, x, dy):
    """All of batch normalisation, plain, rectified, and with dy for a residual."""
    weight, bias = (values[:x.shape[1]].astype(x.dtype) for values in (ONES, ONES - 1))
    y, mean, var = k.norm.batch_forward(x, weight, bias, 1e-3)
    added, _, _ = k.norm.batch_forward(x, weight, bias, 1e-3, True, dy)
    rectified = k.norm.batch_forward(x, None, bias, 1e-3, True)[0]
    return (y, added, rectified, k.norm.batch_inference(x, weight, bias, mean.astype(x.dtype), var.astype(x.dtype), 1e-3, True, dy),
            *k.norm.batch_backward(dy, x, weight, mean, var, 1e-3), *k.norm.batch_relu_backward(dy, x, added, weight, bias, mean, var, 1e-3),
            *k.norm.batch_relu_backward(dy, x, None, None, bias, mean, var, 1e-3)[:3])


def max_pool(k, x, dy):
    y, winners = k.pool.max_forward(x, WINDOW)
    return (y, k.pool.max_values(x, WINDOW), k.pool.max_indices(winners, x.shape[2:], WINDOW), k.pool.max_gather(dy, winners, WINDOW),
            k.pool.max_backward(dy[..., :y.shape[2], :y.shape[3]] if y.shape[2] <= dy.shape[2] and y.shape[3] <= dy.shape[3] else y, winners, x.shape, WINDOW))


def average_pool(k, x, dy):
    y = k.pool.adaptive_avg_forward(x, (2, 3))
    return y, k.pool.avg_forward(x, WINDOW), k.pool.adaptive_avg_backward(dy[:, :, :2, :3], x.shape), k.pool.adaptive_max_forward(x, (3, 2))[0]


def lrn(k, x, dy):
    y, base = k.lrn.forward(x, 4, 0.9, 0.75, 1.0)
    return y, base, k.lrn.backward(dy, x, base, 4, 0.9, 0.75)


def softmax(k, x, dy):
    y, log_y = k.softmax.softmax(x, 1), k.softmax.log_softmax(x, 1)
    return y, log_y, k.softmax.softmax_backward(dy, y, 1), k.softmax.log_softmax_backward(dy, log_y, 1), k.softmax.softmax(x, 3), k.softmax.log_softmax(x, 0)


def cross_entropy(k, x, dy):
    target = np.arange(x.shape[0] * x.shape[2] * x.shape[3]).reshape(x.shape[0], *x.shape[2:]) % x.shape[1]
    losses, log_probs = k.cross_entropy.forward(x, target, ONES[:x.shape[1]].astype(x.dtype), 2, 0.1)
    return losses, log_probs, k.cross_entropy.backward(dy[:, 0], log_probs, target, None, 1, 0.2)


def reductions(k, x, dy):
    sums = [k.reduce.sum(x, axes, False) for axes in ((0, 2, 3), (1,), (3,), (0,), (0, 1, 2, 3), (1, 2))]
    extremes = [k.reduce.amax(x, (0, 3), True), k.reduce.amin(x, (1,), False), k.reduce.prod(x, (0,), False)]
    truths = [k.reduce.any(x > 1, (2,), False), k.reduce.all(x > -1, (1, 3), True)]
    return *sums, *extremes, *truths, *(k.reduce.argmax(x, axis, True) for axis in (None, 0, 1, 3)), k.reduce.argmin(x, -2, False)


def others(k, x, dy):
    return k.dropout.forward(x, 0.3, 5, 7), k.pad.constant(x, ((0, 1), (-1, 2), (0, 0), (2, -1)), 1.5)


OPERATIONS = [norm, max_pool, average_pool, lrn, softmax, cross_entropy, reductions, others]
ELEMENTWISE = {norm: (0, 1, 2, 3, 4, 7), max_pool: (0, 1, 2, 4), average_pool: (0, 1, 3), lrn: (0, 1, 2), softmax: range(6), cross_entropy: (1, 2), others: (0,)}


def draw(shape, dtype):
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal(shape).astype(dtype) for _ in range(2))


def check(operation, shape, X, DY, x, dy):
    for number, (actual, expected) in enumerate(zip(operation(cuda, X, DY), operation(reference, x, dy))):
        expected = np.asarray(expected)
        assert actual.dtype == expected.dtype or (expected.dtype == np.float64 and actual.dtype == x.dtype), number
        close(actual, expected, 4 * x.size, x.dtype)
        if is_channels_last(X) and number in ELEMENTWISE.get(operation, ()):
            assert is_channels_last(actual), number


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_both_orders(operation, dtype):
    """Images in each order with dy in each; results lie as x does. Kills: elements paired as they lie; strides of the other order; a type compiled for another."""
    x, dy = draw((2, 5, 4, 6), dtype)
    for X in (x, from_nhwc(nhwc(x))):
        for DY in (dy, from_nhwc(nhwc(dy))):
            check(operation, x.shape, X, DY, x, dy)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_any_layout(operation):
    """Kills: strides taken for those of contiguous memory."""
    x, dy = draw((2, 5, 4, 6), np.float64)
    for X, DY in zip(layouts(x), layouts(dy)):
        check(operation, x.shape, X, DY, x, dy)


# more channels than a block has teams and more pixels than a part; one channel of several parts; one pixel; one of everything
@pytest.mark.parametrize("shape", [(1, 35, 24, 23), (2, 1, 95, 93), (3, 300, 1, 1), (1, 1, 1, 1)])
@pytest.mark.parametrize("operation", [norm, softmax, reductions, lrn, others])
def test_sizes(operation, shape):
    """Kills: the last block or part forgotten or counted twice; a team larger than its row; partial sums of another channel."""
    x, dy = draw(shape, np.float32)
    if operation is others and shape[1] < 2:
        pytest.skip("nothing to crop")
    for X in (x, from_nhwc(nhwc(x))):
        check(operation, shape, X, dy, x, dy)


def test_sums_keep_their_digits():
    """20,000 numbers near 1, in both orders. Kills: float sums one after the other, which are off by 1e-4."""
    x = (1 + 0.1 * np.random.default_rng(0).standard_normal((2, 3, 60, 61))).astype(np.float32)
    for X in (x, from_nhwc(nhwc(x))):
        close(cuda.reduce.sum(X, (0, 2, 3), False), x.sum((0, 2, 3), dtype=np.float64), 4)
        close(cuda.reduce.sum(X, (0, 1, 2, 3), False), x.sum(dtype=np.float64), 4)


def test_nan_in_reductions():
    """Kills: NaN lost by a maximum; the position of a later NaN."""
    x = np.array([[1.0, np.nan, 3, np.nan], [5, 5, 2, -np.inf]])
    np.testing.assert_array_equal(cuda.reduce.amax(x, (1,), False), [np.nan, 5])
    np.testing.assert_array_equal(cuda.reduce.amin(x, (1,), False), [np.nan, -np.inf])
    np.testing.assert_array_equal(cuda.reduce.argmax(x, 1, False), [1, 0])
    np.testing.assert_array_equal(cuda.reduce.argmin(x, 1, False), [1, 3])
    assert cuda.reduce.sum(np.array([True, True]), (0,), False) == 2
    with pytest.raises(ValueError, match=r"the maximum of no elements: the array has shape \(0, 3\)"):
        cuda.reduce.amax(np.zeros((0, 3)), (0,), False)
