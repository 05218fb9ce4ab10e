"""A compiled library of kernels, launched with the calling convention of CuPy's RawModule: grid, block, and a tuple of arrays and NumPy numbers."""
import ctypes
import os
from contextlib import nullcontext

import numpy as np


def seed():
    """The seed of the orders in which threads run: TINYCNN_CUDA_SEED, else 1. The same seed gives the same orders; 0 is ascending."""
    return int(os.environ.get("TINYCNN_CUDA_SEED") or 1)


class Library:
    """A library made by build.library."""

    watch = None  # a tool's function (library, kernel, grid, block, values) to a context in which each launch runs

    def __init__(self, path):
        self.path = path
        self.library = ctypes.CDLL(str(path))
        self.library.simulator_error.restype = ctypes.c_char_p

    def signature(self, name):
        """The parameters of a kernel as the C++ compiler saw them: a letter each (simulator/kernel.h)."""
        function = getattr(self.library, f"signature_{name}")
        function.restype = ctypes.c_char_p
        return function().decode()

    def run(self, name, grid, block, values, shared, seed):
        """Launch and wait. values: for each parameter a NumPy number, 0-d struct, or an address as np.uint64; an array stands for its own memory."""
        held = [np.asarray(value) for value in values]  # numbers need an address while the kernel runs
        pointers = (ctypes.c_void_p * max(1, len(held)))(*(value.ctypes.data for value in held))
        launch = getattr(self.library, f"simulate_{name}")
        with Library.watch(self, name, grid, block, values) if Library.watch else nullcontext():
            failed = launch((ctypes.c_uint * 3)(*grid), (ctypes.c_uint * 3)(*block), ctypes.c_size_t(shared), pointers, ctypes.c_uint64(seed))
        if failed:
            raise RuntimeError(f"{name}: {self.library.simulator_error().decode()}")
