"""Arithmetic element by element, with broadcasting: NumPy's ufuncs.

Python scalars take the dtype of the array (NumPy's weak promotion): float32 stays float32. Each call reads its operands and writes its result once, and is bound by
memory: 12 bytes for one addition of float32.
"""
import numpy as np

add, sub, mul, div, neg = np.add, np.subtract, np.multiply, np.divide, np.negative
floor_div, mod = np.floor_divide, np.mod
exp, log, sqrt, abs, sign, floor, ceil, round = np.exp, np.log, np.sqrt, np.abs, np.sign, np.floor, np.ceil, np.round
sin, cos, tanh = np.sin, np.cos, np.tanh
maximum, minimum = np.maximum, np.minimum
eq, ne, lt, le, gt, ge = np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal
logical_and, logical_or, logical_xor, logical_not = np.logical_and, np.logical_or, np.logical_xor, np.logical_not
isnan, isinf, isfinite = np.isnan, np.isinf, np.isfinite
where = np.where


def pow(a, b):
    """a^b. Small whole exponents are products: one multiplication instead of a logarithm and an exponential."""
    if isinstance(b, (int, float)) and b == 2:
        return np.multiply(a, a)
    return np.power(a, b)


def sigmoid(a):
    """1 / (1 + e^-a), without overflow on either side: e^-|a| is at most 1."""
    small = np.exp(-np.abs(a))
    return np.where(a >= 0, 1 / (1 + small), small / (1 + small)).astype(a.dtype, copy=False)


def clamp(a, low, high):
    """a, but at least low and at most high; None where there is no bound."""
    return np.clip(a, low, high)


def cast(a, dtype):
    """a in another dtype, as a copy."""
    return a.astype(dtype)


def add_(a, b):
    """a += b in a's own memory."""
    np.add(a, b, out=a)


def copy_(a, b):
    """a[...] = b, broadcast."""
    np.copyto(a, b, casting="unsafe")


def copy(a, channels_last=False):
    """a in fresh memory, in logical order or, for (N, C, H, W), with channels innermost."""
    if channels_last:
        return np.array(a.transpose(0, 2, 3, 1), order="C").transpose(0, 3, 1, 2)
    return np.array(a, order="C")


def concatenate(arrays, axis):
    """One after another along `axis`."""
    return np.concatenate(arrays, axis)


def reshape(a, shape):
    """The numbers of a in their logical order under another shape: a view if a's strides allow one, else a copy."""
    return a.reshape(shape)
