"""Constant padding against its definition, element by element: y[i] = x[i - before] where that exists, else the value."""
import numpy as np
import pytest
from cuda_device import CUDA, kernels_of
from tolerance import close

from tinycnn.kernels import backend, runtime

# shape, ((before, after) for each dimension)
CASES = {
    "an image": ((2, 3, 4, 5), ((0, 0), (0, 0), (1, 2), (3, 1))),
    "every axis": ((2, 3, 2), ((1, 0), (0, 2), (2, 1))),
    "crop": ((2, 6, 7), ((0, 0), (-1, -2), (-3, -1))),
    "crop one end, pad the other": ((5, 6), ((-2, 3), (1, -4))),
    "crop everything, pad again": ((3, 3), ((-4, 5), (2, -3))),
    "crop to nothing": ((3, 4), ((0, 0), (-1, -3))),
    "nothing to do": ((2, 3), ((0, 0), (0, 0))),
    "one axis": ((4,), ((2, 3),)),
    "no axis": ((), ()),
    "five axes": ((2, 1, 2, 3, 2), ((0, 1), (1, 1), (-1, 0), (0, 0), (1, 1))),
    "empty batch": ((0, 3, 2), ((0, 0), (1, 1), (1, 1))),
    "empty batch, padded": ((0, 3), ((2, 1), (1, 1))),
    "many rows": ((300, 70), ((1, 1), (3, 2))),  # several tiles
    "rows longer than a tile": ((3, 20_000), ((1, 0), (5, -7))),
}


def by_definition(x, pads, value):
    y = np.full([length + before + after for length, (before, after) in zip(x.shape, pads)], value, x.dtype)
    for place in np.ndindex(*y.shape):
        source = tuple(i - before for i, (before, _) in zip(place, pads))
        if all(0 <= i < length for i, length in zip(source, x.shape)):
            y[place] = x[source]
    return y


@pytest.mark.parametrize("name", ["reference", "cpu", CUDA])
@pytest.mark.parametrize("case", CASES)
def test_padding_is_its_definition(case, name):
    """Kills: before and after exchanged, axes in the wrong order, a crop that shifts or keeps too much, rows filled at one end only, rows lost between tiles."""
    shape, pads = CASES[case]
    x = np.random.default_rng(len(name)).standard_normal(shape)  # other numbers for each: memory that is used again must not hold the answer
    y = kernels_of(name).pad.constant(x, pads, -1.5)
    np.testing.assert_array_equal(y, by_definition(np.asarray(x), pads, -1.5))


def test_dtype_and_strides_do_not_matter():
    """Kills: float32 answered in float64, reading a transposed array in memory order, a result that shares the input's memory."""
    pads = ((1, 0), (0, 0), (-1, 2))
    for dtype in (np.float32, np.float64):
        x = np.random.default_rng(0).standard_normal((4, 6, 3)).astype(dtype)
        for view in (x, x.transpose(2, 0, 1), x[::-1, ::2], np.broadcast_to(x[:1], (5, 6, 3))):
            y = backend("cpu").pad.constant(view, pads, 2)
            assert y.dtype == dtype
            np.testing.assert_array_equal(y, backend("reference").pad.constant(view, pads, 2))
    unchanged = x.copy()
    backend("cpu").pad.constant(x, ((0, 0),) * 3, 0)[...] = 7
    np.testing.assert_array_equal(x, unchanged)


@pytest.mark.parametrize("name", ["reference", "cpu", CUDA])
def test_cropping_more_than_there_is_says_so(name):
    with pytest.raises(ValueError, match=r"pad: .*\(-2, -2\).* crops more of \(3, 3\)"):
        kernels_of(name).pad.constant(np.zeros((3, 3)), ((0, 0), (-2, -2)), 0)


def test_one_thread_and_two_give_the_same_bits():
    x = np.random.default_rng(0).standard_normal((300, 70))
    most = runtime.get_num_threads()
    results = []
    for threads in (1, most):
        runtime.set_num_threads(threads)
        results.append(backend("cpu").pad.constant(x, ((1, 1), (3, 2)), 0.5))
    np.testing.assert_array_equal(*results)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["reference", "cpu", CUDA])
def test_pytorch_agrees(name):
    """PyTorch lists the pads from the last axis on."""
    import torch
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 6))
    expected = torch.nn.functional.pad(torch.tensor(x), (1, -2, 3, 0, -1, 1), value=0.25)
    close(kernels_of(name).pad.constant(x, ((0, 0), (-1, 1), (3, 0), (1, -2)), 0.25), expected.numpy())
