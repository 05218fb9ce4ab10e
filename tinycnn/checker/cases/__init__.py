"""Every operation and layer of the engine, in the configurations at which something can go wrong: what `tinycnn gradcheck` checks without further words.

The tests use the same tables for the comparison with PyTorch.
"""
from typing import NamedTuple

import numpy as np

from ... import nn, random
from ... import tensor as as_tensor
from ..check import gradcheck
from . import convolutions, draw, layers, networks, operations


class Case(NamedTuple):
    """One configuration: fn and inputs as gradcheck takes them; inputs() draws them."""

    group: str
    name: str
    fn: object
    inputs: object

    def __str__(self):
        return f"{self.group}: {self.name}"

    def check(self, order=1, **options):
        """Its Report. The second order is left out where there is none: the gradient of something linear, or of nothing, depends on nothing."""
        fn = self.fn.module() if isinstance(self.fn, Layer) else self.fn
        return gradcheck(fn, self.inputs(), order=order, name=str(self), **options)


def all_cases():
    """[Case], in groups."""
    import tinycnn
    found = []
    for group, table in (("operations", operations.CASES), ("networks", networks.CASES)):
        for name, (function, *shapes) in table.items():
            found.append(Case(group, name, lambda *args, f=function: f(tinycnn, *args), lambda n=name, s=shapes: tensors(draw.arrays(n, s))))
    for group, table, function, axis in (("conv2d", convolutions.CONV, nn.functional.conv2d, 0),
                                         ("conv_transpose2d", convolutions.TRANSPOSED, nn.functional.conv_transpose2d, 1)):
        for name, (x, w, options) in table.items():
            filters = w[axis] * (options.get("groups", 1) if axis else 1)
            found.append(Case(group, name, lambda x, w, b, f=function, o=options: f(x, w, b, **o), lambda s=(x, w, (filters,)): normal(s)))
    for group, table in (("layers", {**layers.LAYERS, **layers.RANDOM}), ("blocks", layers.blocks())):
        for name, (make, shape) in table.items():
            found.append(Case(group, name, Layer(make), lambda s=shape: normal([s])))
    return found


class Layer:
    """Makes the module when it is needed, always with the same weights."""

    def __init__(self, make):
        self.make = make

    def module(self):
        state = random.get_rng_state()
        random.manual_seed(0)
        try:
            return self.make(nn)
        finally:
            random.set_rng_state(state)


def tensors(arrays):
    return tuple(as_tensor(array, requires_grad=True) for array in arrays)


def normal(shapes):
    """Normally distributed tensors of these shapes."""
    rng = np.random.default_rng(0)
    return tensors(rng.standard_normal(shape) for shape in shapes)
