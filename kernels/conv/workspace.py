"""Scratch memory for kernels: a row for each thread."""
from contextlib import contextmanager

import numba
import numpy as np

from .tiles import SCRATCH

LINE = 64  # bytes in a cache line: vectors that cross from one to the next cost double


@contextmanager
def workspace(elements, dtype):
    """An array (threads, elements), each row at the beginning of a cache line; a kernel takes the row numba.get_thread_id().

    Together they are at most SCRATCH bytes: where a row is so large, or threads so many, that more would be needed, fewer threads run.
    """
    row = max(1, -(-elements * dtype.itemsize // LINE)) * LINE
    before = numba.get_num_threads()
    threads = max(1, min(before, SCRATCH // row))
    memory = aligned(threads * row // dtype.itemsize, dtype)
    numba.set_num_threads(threads)
    try:
        yield memory.reshape(threads, row // dtype.itemsize)
    finally:
        numba.set_num_threads(before)


def aligned(elements, dtype):
    """A new array that begins at the beginning of a cache line."""
    memory = np.empty(elements * dtype.itemsize + LINE, np.uint8)
    first = -memory.ctypes.data % LINE
    return memory[first:first + elements * dtype.itemsize].view(dtype)
