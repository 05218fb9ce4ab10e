"""The sum of every channel, where it has kernels of its own: against NumPy in float64."""
import numpy as np
import pytest
from kernel_checks import DTYPES, assert_same_bits_on_any_number_of_threads, in_poisoned_memory, layouts
from tolerance import close

from tinycnn.kernels import backend
from tinycnn.kernels.layout import from_nhwc, nhwc
from tinycnn.kernels.reduce import cpu

SHAPES = [(3, 17, 43, 47), (2, 64, 33, 31), (5, 3, 131, 137), (70, 1000, 1, 1), (1, 1, 300, 301), (16, 192, 28, 28)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_of_channels(shape, dtype):
    """In all orders. Kills: an element of another channel; the end of a plane, a row or an array; a tile forgotten or counted twice; sums of a million in float32."""
    x = (1 + 0.1 * np.random.default_rng(0).standard_normal(shape)).astype(dtype)
    expected = x.sum((0, 2, 3), dtype=np.float64)
    for X in (x, from_nhwc(nhwc(x)), *layouts(x)):
        y = in_poisoned_memory(lambda X=X: cpu.sum(X, (0, 2, 3), False))
        assert y.dtype == dtype
        close(y, expected, 4)
    np.testing.assert_array_equal(cpu.sum(x, (0, 2, 3), True), cpu.sum(x, (0, 2, 3), False).reshape(1, -1, 1, 1))


def test_other_sums_are_numpys():
    """Kills: axes taken for those of the channels."""
    x = np.random.default_rng(0).standard_normal((4, 5, 60, 70))
    for axes in ((0, 2), (1, 2, 3), (0, 1, 2, 3), (3,)):
        np.testing.assert_array_equal(cpu.sum(x, axes, False), x.sum(axes))
    np.testing.assert_array_equal(cpu.sum(x.astype(int), (0, 2, 3), False), x.astype(int).sum((0, 2, 3)))
    np.testing.assert_array_equal(cpu.sum(x[:0], (0, 2, 3), False), np.zeros(5))


@pytest.mark.parametrize("order", [lambda x: x, lambda x: from_nhwc(nhwc(x))])
def test_the_same_bits_on_any_number_of_threads(order):
    """Kills: sums shared out by the number of threads."""
    x = order(np.random.default_rng(0).standard_normal((5, 19, 33, 37)))
    assert_same_bits_on_any_number_of_threads(lambda: cpu.sum(x, (0, 2, 3), False))


def test_both_backends_have_the_same_functions():
    """Kills: a function that only one of them has."""
    other = ("np", "record", "reference", "LARGE")
    names = [{name for name in dir(backend(kind).reduce) if not name.startswith("_") and name not in other} for kind in ("reference", "cpu")]
    assert names[0] == names[1]
