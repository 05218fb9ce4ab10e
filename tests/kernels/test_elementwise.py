"""Elementwise arithmetic on large arrays, where it has kernels of its own: against NumPy, in both memory orders and out of order."""
import numpy as np
import pytest
from kernel_checks import DTYPES, assert_same_bits_on_any_number_of_threads, in_poisoned_memory, layouts

from tinycnn.kernels import backend, memory
from tinycnn.kernels.elementwise import cpu, reference
from tinycnn.kernels.layout import from_nhwc, is_channels_last, nhwc

SHAPES = [(3, 17, 43, 47), (2, 64, 33, 31), (130, 1001), (100_003,), (2, 1, 300, 301)]


def draw(shape, dtype=np.float32, count=2):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for _ in range(count)]


def orders(a):
    """a in all memory orders that there are for its shape."""
    return [a, from_nhwc(nhwc(a)), *layouts(a)] if a.ndim == 4 else [a]


@pytest.mark.parametrize("past_cache", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_two_large_arrays(shape, dtype, past_cache, monkeypatch):
    """Kills: operands exchanged; an order taken for the other; the end of a tile; the gaps of a strided array written; operands changed."""
    monkeypatch.setattr(memory, "LARGE", 0 if past_cache else 1 << 60)
    a, b = draw(shape, dtype)
    for A in orders(a):
        for B in orders(b):
            for name, numpy in (("add", np.add), ("sub", np.subtract), ("mul", np.multiply)):
                y = getattr(cpu, name)(A, B)
                np.testing.assert_array_equal(y, numpy(a, b))
                assert is_channels_last(y) or y.flags.c_contiguous
            into = A.copy(order="K")
            cpu.add_(into, B)
            np.testing.assert_array_equal(into, a + b)
            cpu.copy_(into, B)
            np.testing.assert_array_equal(into, b)
            np.testing.assert_array_equal(A, a)
    y = in_poisoned_memory(lambda: cpu.add(a, b))
    assert y.dtype == dtype and y.shape == shape


def test_results_lie_as_the_first_operand():
    """Kills: a channels-last network that becomes contiguous at the first sum."""
    a, b = draw(SHAPES[0])
    last = from_nhwc(nhwc(a))
    assert is_channels_last(cpu.add(last, b)) and cpu.add(a, last).flags.c_contiguous


def test_what_is_not_alike_is_numpys():
    """Numbers, other shapes, other types, strided targets, and targets that are their own operand. Kills: any of these given to the kernels."""
    a, b = draw((300, 400))
    np.testing.assert_array_equal(cpu.add(a, 2), a + 2)
    np.testing.assert_array_equal(cpu.mul(3.0, a), 3 * a)
    np.testing.assert_array_equal(cpu.sub(a, b[:1]), a - b[:1])
    assert cpu.add(a, b.astype(np.float64)).dtype == np.float64
    np.testing.assert_array_equal(cpu.mul(a.astype(int), a.astype(int)), a.astype(int) ** 2)
    whole = np.zeros((600, 400), np.float32)
    cpu.add_(whole[::2], a)
    np.testing.assert_array_equal(whole[::2], a)
    assert not whole[1::2].any()
    expected = a.copy()
    expected[1:] += expected[:-1].copy()
    cpu.add_(a[1:], a[:-1])
    np.testing.assert_array_equal(a, expected)


@pytest.mark.parametrize("channels_last", [False, True])
def test_copies_are_fresh(channels_last):
    """In either order from any, large or small. Kills: a view in place of a copy, in one of the two implementations."""
    for shape, implementation in ((SHAPES[1], cpu), ((2, 3, 4, 5), cpu), ((2, 3, 4, 5), reference)):
        a, = draw(shape, count=1)
        for A in orders(a):
            y = implementation.copy(A, channels_last)
            np.testing.assert_array_equal(y, a)
            assert not np.may_share_memory(y, A)
            assert is_channels_last(y) if channels_last else y.flags.c_contiguous


@pytest.mark.parametrize("extents", [(3, 32, 0, 17), (32, 16, 0, 16), (16, 24, 0, 8)])
@pytest.mark.parametrize("past_cache", [False, True])
@pytest.mark.parametrize("dtype", [*DTYPES, np.int64])
@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_concatenations(axis, dtype, past_cache, extents, monkeypatch):
    """Pieces of several sizes, one empty, in all orders, among them some channels of larger arrays. Kills: a piece or a row off; the end of a piece within a vector;
    vectors written past the cache where they do not begin with one."""
    monkeypatch.setattr(memory, "LARGE", 0 if past_cache else 1 << 60)
    pieces = []
    for i, extent in enumerate(extents):
        shape = [4, 5, 29, 31]
        shape[axis] = extent
        pieces.append((10 * np.random.default_rng(i).standard_normal([extent + 20 if k == axis else n for k, n in enumerate(shape)])).astype(dtype))
    cut = tuple(slice(5, -15) if k == axis else slice(None) for k in range(4))
    expected = np.concatenate([piece[cut] for piece in pieces], axis)
    for order in range(2):
        parts = [(piece if order == 0 else from_nhwc(nhwc(piece)))[cut] for piece in pieces]
        np.testing.assert_array_equal(cpu.concatenate(parts, axis), expected)
    dense = [from_nhwc(nhwc(np.ascontiguousarray(piece[cut]))) for piece in pieces]
    y = cpu.concatenate(dense, axis)
    np.testing.assert_array_equal(y, expected)
    assert axis != 1 or is_channels_last(y)
    np.testing.assert_array_equal(cpu.concatenate([np.ascontiguousarray(p[cut]) for p in pieces], axis), expected)


def test_the_same_bits_on_any_number_of_threads():
    """Kills: tasks that overlap."""
    a, b = draw(SHAPES[0])
    assert_same_bits_on_any_number_of_threads(lambda: (cpu.add(a, b), cpu.concatenate([a, b], 1), cpu.copy(a, True)))


def test_both_backends_have_the_same_functions():
    """Kills: a function that only one of them has."""
    other = ("np", "record", "reference", "LARGE")
    names = [{name for name in dir(backend(kind).elementwise) if not name.startswith("_") and name not in other} for kind in ("reference", "cpu")]
    assert names[0] == names[1]
