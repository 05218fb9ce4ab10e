"""Elementwise arithmetic on the CPU: NumPy's ufuncs (see the reference), except where an array is so large that one thread cannot keep up with memory.

Then `add`, `sub`, `mul`, their in-place form, copies and concatenations are kernels of our own (parallel.py, imported when first needed: it brings Numba). A small
operation pays for this with one look at its operand's size.
"""
import numpy as np

from ..graph import record
from . import reference

_numpy = record.all_noted(reference)
globals().update(_numpy)  # all that is not defined anew below

LARGE = 1 << 16  # elements from which two threads pay


def add(a, b):
    """a + b"""
    return _parallel().combine("add", a, b) if _alike(a, b) else _numpy["add"](a, b)


def sub(a, b):
    """a - b"""
    return _parallel().combine("sub", a, b) if _alike(a, b) else _numpy["sub"](a, b)


def mul(a, b):
    """a * b"""
    return _parallel().combine("mul", a, b) if _alike(a, b) else _numpy["mul"](a, b)


def add_(a, b):
    """a += b in a's own memory."""
    if not (_alike(a, b) and _parallel().combine_("add", a, b)):
        _numpy["add_"](a, b)


def copy_(a, b):
    """a[...] = b, broadcast."""
    if not (_alike(a, b) and _parallel().combine_("copy", a, b)):
        _numpy["copy_"](a, b)


def copy(a, channels_last=False):
    """a in fresh memory, in logical order or, for (N, C, H, W), with channels innermost."""
    return _parallel().copy(a, channels_last) if _alike(a, a) and a.ndim == 4 else _numpy["copy"](a, channels_last)


def concatenate(arrays, axis):
    """One after another along `axis`."""
    return _parallel().concatenate(arrays, axis) if sum(a.size for a in arrays) >= LARGE else _numpy["concatenate"](arrays, axis)


def _alike(a, b):
    """Whether both are large arrays of the same shape and floating-point type."""
    return type(a) is np.ndarray and a.size >= LARGE and type(b) is np.ndarray and a.shape == b.shape and a.dtype == b.dtype and a.dtype.char in "fd"


def _parallel():
    from . import parallel
    return parallel
