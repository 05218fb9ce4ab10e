"""Reading and writing at computed positions on the GPU's side: against NumPy, for every kind of index."""
import numpy as np
import pytest
from cuda_device import kernels_of, needs_simulator

from tinycnn.kernels import backend
from tinycnn.kernels.index import cuda as index_module

pytestmark = needs_simulator
reference = backend("reference").index
cuda = kernels_of("cuda").index

X = np.random.default_rng(0).standard_normal((4, 5, 6))
ROW, COLUMN, MASK = np.array([0, 2, 2, -1]), np.array([[1], [0]]), X > 0.3
INDICES = {
    "first axis": (ROW, Ellipsis), "middle axis": (slice(None), ROW), "last axis": (Ellipsis, ROW), "one array, no tuple": ROW, "small integers": ROW.astype(np.int32),
    "all axes": (ROW, ROW, ROW), "broadcast": (COLUMN, ROW), "apart": (COLUMN, slice(None), ROW), "apart, and a slice": (ROW, slice(1, 4), ROW),
    "a new axis and an integer": (None, ROW, 1), "integers beside": (1, ROW), "integers apart": (1, slice(None), ROW),
    "backwards": (slice(None, None, -1), ROW, slice(None, None, 2)),
    "a mask": (MASK,), "a mask of two axes": (MASK[:, :, 0],), "a mask of one, and an integer": (X[:, 0, 0] > -9, 2), "nothing": (np.array([], int),),
    "no array": (slice(1, 3), None, -1),
}


@pytest.mark.parametrize("kind", INDICES)
def test_every_kind_of_index(kind):
    """Kills: axes of the index in the wrong place; a position counted in the wrong strides; a negative number; what is named twice written once or out of order."""
    index = INDICES[kind]
    expected = reference.take(X, index)
    np.testing.assert_array_equal(cuda.take(X, index), expected)
    assert cuda.shape(X, index) == expected.shape
    values = np.random.default_rng(1).standard_normal(expected.shape)
    np.testing.assert_allclose(cuda.put_add(X.shape, index, values), reference.put_add(X.shape, index, values), rtol=1e-15)
    for new in (values, values[:1], 2.5):
        ours, numpys = X.copy(), X.copy()
        cuda.set_(ours, index, new)
        reference.set_(numpys, index, new)
        np.testing.assert_array_equal(ours, numpys)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_, np.uint8])
def test_types_and_layouts(dtype):
    """Kills: a view taken for contiguous memory; a type without a kernel."""
    x = (X * 3).astype(dtype).transpose(2, 0, 1)[::2]
    np.testing.assert_array_equal(cuda.take(x, (slice(None), ROW)), x[:, ROW])


def test_many_at_few_places():
    """600 positions of 7 places, some of which nobody names; in the order of the index, to the bit. Kills: a chain that ends with its block, that begins twice, or that
    is followed backwards; places touched that nobody names; an earlier value kept."""
    rng = np.random.default_rng(2)
    index, values = (rng.choice([0, 2, -1, -3], 600), slice(None)), rng.standard_normal((600, 3))
    np.testing.assert_array_equal(cuda.put_add((7, 3), index, values), reference.put_add((7, 3), index, values))
    ours, numpys = np.full((7, 3), 8.0), np.full((7, 3), 8.0)
    cuda.set_(ours, index, values)
    reference.set_(numpys, index, values)
    np.testing.assert_array_equal(ours, numpys)


@pytest.mark.parametrize("threads", [1, 40, 1 << 17])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather_and_its_adjoint(axis, threads, monkeypatch):
    """Kills: another axis; a negative number that does not count from the end; repeated places that receive once, or out of order; a part of a row added twice or
    by nobody."""
    monkeypatch.setattr(index_module, "THREADS", threads)
    shape = [4, 5, 6]
    shape[axis] = 3
    index = np.random.default_rng(axis).integers(-4, 4, shape)
    np.testing.assert_array_equal(cuda.gather(X, axis, index), reference.gather(X, axis, index))
    values = np.random.default_rng(1).standard_normal(shape)
    np.testing.assert_array_equal(cuda.scatter_add(X.shape, axis, index, values), reference.scatter_add(X.shape, axis, index, values))


def test_gather_of_nothing():
    """Kills: a division by an extent of 0; an empty sum that is not 0."""
    none = np.zeros((4, 0, 6), np.int64)
    assert cuda.gather(X, 1, none).shape == none.shape
    np.testing.assert_array_equal(cuda.scatter_add(X.shape, 1, none, np.zeros(none.shape)), np.zeros(X.shape))
    assert cuda.scatter_add((4, 0, 6), 1, none, np.zeros(none.shape)).shape == none.shape


def test_out_of_range():
    """Kills: memory read or written out of bounds; a wrong index on the host that is not said."""
    with pytest.raises(IndexError, match="index 4 is out of bounds for an axis of 4"):
        backend("cuda").index.take(on_device(X), (np.array([0, 4]),))
    wrong = on_device(np.array([0, 4, -5]))
    y = backend("cuda").index.take(on_device(X), (wrong,)).get()
    np.testing.assert_array_equal(y[0], X[0])
    assert np.isnan(y[1:]).all()
    written = backend("cuda").index.put_add(X.shape, (wrong,), on_device(np.ones((3, 5, 6)))).get()
    assert written[0].min() == 1 and not written[1:].any()
    wrong = np.array([[0], [4], [-5], [-4]])
    np.testing.assert_array_equal(cuda.gather(X[:, :, 0].T, 1, np.tile(wrong, 5).T), np.where(np.isin(wrong, (0, -4)), X[:1, :, 0], np.nan).T)
    np.testing.assert_array_equal(cuda.scatter_add((4, 1), 0, wrong, np.ones((4, 1))), [[2], [0], [0], [0]])


def on_device(array):
    from tinycnn.kernels.cuda import array_module
    return array_module().asarray(array)
