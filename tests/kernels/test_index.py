"""Reading and writing at computed positions on the GPU's side: against NumPy, for every kind of index."""
import numpy as np
import pytest
from cuda_device import kernels_of, needs_simulator

from tinycnn.kernels import backend

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


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather_and_its_adjoint(axis):
    """Kills: another axis; repeated places that receive once."""
    shape = [4, 5, 6]
    shape[axis] = 3
    index = np.random.default_rng(axis).integers(0, 4, shape)
    np.testing.assert_array_equal(cuda.gather(X, axis, index), reference.gather(X, axis, index))
    values = np.random.default_rng(1).standard_normal(shape)
    np.testing.assert_allclose(cuda.scatter_add(X.shape, axis, index, values), reference.scatter_add(X.shape, axis, index, values), rtol=1e-15)


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


def on_device(array):
    from tinycnn.kernels.cuda import array_module
    return array_module().asarray(array)
