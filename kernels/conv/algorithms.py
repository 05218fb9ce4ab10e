"""The ways to compute a convolution on the CPU, and which one is taken.

Every algorithm is a module with the reference's three functions, in a form that lets filters be prepared once, and some more:

    NAME
    pack(w, x_shape, geometry, once)    the filters in the order in which forward reads them. once: for one call of it
    forward(x, packed, w_shape, bias, geometry, epilogue)    input_grad(dy, w, x_shape, geometry)    weight_grad(dy, x, w_shape, geometry)
    cost(form, n, geometry, dtype)   a model of the seconds it takes on one core; math.inf for what it cannot do.  form: one of FORMS, n: the Sizes
    scratch(form, n, geometry)       elements of scratch memory that all threads together need
    POOLS                            if it is there: forward takes the maximum of 2x2 results on the way

The cheapest by that model is taken: a function of shape and dtype alone, so the choice (and with it every bit of the result) never depends on timing or on the
number of threads. `explain` prints the model's figures. A caller overrules the model with `algorithm="direct"`, a user with TINYCNN_CONV=direct in the
environment (which yields, where that algorithm cannot do the problem), and TINYCNN_AUTOTUNE=1 lets measurements decide (autotune.py).
A new algorithm is a new file and one line in the table.
"""
import os
from functools import cache, lru_cache
from importlib import import_module
from math import inf

from . import autotune
from .sizes import sizes
from .tiles import FORMS

#           name        module
ALGORITHMS = {
    "direct": "direct",
    "im2col": "im2col",
    "implicit": "implicit",
    "winograd": "winograd",
    "depthwise": "depthwise",
}


@cache
def algorithm_module(name):
    """The module that implements the algorithm called `name`."""
    if name not in ALGORITHMS:
        raise ValueError(f"convolution: unknown algorithm {name!r}: there are {', '.join(ALGORITHMS)}")
    return import_module(f".{ALGORITHMS[name]}", __package__)


def choose(form, x_shape, w_shape, geometry, dtype, algorithm=None):
    """The module that computes `form` (one of FORMS)."""
    x_shape, w_shape, preferred = tuple(x_shape), tuple(w_shape), os.environ.get("TINYCNN_CONV")
    if autotune.autotune_enabled() and not (algorithm or preferred):
        algorithm = autotune.fastest(form, x_shape, w_shape, geometry, dtype, map(algorithm_module, ALGORITHMS))
    return algorithm_module(_choose(form, x_shape, w_shape, geometry, dtype, algorithm, preferred))


@lru_cache(maxsize=4096)
def _choose(form, x_shape, w_shape, geometry, dtype, algorithm, preferred):
    """The name of the algorithm: the one asked for, the one preferred if it can, or the cheapest."""
    n = sizes(x_shape, w_shape, geometry)
    if algorithm is not None:
        if _cost(algorithm, form, n, geometry, dtype) == inf:
            raise ValueError(f"convolution: the algorithm {algorithm!r} cannot do the {form} of {n} with {geometry} in {dtype}")
        return algorithm
    if preferred and _cost(preferred, form, n, geometry, dtype) < inf:
        return preferred
    return min(ALGORITHMS, key=lambda name: _cost(name, form, n, geometry, dtype))


def _cost(name, form, n, geometry, dtype):
    """The model's seconds. Without channels or filters there is nothing to cut into tiles, and the answer is zeros, the bias or nothing: that is left to plain loops."""
    return inf if 0 in (n.C, n.K) and name != "direct" else algorithm_module(name).cost(form, n, geometry, dtype)


def explain(x_shape, w_shape, geometry, dtype):
    """The model's figures as text: for each form, every algorithm that can do it with its predicted milliseconds on one core, the chosen one starred."""
    n = sizes(tuple(x_shape), tuple(w_shape), geometry)
    lines = [f"{n.flops / 1e9:.3g} GFLOP"]
    for form in FORMS:
        costs = {name: 1e3 * _cost(name, form, n, geometry, dtype) for name in ALGORITHMS}
        best = min(costs, key=costs.get)
        lines.append(f"{form:12}" + "".join(f"  {name} {milliseconds:.3g} ms{'*' if name == best else ''}" for name, milliseconds in costs.items() if milliseconds < inf))
    return "\n".join(lines)
