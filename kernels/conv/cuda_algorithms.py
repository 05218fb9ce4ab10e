"""The ways to compute a convolution on the GPU, and which one is taken: the table of algorithms.py, for the device.

Every algorithm is a module, or an object in one, with

    NAME
    forward(x, w, bias, geometry)    input_grad(dy, w, x_shape, geometry)    weight_grad(dy, x, w_shape, geometry)
    stages(form, n, geometry, dtype) what it does, one launch after the other (cuda_model.py); None for what it cannot do
    cost(form, n, geometry, dtype)   the model's seconds for these; math.inf for what it cannot do
    scratch(form, n, geometry)       elements of memory besides arguments and result

The cheapest by that model is taken, a function of shape and dtype alone. `algorithm=` overrules the model for a call, TINYCNN_CONV_CUDA=winograd in the environment
for a process (it yields where that algorithm cannot do the problem). Those that round their factors to fewer bits are taken only if asked for by name.
"""
import os
from functools import cache, lru_cache
from importlib import import_module
from math import inf

from .sizes import sizes

#    name             module           taken only if asked for
ALGORITHMS = {
    "im2col": ("cuda_im2col", False),
    "implicit": ("cuda_implicit", False),
    "winograd": ("cuda_winograd", False),
    "implicit_tf32": ("cuda_tensor.TF32", True),
    "implicit_fp16": ("cuda_tensor.FP16", True),
}


@cache
def algorithm_module(name):
    """What implements the algorithm called `name`."""
    if name not in ALGORITHMS:
        raise ValueError(f"convolution: unknown algorithm {name!r} for CUDA: there are {', '.join(ALGORITHMS)}")
    module, _, part = ALGORITHMS[name][0].partition(".")
    module = import_module(f".{module}", __package__)
    return getattr(module, part) if part else module


def choose(form, x_shape, w_shape, geometry, dtype, algorithm=None):
    """The module that computes `form`."""
    return algorithm_module(_choose(form, tuple(x_shape), tuple(w_shape), geometry, dtype, algorithm, os.environ.get("TINYCNN_CONV_CUDA")))


@lru_cache(maxsize=4096)
def _choose(form, x_shape, w_shape, geometry, dtype, algorithm, preferred):
    """The name of the algorithm: the one asked for, the one preferred if it can, or the cheapest."""
    n = sizes(x_shape, w_shape, geometry)
    if algorithm is not None:
        if algorithm_module(algorithm).cost(form, n, geometry, dtype) == inf:
            raise ValueError(f"convolution: the algorithm {algorithm!r} cannot do the {form} of {n} with {geometry} in {dtype}")
        return algorithm
    if preferred and algorithm_module(preferred).cost(form, n, geometry, dtype) < inf:
        return preferred
    return min((name for name, (_, asked) in ALGORITHMS.items() if not asked), key=lambda name: algorithm_module(name).cost(form, n, geometry, dtype))
