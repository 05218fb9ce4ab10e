"""Scratch memory for kernels: a row for each thread, and what all share.

Every Python thread keeps SCRATCH bytes from its first kernel on: the next one finds them mapped, and perhaps in the cache. (Memory that nobody writes to is only
addresses. When it grew with what kernels asked for, the old piece stayed behind between a network's arrays: a step of VGG-16's training, kernel by kernel, took 360
MB more.)
"""
import threading

import numba
import numpy as np

from ..runtime import jit
from .tiles import SCRATCH

LINE = 64  # bytes in a cache line: vectors that cross from one to the next cost double
APART = 256 << 10  # bytes between what two threads use: nearer to each other, two Zen 4 cores took up to 1.4 times as long (rows of 400 KB; one core alone did not)
THREADS = numba.config.NUMBA_NUM_THREADS  # at most
_kept = threading.local()  # memory, views: {request: (rows, shared)}


class workspace:
    """with workspace(elements, dtype, shared) as (rows, all): an array (threads, elements) of which a kernel takes the row numba.get_thread_id(), and one of `shared`
    elements for all.

    Each row begins at the beginning of a cache line, and is a little longer than was asked for. Together they are at most SCRATCH bytes: where rows are so large, or
    threads so many, that more would be needed, fewer threads run. (What is shared, and the row of a single thread, are given whatever they take.) There is a row for
    every thread that there may be: to ask how many run takes longer than all else here, and memory that nobody writes to is only addresses.
    """

    def __init__(self, elements, dtype, shared=0):
        self.views = _views(elements, shared, dtype)
        self.before = None  # the number of threads, if it was lowered

    def __enter__(self):
        rows = len(self.views[0])
        if rows < THREADS and rows < numba.get_num_threads():
            self.before = numba.get_num_threads()
            numba.set_num_threads(rows)
        return self.views

    def __exit__(self, *error):
        if self.before is not None:
            numba.set_num_threads(self.before)


def _views(elements, shared, dtype):
    request = elements, shared, dtype
    views = getattr(_kept, "views", {})
    if request not in views:
        row, rest = lines(max(1, elements) * dtype.itemsize) + APART, lines(shared * dtype.itemsize)
        threads = max(1, min(THREADS, (SCRATCH - rest) // row))
        size = max(SCRATCH, threads * row + rest)
        if getattr(_kept, "memory", np.empty(0)).size < size:
            _kept.memory = None  # the old one first: both might be too much
            _kept.memory, views = aligned(size, np.dtype(np.uint8)), {}
        memory = _kept.memory[:size].view(dtype)
        cut = threads * row // dtype.itemsize
        views[request] = memory[:cut].reshape(threads, -1), memory[cut:]
        _kept.views = views
    return views[request]


def forget():
    """Give this thread's scratch memory back."""
    _kept.__dict__.clear()


def lines(size):
    """`size` bytes, rounded up to whole cache lines."""
    return -(-size // LINE) * LINE


def aligned(elements, dtype):
    """A new array that begins at the beginning of a cache line."""
    memory = np.empty(elements + LINE // dtype.itemsize, dtype)
    first = -_address(memory) % LINE // dtype.itemsize
    return memory[first:first + elements]


@jit
def _address(memory):
    """Where it begins; NumPy takes four times as long to say so."""
    return memory.ctypes.data
