"""A device is an array module plus a kernel table; nothing else in the engine knows where it computes.

`cpu` is NumPy with the kernels of `tinycnn.kernels`. The array module only allocates, views and copies; all arithmetic is the table's. TINYCNN_KERNELS=reference
(or `with use_kernels("reference")`) runs the whole engine on the NumPy specification instead of the fast kernels: slow, and the way to find out whose fault it is.
"""
import os
from contextlib import contextmanager

import numpy as np

from . import kernels


class Device:
    """name, the array module `xp`, and the kernel table `kernels` (see tinycnn.kernels)."""

    def __init__(self, name, xp, table):
        self.name = name
        self.xp = xp
        self.kernels = kernels.backend(table)

    def __repr__(self):
        return f"device({self.name!r})"

    def __str__(self):
        return self.name

    def __eq__(self, other):
        return self is other or (isinstance(other, str) and other == self.name)

    def __hash__(self):
        return hash(self.name)


cpu = Device("cpu", np, os.environ.get("TINYCNN_KERNELS") or "cpu")
DEVICES = {"cpu": cpu}


def device(name):
    """The device called `name`; a Device is returned as it is."""
    if isinstance(name, Device):
        return name
    if name not in DEVICES:
        raise ValueError(f"unknown device {name!r}: this engine has {', '.join(DEVICES)}")
    return DEVICES[name]


@contextmanager
def use_kernels(table, on="cpu"):
    """Within this block the device `on` computes with the kernel table called `table` ("cpu", "reference")."""
    where = device(on)
    before, where.kernels = where.kernels, kernels.backend(table)
    try:
        yield
    finally:
        where.kernels = before
