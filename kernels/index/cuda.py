"""Reading and writing at computed positions on the GPU (see the reference). Integers, slices, None and ... make views, which need no kernel."""
from ..cuda import array_module
from ..elementwise.cuda import copy_


def take(x, index):
    """x[index]"""
    return x[index]


def put_add(shape, index, values):
    """Zeros of `shape` with `values` added at `index`: slices and integers never name an element twice."""
    out = array_module().zeros(shape, values.dtype)
    copy_(out[index], values)
    return out


def set_(x, index, values):
    """x[index] = values in x's own memory."""
    copy_(x[index], values)
