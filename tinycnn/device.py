"""A device is an array module plus a kernel table; nothing else in the engine knows where it computes.

`cpu` is NumPy with the kernels of `tinycnn.kernels`. `cuda` is CuPy with CUDA kernels, or with TINYCNN_CUDA=simulate a stand-in that runs the same kernels on the
CPU. The array module only allocates, views and copies; all arithmetic is the table's. TINYCNN_KERNELS=reference (or `with use_kernels("reference")`) runs the whole
engine on the NumPy specification instead of the fast kernels: slow, and the way to find out whose fault it is.
"""
import os
from contextlib import contextmanager
from functools import lru_cache

import numpy as np

from . import kernels
from .kernels.graph import is_wanted


class Device:
    """name, the array module `xp`, the kernel table `kernels` (see tinycnn.kernels), `to_numpy`, which gives an array of this device as a NumPy array, and whether the
    device `queues` its kernels: then looking at a number means to wait for all of them. `graph(function, *arrays)` calls a function, and gives what calls the same
    kernels again for other arrays (or None), and the results (kernels/graph/cpu.py, kernels/cuda/graph.py)."""

    def __init__(self, name, xp, table, to_numpy, graph, queues=False):
        self.name = name
        self.xp = xp
        self.kernels = kernels.backend(table)
        self.to_numpy = to_numpy
        self.queues = queues
        self.graph = graph

    def __repr__(self):
        return f"device({self.name!r})"

    def __str__(self):
        return self.name

    def __eq__(self, other):
        return self is other or (isinstance(other, str) and other == self.name)

    def __hash__(self):
        return hash(self.name)


def _cpu_graph(function, *arrays):
    if not is_wanted(by_default=True) or cpu.kernels.name != "cpu":  # the reference's work is NumPy's, and cannot be repeated
        return None, function(*arrays)
    from .kernels.graph.cpu import graph  # brings Numba
    return graph(function, *arrays)


cpu = Device("cpu", np, os.environ.get("TINYCNN_KERNELS") or "cpu", lambda array: array, _cpu_graph)


@lru_cache
def cuda():
    """The GPU, or its simulation; a RuntimeError says what is missing."""
    from .kernels.cuda import array_module
    from .kernels.cuda.graph import graph
    xp = array_module()
    return Device("cuda", xp, "cuda", xp.asnumpy, graph, queues=True)


DEVICES = {"cpu": lambda: cpu, "cuda": cuda}  # made when first asked for


def device(name):
    """The device called `name`; a Device is returned as it is."""
    if isinstance(name, Device):
        return name
    if name not in DEVICES:
        raise ValueError(f"unknown device {name!r}: this engine has {', '.join(DEVICES)}")
    return DEVICES[name]()


@contextmanager
def use_kernels(table, on="cpu"):
    """Within this block the device `on` computes with the kernel table called `table` ("cpu", "reference")."""
    where = device(on)
    before, where.kernels = where.kernels, kernels.backend(table)
    try:
        yield
    finally:
        where.kernels = before
