"""What several operations need: operands made compatible, dimensions made positive, broadcasting undone."""
import numpy as np

from ..tensor import Tensor, bool_, float32, int64


def operands(name, a, b):
    """(a, b) ready for elementwise arithmetic: tensors of one dtype, or one tensor and one Python number.

    Python numbers never change a tensor's dtype, except that a float makes integers float32. Integers and booleans promote as in PyTorch. float32 with float64 is
    an error: the sum would silently be slow, or silently imprecise.
    """
    if not isinstance(a, Tensor):
        a = operand(a)
    if not isinstance(b, Tensor):
        b = operand(b)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if a.array.dtype is not b.array.dtype and a.dtype != b.dtype:
            dtype = promoted(name, a.dtype, b.dtype)
            a, b = (x if x.dtype == dtype else x.to(dtype) for x in (a, b))
    elif isinstance(a, Tensor):
        a = _make_room(a, b)
    else:
        b = _make_room(b, a)
    return a, b


def operand(value):
    """A tensor, or a plain Python number: NumPy scalars would impose their dtype."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (Tensor, bool, int, float)):
        return value
    if isinstance(value, (np.ndarray, list, tuple)):
        return Tensor(np.asarray(value)) if isinstance(value, np.ndarray) else Tensor(np.asarray(value, float32))
    raise TypeError(f"expected a tensor or a number, got {type(value).__name__}")


def promoted(name, first, second):
    """The dtype of a result of two dtypes."""
    kinds = (first.kind, second.kind)
    if kinds == ("f", "f"):
        raise TypeError(f"{name}: {first} with {second}; convert one of them: .float() gives float32, .double() gives float64, .to(other.dtype) follows the other")
    if "f" in kinds:
        return first if first.kind == "f" else second
    return np.promote_types(first, second)


def _make_room(tensor, number):
    """An integer tensor that meets a float becomes float32, a boolean one that meets an integer int64."""
    if isinstance(number, float) and tensor.dtype.kind != "f":
        return tensor.to(float32)
    if isinstance(number, int) and not isinstance(number, bool) and tensor.dtype == bool_:
        return tensor.to(int64)
    return tensor


def floating(name, x):
    """x, or for integers x as float32 (as PyTorch does for exp, mean, ...)."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(x).__name__}")
    return x if x.is_floating else x.to(float32)


def one_dim(name, dim, ndim):
    """A dimension number, counted from the front."""
    if not -max(ndim, 1) <= dim < max(ndim, 1):
        raise IndexError(f"{name}: dim is {dim}, but the tensor has {ndim} dimensions")
    return dim % ndim if ndim else 0


def many_dims(name, dim, ndim):
    """A tuple of dimension numbers, counted from the front; None means all."""
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        return tuple(range(ndim))
    if isinstance(dim, (int, np.integer)):
        return (one_dim(name, dim, ndim),) if ndim else ()
    dims = tuple(one_dim(name, d, ndim) for d in dim)
    if len(set(dims)) != len(dims):
        raise ValueError(f"{name}: dim {tuple(dim)} names a dimension twice")
    return dims


def sum_to(dy, shape):
    """The adjoint of broadcasting: add up what was copied. dy, or its sum over the dimensions that `shape` lacks or has as 1."""
    if dy.array.shape == shape:
        return dy
    extra = dy.ndim - len(shape)
    dims = tuple(range(extra)) + tuple(i + extra for i, n in enumerate(shape) if n == 1 and dy.shape[i + extra] != 1)
    return (dy.sum(dims, keepdim=True) if dims else dy).reshape(shape)


def pair(name, value, argument):
    """(vertical, horizontal) from one number or two."""
    if type(value) is tuple and len(value) == 2 and type(value[0]) is type(value[1]) is int:
        return value
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value), int(value)
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(v, (int, np.integer)) for v in value):
        return int(value[0]), int(value[1])
    if isinstance(value, (tuple, list)) and len(value) == 1 and isinstance(value[0], (int, np.integer)):
        return int(value[0]), int(value[0])
    raise ValueError(f"{name}: {argument} must be an integer or a pair of integers (vertical, horizontal), got {value!r}")
