"""Kernels that compute the shapes of results and nothing else, so that a network can be walked through without its arithmetic: VGG-19 in milliseconds.

Like every kernel table (see tinycnn.kernels) it has an attribute for each operation, and these have functions; here a function returns zeros of the right shape,
which cost nothing until somebody looks at them. What has no rule below runs as the reference does. On the way are counted

    multiply-adds       of convolutions and linear layers, one for each product that is added up
    receptive fields    how much of the input an element depends on, and how far apart the fields of neighbours are:
                            field <- field + (extent of the window - 1) * jump,      jump <- jump * stride
                        for each window along the deepest path, extent = dilation * (size - 1) + 1 (Araujo, Norris, Sim 2019)
"""
import math
import mmap
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np

from ..device import cpu
from ..kernels import backend


@contextmanager
def only_shapes(device=cpu):
    """Within this block the device computes shapes only. Gives the Shapes that count."""
    before, device.kernels = device.kernels, Shapes()
    try:
        yield device.kernels
    finally:
        device.kernels = before


class Field(NamedTuple):
    """The part of the input that one element sees, and the distance between the parts that neighbouring elements see; (vertical, horizontal) pixels."""

    size: tuple = (1, 1)
    jump: tuple = (1, 1)

    def through(self, window, stride=(1, 1), dilation=(1, 1)):
        """The field after a window."""
        size = tuple(f + d * (r - 1) * j for f, d, r, j in zip(self.size, dilation, window, self.jump))
        return Field(size, tuple(j * s for j, s in zip(self.jump, stride)))

    def joined(self, other):
        """The field where two paths meet: that of the deeper one."""
        return Field(*(tuple(map(max, mine, yours)) for mine, yours in zip(self, other)))


class Shapes:
    """The kernel table. macs: multiply-adds so far."""

    name = "shapes"

    def __init__(self):
        self.macs = 0
        self.deepest = Field()
        self._seen = {}  # id of an array -> (the array, kept so that the id stays its own; its field)

    def __getattr__(self, operation):
        if operation.startswith("_"):
            raise AttributeError(operation)
        return Operation(self, operation)

    def field(self, array):
        """The receptive field of an array's elements. One that no kernel has made (of a concatenation) counts as following on the deepest so far."""
        array = owner(array)
        return self._seen.setdefault(id(array), (array, self.deepest))[1]

    def made(self, y, field):
        """Note the field of a result."""
        for array in y if isinstance(y, tuple) else (y,):
            self._seen[id(owner(array))] = (owner(array), field)
        self.deepest = self.deepest.joined(field)
        return y


class Operation:
    """The functions of one operation."""

    def __init__(self, table, operation):
        self.table, self.operation = table, operation

    def __getattr__(self, function):
        name = f"{self.operation}.{function}"
        if name in RULES:
            return partial(RULES[name], self.table)
        reference = getattr(getattr(backend("reference"), self.operation), function)

        def as_the_reference(*arguments, **options):
            with np.errstate(all="ignore"):  # numbers are all 0
                y = reference(*arguments, **options)
            arrays = [array for array in arguments if isinstance(array, np.ndarray)]
            if not arrays or y is None or function == "shape":  # nothing that has a field; or done in place; or no array
                return y
            field = self.table.field(arrays[0])
            for array in arrays[1:]:
                field = field.joined(self.table.field(array))
            return self.table.made(y, _collapsed(field, arrays[0], y))
        return as_the_reference


def owner(array):
    """The array that a view looks at."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _collapsed(field, x, y):
    """The field after maps have become single numbers: all positions of a map at once."""
    maps = owner(x)
    return field.through(maps.shape[2:]) if maps.ndim == 4 and getattr(y, "ndim", 4) < 4 else field


def untouched(shape, dtype):
    """An array of zeros that takes no memory until somebody writes to it. (np.zeros does where malloc keeps what was freed, see kernels/runtime.py: a ResNet-50's
    results for 64 images, 5 GB.)"""
    dtype = np.dtype(dtype)
    return np.ndarray(shape, dtype, mmap.mmap(-1, max(1, math.prod(shape) * dtype.itemsize)))


# ---- the rules: function(table, *arguments of the kernel) -> result

def same(table, x, *_):
    """A result like x: normalisation, activations."""
    return table.made(untouched(x.shape, x.dtype), table.field(x))


def in_place(table, x, *_):
    return x


def lrn_forward(table, x, *_):
    return same(table, x), untouched(x.shape, x.dtype)


def conv_forward(table, x, w, bias, geometry, epilogue=None):
    K, C, R, S = w.shape
    y = untouched((x.shape[0], K, *geometry.output_size(x.shape[2:], (R, S))), x.dtype)
    table.macs += y.size * C * R * S
    return table.made(y, table.field(x).through((R, S), geometry.stride, geometry.dilation))


def conv_input_grad(table, dy, w, x_shape, geometry, add=None):
    """As the forward of transposed convolution."""
    table.macs += dy.size * math.prod(w.shape[1:])
    return table.made(untouched(x_shape, dy.dtype), table.field(dy))


def linear(table, x, w, bias):
    table.macs += math.prod(x.shape[:-1]) * w.size
    y = untouched((*x.shape[:-1], w.shape[0]), x.dtype)
    return table.made(y, _collapsed(table.field(x), x, y))


def pooled(table, x, window):
    y = untouched((*x.shape[:2], *window.positions(x.shape[2:])), x.dtype)
    return table.made(y, table.field(x).through(window.size, window.stride, window.dilation))


def max_pooled(table, x, window):
    y = pooled(table, x, window)
    return y, untouched(y.shape, np.int64)


def avg_pooled(table, x, window, *_):
    return pooled(table, x, window)


def adaptive(table, x, output_size):
    """Windows that divide the map: H // P apart, and as large as is left then."""
    stride = tuple(H // P or 1 for H, P in zip(x.shape[2:], output_size))
    size = tuple(max(1, H - (P - 1) * s) for H, P, s in zip(x.shape[2:], output_size, stride))
    return table.made(untouched((*x.shape[:2], *output_size), x.dtype), table.field(x).through(size, stride))


def adaptive_max(table, x, output_size):
    y = adaptive(table, x, output_size)
    return y, untouched(y.shape, np.int64)


def added(table, a, b):
    """Of images; smaller things, such as counters, are really added."""
    if not (np.ndim(a) == np.ndim(b) == 4 and a.shape == b.shape and a.dtype == b.dtype):
        return backend("reference").elementwise.add(a, b)
    return table.made(untouched(a.shape, a.dtype), table.field(a).joined(table.field(b)))


def concatenated(table, arrays, axis):
    field = table.field(arrays[0])
    for array in arrays[1:]:
        field = field.joined(table.field(array))
    shape = (*arrays[0].shape[:axis], sum(array.shape[axis] for array in arrays), *arrays[0].shape[axis + 1:])
    return table.made(untouched(shape, arrays[0].dtype), field)


def reshaped(table, x, shape):
    """A view, of the same field."""
    return x.reshape(shape)


RULES = {
    "conv.forward": conv_forward, "conv.input_grad": conv_input_grad, "matmul.linear": linear,
    "pool.max_forward": max_pooled, "pool.avg_forward": avg_pooled, "pool.adaptive_avg_forward": adaptive, "pool.adaptive_max_forward": adaptive_max,
    "norm.batch_inference": same, "norm.follow_": in_place, "lrn.forward": lrn_forward, "activation.relu": same, "activation.relu_": in_place,
    "elementwise.add": added, "elementwise.concatenate": concatenated, "elementwise.copy_": in_place, "elementwise.reshape": reshaped,
    "softmax.softmax": same, "softmax.log_softmax": same,
}
