"""Every basic operation: right against PyTorch, stored and live. (Its first and second derivatives against finite differences: test_gradients.py.)"""
from pathlib import Path

import numpy as np
import pytest
from op_cases import CASES, inputs, value_and_gradients
from tolerance import close

import tinycnn

VECTORS = np.load(Path(__file__).parents[1] / "vectors" / "ops.npz")


def leaf(array):
    return tinycnn.tensor(array, requires_grad=True)


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_pytorch(case):
    """Against vectors that PyTorch computed. Kills: a gradient not summed over what was broadcast; a gradient to the wrong of two equal maxima; an index that
    accumulates only once; a variance divided by n."""
    y, gradients = value_and_gradients(tinycnn, case, leaf)
    close(y, VECTORS[case], length=8)
    for i, g in enumerate(gradients):
        close(g, VECTORS[f"{case} / {i}"], length=16)


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_live_pytorch(case):
    """The stored vectors are not stale."""
    import torch
    expected, expected_gradients = value_and_gradients(torch, case, lambda array: torch.tensor(array, requires_grad=True))
    y, gradients = value_and_gradients(tinycnn, case, leaf)
    close(y, expected, length=8)
    for g, e in zip(gradients, expected_gradients):
        close(g, e, length=16)


@pytest.mark.parametrize("case", CASES)
def test_float32_stays_float32(case):
    """Python numbers and means must not promote. Kills: a NumPy float64 scalar in a formula."""
    tensors = [tinycnn.tensor(array, requires_grad=True) for array in inputs(case, np.float32)]
    y = CASES[case][0](tinycnn, *tensors)
    assert y.dtype == tinycnn.float32
    for g in tinycnn.autograd.grad(y.sum(), tensors):
        assert g.dtype == tinycnn.float32


@pytest.mark.parametrize("make", [lambda a: a.T.copy().T, lambda a: np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a], ids=["transposed", "strided"])
@pytest.mark.parametrize("case", CASES)
def test_memory_order_does_not_matter(case, make):
    """The same numbers under other strides. Kills: a kernel or a view that assumes C order."""
    expected = value_and_gradients(tinycnn, case, leaf)
    y, gradients = value_and_gradients(tinycnn, case, lambda array: tinycnn.from_numpy(make(array)).requires_grad_())
    np.testing.assert_allclose(y, expected[0], rtol=1e-12, atol=1e-12)
    for g, e in zip(gradients, expected[1]):
        np.testing.assert_allclose(g, e, rtol=1e-12, atol=1e-12)


def test_dtypes_promote_as_in_pytorch():
    """Kills: int64 + float32 = float64 (NumPy's rule); a Python float that leaves an integer tensor an integer."""
    i, b, f = tinycnn.tensor([1, 2]), tinycnn.tensor([True, False]), tinycnn.tensor([0.5, 1.5])
    assert (i + f).dtype == tinycnn.float32
    assert (i + 1.5).dtype == tinycnn.float32 and (i + 1).dtype == tinycnn.int64
    assert (b + 1).dtype == tinycnn.int64 and (b + f).dtype == tinycnn.float32
    assert (i / 2).dtype == tinycnn.float32 and i.mean().dtype == tinycnn.float32
    assert i.clamp(0.5, 1.5).dtype == tinycnn.float32 and i.clamp(2).dtype == tinycnn.int64
    assert (f * np.float64(2)).dtype == tinycnn.float32 and (np.float64(2) * f).dtype == tinycnn.float32
    assert b.sum().item() == 1 and b.sum().dtype == tinycnn.int64
    assert (f.double() + 1).dtype == tinycnn.float64


def test_a_tensor_is_not_none():
    """As in PyTorch. Kills: an error of arithmetic for `x == None` and `None in (x, y)`."""
    x = tinycnn.ones(2)
    assert not x == None and x != None and None not in (x, x) and not x == "x"  # noqa: E711 - that is the question
    assert (x == [1.0, 2.0]).tolist() == [True, False]


def test_numpy_arrays_mix_with_tensors():
    """Kills: ndarray * Tensor computed by NumPy, element by element, outside the graph."""
    x = tinycnn.tensor([1.0, 2.0], requires_grad=True)
    y = np.array([3, 4], np.float32) * x
    assert isinstance(y, tinycnn.Tensor) and y.requires_grad
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3, 4])


WRONG = {
    "mixed float dtypes": (lambda a: a + a.double(), TypeError, "float32 with float64"),
    "shapes that do not broadcast": (lambda a: a + tinycnn.ones(5), ValueError, r"\(3, 4\)"),
    "matmul": (lambda a: a @ a, ValueError, r"4 columns .* 3 rows"),
    "reshape": (lambda a: a.reshape(5, 2), ValueError, "12 elements"),
    "two free extents": (lambda a: a.reshape(-1, -1), ValueError, "do not fit"),
    "permute": (lambda a: a.permute(0, 0), ValueError, "not an order"),
    "permute beyond": (lambda a: a.permute(0, 3), IndexError, "dim is 3"),
    "narrow beyond": (lambda a: a.narrow(1, 2, 3), IndexError, "3 entries from 2"),
    "narrow to less than nothing": (lambda a: a.narrow(1, 2, -1), IndexError, "-1 entries"),
    "cat of numbers": (lambda a: tinycnn.cat([a[0, 0], a[0, 1]]), ValueError, "no dimensions"),
    "chunk": (lambda a: a.chunk(0), ValueError, "at least 1"),
    "elements of a number": (lambda a: list(a[0, 0]), TypeError, "0-dimensional"),
    "dimension": (lambda a: a.sum(2), IndexError, "dim is 2"),
    "dimension twice": (lambda a: a.sum((0, -2)), ValueError, "twice"),
    "expand": (lambda a: a.expand(3, 5), ValueError, "only extents of 1"),
    "cat": (lambda a: tinycnn.cat([a, a[:, :2]], 0), ValueError, "other extents"),
    "stack": (lambda a: tinycnn.stack([a, a[0]]), ValueError, "all shapes"),
    "split": (lambda a: a.split([1, 1], 1), ValueError, "do not add up"),
    "too many indices": (lambda a: a[0, 0, 0], IndexError, "too many indices"),
    "float index": (lambda a: a[a], IndexError, "integer or boolean"),
    "condition": (lambda a: tinycnn.where(a, a, a), TypeError, "boolean"),
    "truth": (lambda a: bool(a), ValueError, "ambiguous"),
    "item": (lambda a: a.item(), ValueError, "exactly one"),
    "max of nothing": (lambda a: a[:0].max(), ValueError, "no elements"),
    "a string": (lambda a: a + "x", TypeError, "expected a tensor or a number"),
    "gather": (lambda a: a.gather(1, tinycnn.tensor([[0]])), ValueError, "must agree"),
    "set a part": (lambda a: a.__setitem__(0, tinycnn.ones(3)), ValueError, "does not fit"),
    "clamp": (lambda a: a.clamp(), ValueError, "at least one"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_clear_error(case):
    function, kind, message = WRONG[case]
    with pytest.raises(kind, match=message):
        function(tinycnn.ones(3, 4))


def test_what_is_cut_counts_from_the_end_too():
    """Kills: a negative start that takes nothing."""
    assert tinycnn.arange(5).narrow(0, -2, 2).tolist() == [3, 4]
    assert [part.tolist() for part in tinycnn.arange(5).split(np.int64(3))] == [[0, 1, 2], [3, 4]]


def test_an_integer_beside_an_index_tensor_comes_first():
    """As in PyTorch. Kills: NumPy's rule, by which the axis of what is chosen goes to the front where the two are apart."""
    x = leaf(np.arange(24.0).reshape(2, 3, 4))
    y = x[1, :, tinycnn.tensor([3, 0])]
    assert y.tolist() == [[15, 12], [19, 16], [23, 20]]
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [np.zeros((3, 4)), [[1, 0, 0, 1]] * 3])
    z, value = x * 1, leaf(np.array([[1.0], [2.0], [3.0]]))
    z[1, :, tinycnn.tensor([3, 0])] = value
    assert z[1].tolist() == [[1, 13, 14, 1], [2, 17, 18, 2], [3, 21, 22, 3]] and (z[0] == x[0]).all()
    z.sum().backward()
    assert value.grad.tolist() == [[2], [2], [2]]


def test_flipped_tensors_have_memory_of_their_own():
    """As in PyTorch. Kills: a view, through which a change in place reaches the original."""
    x = tinycnn.tensor([1.0, 2.0])
    y = x.flip(0)
    y += 1
    assert y.tolist() == [3, 2] and x.tolist() == [1, 2]


def test_norm_and_deviation_are_flat_where_they_are_zero():
    """As in PyTorch. Kills: the infinite slope of the square root at 0, times 0."""
    x = leaf(np.array([[0.0, 0.0], [3.0, 4.0]]))
    x.norm(dim=1).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [[0, 0], [0.6, 0.8]])
    y = leaf(np.array([2.0, 2.0, 2.0]))
    assert y.std().item() == 0
    y.std().backward()
    assert y.grad.tolist() == [0, 0, 0]
    assert np.isnan(tinycnn.tensor([np.nan]).norm().item())


def test_equal_extremes_share_the_gradient():
    """As in PyTorch. Kills: giving every one of several equal maxima the whole gradient; giving amax's to the first alone."""
    x = leaf(np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]))
    x.amax(1).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [[0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]])
    x.grad = None
    x.max(1).values.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[0, 1, 0], [1, 0, 0]])
    a, b = leaf(np.array([1.0, 2.0])), leaf(np.array([1.0, 5.0]))
    tinycnn.maximum(a, b).sum().backward()
    assert a.grad.tolist() == [0.5, 0] and b.grad.tolist() == [0.5, 1]
