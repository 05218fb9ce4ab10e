"""Arrays in the memory of the simulated device. Making views is immediate; whatever reads or writes elements is queued on the current stream."""
from collections import namedtuple
from functools import partial
from math import prod

import numpy as np

from .cuda import alloc, get_current_stream

MemoryPointer = namedtuple("MemoryPointer", "ptr mem")
OPERATORS = ("add radd iadd sub rsub isub mul rmul imul truediv rtruediv itruediv floordiv rfloordiv ifloordiv mod rmod imod pow rpow ipow matmul rmatmul neg pos abs "
             "invert and rand or ror xor rxor lshift rshift eq ne lt le gt ge divmod").split()


class ndarray:
    """Elements of a Block; `host` is a NumPy array that looks at them, for this package alone."""

    __array_ufunc__ = None
    __hash__ = object.__hash__

    def __init__(self, host, block, base=None):
        self.host, self.block, self.base = host, block, base

    shape = property(lambda self: self.host.shape)
    dtype = property(lambda self: self.host.dtype)
    size = property(lambda self: self.host.size)
    ndim = property(lambda self: self.host.ndim)
    nbytes = property(lambda self: self.host.nbytes)
    itemsize = property(lambda self: self.host.itemsize)
    strides = property(lambda self: self.host.strides)
    flags = property(lambda self: self.host.flags)
    T = property(lambda self: self.transpose())
    data = property(lambda self: MemoryPointer(self.host.__array_interface__["data"][0], self.block))

    def __len__(self):
        return len(self.host)

    def __repr__(self):
        return f"<simulated device array, shape {self.shape}, {self.dtype}>"

    # ---- views

    def _view(self, host):
        return ndarray(host, self.block, self if self.base is None else self.base)

    def transpose(self, *axes):
        return self._view(self.host.transpose(*axes))

    def swapaxes(self, axis1, axis2):
        return self._view(self.host.swapaxes(axis1, axis2))

    def reshape(self, *shape):
        """A view where strides allow, else of a contiguous copy."""
        host = self.host.reshape(*shape)
        return self._view(host) if np.may_share_memory(host, self.host) or not self.size else self.copy().reshape(*shape)

    def __getitem__(self, index):
        for part in index if isinstance(index, tuple) else (index,):
            if not (part is None or part is Ellipsis or isinstance(part, (int, np.integer, slice))):
                raise TypeError(f"a device array is viewed by integers, slices, None and ...; indexing by {type(part).__name__} is a kernel's work")
        host = self.host[index]
        return self._view(host if isinstance(host, np.ndarray) else self.host[(*index, Ellipsis) if isinstance(index, tuple) else (index, Ellipsis)])

    # ---- reading and writing

    def __setitem__(self, index, value):
        source = value.host if isinstance(value, ndarray) else np.array(value)
        get_current_stream().enqueue(partial(np.copyto, self[index].host, source, casting="same_kind"), self, value)

    def fill(self, value):
        self[...] = value

    def copy(self, order="C"):
        """A copy in memory of its own, contiguous."""
        if order != "C":
            raise NotImplementedError(f"copy: order is {order!r}; the stand-in knows 'C'")
        out = empty(self.shape, self.dtype)
        out[...] = self
        return out

    def set(self, array, stream=None):
        """Elements from a NumPy array of the same shape and dtype."""
        if array.shape != self.shape or array.dtype != self.dtype:
            raise ValueError(f"set: the array is {array.shape} {array.dtype}, this one {self.shape} {self.dtype}")
        _from_host(self, array, stream or get_current_stream())

    def get(self, stream=None, order="C", out=None):
        """The elements as a NumPy array, after everything that is queued."""
        (stream or get_current_stream()).synchronize()
        if out is None:
            return np.array(self.host, order=order)
        np.copyto(out, self.host)
        return out

    def item(self):
        return self.get().item()

    def tolist(self):
        return self.get().tolist()


def _refused(what):
    def refuse(self, *_):
        instead = "arithmetic is done by kernels" if what.startswith("operator") else "convert it explicitly, with get() or item()"
        raise TypeError(f"a device array has no {what}: {instead}")
    return refuse


for name in OPERATORS:
    setattr(ndarray, f"__{name}__", _refused(f"operator __{name}__"))
for name in ("array", "bool", "float", "int", "index", "iter", "complex"):
    setattr(ndarray, f"__{name}__", _refused(f"implicit __{name}__"))


# ---- making arrays

def empty(shape, dtype=np.float64):
    """A new array; its elements are all 0xFF."""
    shape, dtype = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape), np.dtype(dtype)
    block = alloc(prod(shape) * dtype.itemsize)
    return ndarray(block.bytes.view(dtype).reshape(shape), block)


def full(shape, fill_value, dtype):
    out = empty(shape, dtype)
    get_current_stream().enqueue(partial(out.host.fill, np.dtype(dtype).type(fill_value)), out)
    return out


def zeros(shape, dtype=np.float64):
    return full(shape, 0, dtype)


def ones(shape, dtype=np.float64):
    return full(shape, 1, dtype)


def asarray(array, dtype=None, order="C"):
    """A copy on the device of a NumPy array or of numbers; a device array as it is."""
    if isinstance(array, ndarray):
        if dtype is not None and array.dtype != dtype:
            raise TypeError(f"asarray: converting {array.dtype} to {np.dtype(dtype)} is a kernel's work")
        return array
    host = np.array(array, dtype)
    out = empty(host.shape, host.dtype)
    _from_host(out, host, get_current_stream())
    return out


def _from_host(out, array, stream):
    if stream.is_capturing():
        raise RuntimeError("a graph would copy from the host again later, when something else is there")
    stream.enqueue(partial(np.copyto, out.host, array), out)


def asnumpy(array):
    return array.get() if isinstance(array, ndarray) else np.asarray(array)


def broadcast_to(array, shape):
    return array._view(np.broadcast_to(array.host, shape))


def may_share_memory(a, b):
    return np.may_share_memory(a.host, b.host)
