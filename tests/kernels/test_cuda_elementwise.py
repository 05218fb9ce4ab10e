"""Elementwise CUDA kernels against the NumPy reference: every function, both precisions, integers, broadcasting, views, numbers in place of arrays."""
import numpy as np
import pytest
from cuda_device import kernels_of, needs_simulator
from kernel_checks import DTYPES, layouts

from tinycnn.kernels import backend
from tinycnn.kernels.elementwise.cuda import FORMULAS
from tinycnn.kernels.layout import from_nhwc, is_channels_last, nhwc

pytestmark = needs_simulator
reference = backend("reference").elementwise
cuda = kernels_of("cuda").elementwise

ROUNDED = {"exp", "log", "sqrt", "sin", "cos", "tanh", "sigmoid", "pow"}  # a libm differs from another in the last bits; all else is exact
SPECIAL = [0.0, -0.0, 1.0, -1.5, 2.5, 0.5, -0.5, np.inf, -np.inf, np.nan, 1e-30, 88.0, -120.0, 3.0, -7.0]


def assert_same(actual, expected, name=""):
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    if name in ROUNDED:
        np.testing.assert_allclose(actual, expected, rtol=8 * np.finfo(expected.dtype).eps, atol=8 * np.finfo(expected.dtype).tiny)
    else:
        np.testing.assert_array_equal(actual, expected)


def draw(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("name", [*FORMULAS, "sigmoid", "pow"])
def test_every_function(name):
    """All pairs of numbers at which functions turn. Kills: a wrong formula; NaN, infinities, signs, zeros treated otherwise than by NumPy."""
    unary = name == "sigmoid" or (name in FORMULAS and FORMULAS[name][0].nin == 1)
    dtypes = DTYPES if name in ("add", "exp", "floor_div") else [np.float32]
    for dtype in dtypes:
        a, b = (x.astype(dtype) for x in np.meshgrid(SPECIAL, SPECIAL))
        operands = (a,) if unary else (a, b)
        with np.errstate(all="ignore"):
            expected = getattr(reference, name)(*operands)
        assert_same(getattr(cuda, name)(*operands), expected, name)


@pytest.mark.parametrize("n", [1, 255, 1024, 1025, 3000])
def test_sizes(n):
    """Of a block and its neighbours. Kills: the end of an array forgotten or passed; elements of a thread skipped."""
    a, b = draw(n), draw(n, seed=1)
    assert_same(cuda.add(a, b), a + b)
    assert_same(cuda.add(a[:1], b), a[:1] + b)


@pytest.mark.parametrize("shapes", [((2, 3, 4), (4,)), ((2, 3, 4), (3, 1)), ((5, 1), (1, 7)), ((), (2, 3)), ((0, 3), (1, 3)), ((2, 1, 3, 1), (4, 1, 5)), ((1, 1), ())])
def test_broadcasting(shapes):
    """Kills: a stride of the wrong axis; axes merged that only one array passes through; an empty launch."""
    a, b = draw(*shapes[0]), draw(*shapes[1], seed=1)
    assert_same(cuda.sub(a, b), np.asarray(a - b))
    assert_same(cuda.where(a > 0, b, 0.5), np.asarray(np.where(a > 0, b, np.float32(0.5))))


def test_any_layout():
    """Kills: strides ignored or taken for those of another operand; a backward array read from its last element on."""
    a, b = draw(2, 3, 4, 5), draw(2, 3, 4, 5, seed=1)
    for A in (a, *layouts(a)):
        for B in (b, *layouts(b)):
            assert_same(cuda.sub(A, B), a - b)
    last = from_nhwc(nhwc(a))
    assert is_channels_last(cuda.mul(last, b)) and cuda.mul(a, last).flags.c_contiguous


def test_in_place():
    """Into views, from memory that overlaps. Kills: gaps written; a sum that reads what it has written; a copy in place of the array."""
    whole = np.zeros((4, 6), np.float32)
    a = draw(4, 3)
    cuda.add_(whole[:, ::2], a)
    np.testing.assert_array_equal(whole[:, ::2], a)
    assert not whole[:, 1::2].any()
    cuda.copy_(whole, a[0, 0:1])
    np.testing.assert_array_equal(whole, np.full((4, 6), a[0, 0]))


def test_overlapping_memory():
    """Kills: a launch that reads what another of its threads has written."""
    from tinycnn.kernels.cuda import array_module
    x, device = np.arange(2000, dtype=np.float32), backend("cuda").elementwise
    y = array_module().asarray(x)
    device.add_(y[1:], y[:-1])
    np.testing.assert_array_equal(y.get(), np.r_[x[0], x[1:] + x[:-1]])


@pytest.mark.parametrize("source", [np.float32, np.float64, np.int64, np.bool_, np.uint8])
def test_types(source):
    """Casts, and operands of two types. Kills: a number that changes the dtype; bits taken for numbers."""
    a = np.array([0, 1, 2, 3, 100]).astype(source)
    for target in (np.float32, np.float64, np.int32, np.bool_):
        assert_same(cuda.cast(a, np.dtype(target)), a.astype(target))
    assert_same(cuda.eq(a, 1), a == 1)
    if source != np.bool_:
        for operation in ("add", "mul", "floor_div", "mod", "maximum", "pow"):
            assert_same(getattr(cuda, operation)(a, 3), getattr(reference, operation)(a, 3), operation if source in DTYPES else "")
    assert_same(cuda.add(a, np.float64([0.5])), a + np.float64([0.5]))


@pytest.mark.parametrize("bounds", [(-0.5, 0.5), (None, 0.25), (0, None)])
def test_clamp(bounds):
    """Kills: a missing bound taken for 0; NaN clamped."""
    a = np.float32(SPECIAL)
    assert_same(cuda.clamp(a, *bounds), reference.clamp(a, *bounds))
    whole = np.arange(-3, 4)
    bounds = [bound if bound is None else int(2 * bound) for bound in bounds]
    assert_same(cuda.clamp(whole, *bounds), reference.clamp(whole, *bounds))


@pytest.mark.parametrize("axis", [0, 1, 3])
def test_copies_and_concatenations(axis):
    """Kills: a piece in the wrong place; channels-last memory lost."""
    pieces = [draw(*(n if i == axis else 2 + i for i in range(4)), seed=n) for n in (3, 0, 1)]
    expected = np.concatenate(pieces, axis)
    assert_same(cuda.concatenate(pieces, axis), expected)
    joined = cuda.concatenate([from_nhwc(nhwc(piece)) for piece in pieces if piece.size], axis)
    assert is_channels_last(joined)
    assert_same(joined, expected)
    copied = cuda.copy(expected, True)
    assert is_channels_last(copied) and cuda.copy(copied).flags.c_contiguous
    assert_same(copied, expected)
