"""`cupy.RawModule`: kernels of a compiled file, launched into the current stream."""
import sys
from pathlib import Path

import numpy as np

from ..simulator.module import Library, seed
from .arrays import ndarray
from .cuda import get_current_stream

CUDA = str(Path(__file__).parents[1])


class RawModule:
    """The kernels of a library that simulator/build.py compiled."""

    def __init__(self, *, path):
        self.library = Library(path)

    def get_function(self, name):
        return Function(self.library, name)


class Function:
    """One kernel."""

    def __init__(self, library, name):
        self.library, self.name = library, name
        self.max_dynamic_shared_size_bytes = 48 << 10

    def __call__(self, grid, block, args, *, shared_mem=0, stream=None):
        """Queue a launch."""
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise RuntimeError(f"{self.name}: {shared_mem} bytes of dynamic shared memory; more than {self.max_dynamic_shared_size_bytes} must be allowed first")
        where = _caller()
        values = [np.uint64(a.data.ptr) if isinstance(a, ndarray) else a for a in args]

        def launch():
            try:
                self.library.run(self.name, grid, block, values, shared_mem, seed())
            except RuntimeError as error:
                raise RuntimeError(f"{error} (launched at {where}; TINYCNN_CUDA_SEED={seed()} gives this order of threads again)") from None
        (stream or get_current_stream()).enqueue(launch, *args)


def _caller():
    """The file and line, outside this package, that asked for the launch: when it runs, the call is long over."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(CUDA):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}, line {frame.f_lineno}"
