"""CUDA kernels in tests: on a GPU if TINYCNN_CUDA=gpu says so, else on the CPU simulator, which needs a C++ compiler.

`kernels_of(implementation)` gives kernels that take and return NumPy arrays whatever computes, so that one test serves all implementations.
"""
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from tinycnn.kernels import OPERATIONS, backend

os.environ.setdefault("TINYCNN_CUDA", "simulate")
MISSING = os.environ["TINYCNN_CUDA"] == "simulate" and shutil.which(os.environ.get("CXX") or "g++") is None
needs_simulator = pytest.mark.skipif(MISSING, reason="the CUDA simulator needs a C++ compiler (g++), and there is none")
simulator_only = pytest.mark.skipif(os.environ["TINYCNN_CUDA"] != "simulate", reason="what the simulator and the stand-in do, and a GPU does not")
CUDA = pytest.param("cuda", marks=needs_simulator)


def kernels_of(implementation):
    """backend(implementation); for "cuda" with functions from NumPy arrays to NumPy arrays."""
    if implementation != "cuda":
        return backend(implementation)
    return SimpleNamespace(**{operation: OnDevice(operation) for operation, modules in OPERATIONS.items() if modules[2]})


class OnDevice:
    """The CUDA kernels of one operation for NumPy arrays: arguments are copied to the device, lying as they lie here, and back, since a kernel may change them."""

    def __init__(self, operation):
        self.operation = operation

    def __getattr__(self, name):
        function = getattr(getattr(backend("cuda"), self.operation), name)

        def call(*arguments, **options):
            moved = []  # (NumPy array, device array)
            arguments = _map(arguments, np.ndarray, lambda array: _moved(array, moved))
            options = {key: _map(value, np.ndarray, lambda array: _moved(array, moved)) for key, value in options.items()}
            result = function(*arguments, **options)
            result = _map(result, _xp().ndarray, lambda array: _returned(array, moved))
            for host, device in moved:
                if host.flags.writeable:
                    np.copyto(host, device.get())
            return result
        return call


def to_device(array):
    """A device array with the elements of a NumPy array, lying in memory as that does, gaps and all."""
    xp = _xp()
    if array.size == 0 or array.flags.c_contiguous:
        return xp.asarray(array)
    low, high = np.lib.array_utils.byte_bounds(array)
    memory = np.lib.stride_tricks.as_strided(_first(array, low), ((high - low) // array.itemsize,), (array.itemsize,))
    start = (array.__array_interface__["data"][0] - low) // array.itemsize
    return xp.lib.stride_tricks.as_strided(xp.asarray(memory)[start:], array.shape, array.strides)


def to_host(array):
    """A device array as a NumPy array that lies alike, channels-last or contiguous."""
    if array.ndim == 4 and not array.flags.c_contiguous and array.transpose(0, 2, 3, 1).flags.c_contiguous:
        return array.transpose(0, 2, 3, 1).get().transpose(0, 3, 1, 2)
    return array.get()


def _first(array, low):
    """A view of the element that lies lowest in memory."""
    return array[tuple(slice(-1, None) if step < 0 else slice(0, 1) for step in array.strides)].reshape(-1)[:1]


def _xp():
    from tinycnn.kernels.cuda import array_module
    return array_module()


def _moved(array, moved):
    for host, device in moved:
        if host is array:
            return device
    moved.append((array, to_device(array)))
    return moved[-1][1]


def _returned(array, moved):
    for host, device in moved:
        if device is array:
            return host
    return to_host(array)


def _map(value, kind, change):
    """value with `change` done to everything of this kind in it: tuples and lists are looked into."""
    if isinstance(value, kind):
        return change(value)
    if type(value) in (tuple, list):
        return type(value)(_map(part, kind, change) for part in value)
    return value
