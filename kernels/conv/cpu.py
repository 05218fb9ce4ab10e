"""Convolution on the CPU: the reference's three functions, each computed by the algorithm that kernels/conv/algorithms.py chooses for its shape.

algorithm: the name of one in that table, instead of the model's choice.
"""
from typing import NamedTuple

import numpy as np

from .algorithms import algorithm_module, choose
from .epilogue import NOTHING, Epilogue, finish


class PackedFilters(NamedTuple):
    """Filters in the order in which an algorithm reads them: what `pack` makes, and `forward` takes in place of w."""

    shape: tuple  # of w
    algorithm: str
    array: np.ndarray


def pack(w, x_shape, geometry, algorithm=None):
    """w (K, C/groups, R, S) packed once for many calls of forward on images of x_shape: inference does not change its weights."""
    chosen = choose("forward", x_shape, w.shape, geometry, w.dtype, algorithm)
    return PackedFilters(w.shape, chosen.NAME, chosen.pack(w, x_shape, geometry))


def forward(x, w, bias, geometry, algorithm=None, *, epilogue=NOTHING):
    """y (N, K, P, Q) from x (N, C, H, W), w (K, C/groups, R, S) or packed, and bias (K,) or None. epilogue: what else is done on the way."""
    packed = isinstance(w, PackedFilters)
    chosen = choose("forward", x.shape, w.shape, geometry, x.dtype, w.algorithm if packed else algorithm)
    packed = w.array if packed else chosen.pack(w, x.shape, geometry, once=True)
    if epilogue.pool and not hasattr(chosen, "POOLS"):
        y = chosen.forward(x, packed, w.shape, bias, geometry, epilogue._replace(out=None, pool=False))
        return finish(y, Epilogue(out=epilogue.out, pool=True))
    return chosen.forward(x, packed, w.shape, bias, geometry, epilogue)


def prepare(x_shape, w, bias, geometry, epilogue=NOTHING, x_pixel=None):
    """The function of x, and of what is added, that forward with packed filters is for images of x_shape: a network that runs often works out once what it can.

    epilogue.add: None, or epilogue.out, if what will be added is what is written over.
    x_pixel: elements from pixel to pixel of the x that will come, where it is some channels of a channels-last array, which is read where it lies.
    """
    chosen = algorithm_module(w.algorithm)
    if hasattr(chosen, "prepare") and (hasattr(chosen, "POOLS") or not epilogue.pool):
        return chosen.prepare(x_shape, w.array, w.shape, bias, geometry, epilogue, x_pixel)
    return lambda x, add=None: forward(x, w, bias, geometry, epilogue=epilogue._replace(add=add))


def pools(x_shape, w_shape, geometry, dtype):
    """Whether a 2x2 maximum of the results costs forward nothing (Epilogue.pool)."""
    return hasattr(choose("forward", x_shape, w_shape, geometry, dtype), "POOLS")


def input_grad(dy, w, x_shape, geometry, algorithm=None, *, add=None):
    """dx (N, C, H, W) from dy (N, K, P, Q) and w. add: an array of dx's shape that is added to it, what other uses of x have sent back."""
    return choose("input_grad", x_shape, w.shape, geometry, dy.dtype, algorithm).input_grad(dy, w, x_shape, geometry, add)


def weight_grad(dy, x, w_shape, geometry, algorithm=None):
    """dw (K, C/groups, R, S) from dy (N, K, P, Q) and x."""
    return choose("weight_grad", x.shape, w_shape, geometry, dy.dtype, algorithm).weight_grad(dy, x, w_shape, geometry)
