"""Many launches as one: what a function launches is written down once, and later calls hand the whole list to the device (a CUDA graph).

In Python a launch takes some tens of microseconds, and a kernel for one small image often less than ten. ResNet-50, fused, is 167 launches: for 10 ms or more Python
prepares what the device does in a few. A graph is one call of the driver, after which the device starts each kernel a microsecond or two after the one before. What is
added are copies of the images and the results: 0.6 MB for an image of 224x224, read and written in under a microsecond at 4 TB/s, and a launch each.
Measured on an H200: fused ResNet-50 takes 1.16 ms for one image where launch by launch it takes 12.7, and 4.86 for 16 where it takes 15.0.

A graph repeats addresses and numbers, not names. Hence four things here:

    what comes in       is copied to where the graph reads, what comes out is copied from where it writes: a later call overwrites both
    memory in between   is from a pool that nobody else gets anything from, and that stays as long as the graph. Within the graph it serves again and again, as before
    what was there      stays: weights because the function is kept that has them, the tables of kernels (pool/cuda.py) because they are never given back
    what is counted     is on the device: dropout adds to the number of its call, which says what it draws, a number that is written there before each launch

Nothing runs while a graph is captured, so nothing may wait for a number or copy from the host then. The first call runs launch by launch, and does what is done once:
kernels are compiled, tables copied. The second one captures.

Source: NVIDIA, CUDA C++ Programming Guide, section on CUDA Graphs (stream capture).
"""
import threading
from contextlib import suppress

import numpy as np

from ..graph import is_wanted
from .backend import array_module, is_simulated
from .memory import empty, empty_like

_capturing = threading.local()  # .later: of the Graph that this thread captures


def graph(function, *arrays):
    """(a Graph of what function(*arrays) launches, or None where graphs are not wanted; what that gives)."""
    if not is_wanted(by_default=not is_simulated()):  # there it has nothing to gain
        return None, function(*arrays)
    captured = Graph(function, *arrays)
    return captured, captured(*arrays)


class Graph:
    """What function(x, ...) launches, to be launched at once for other arrays like these."""

    certain = True  # capturing fails if anything is done that cannot be repeated

    def __init__(self, function, *arrays):
        cuda = array_module().cuda
        self.pool, stream = cuda.MemoryPool(from_driver), cuda.Stream(non_blocking=True)
        with stream, cuda.using_allocator(self.pool.malloc):
            self.inputs, self.later = [empty_like(x) for x in arrays], empty((), np.uint64)
            stream.begin_capture()
            _capturing.later = self.later
            try:
                self.results = function(*self.inputs)
            except BaseException:
                with suppress(Exception):
                    stream.end_capture()
                raise
            finally:
                _capturing.later = None
            self.graph = stream.end_capture()
        self.at = None  # what is in self.later
        self.done = cuda.Event(disable_timing=True)  # the last call is: its images and results may be overwritten

    def holds(self):
        return True

    def __call__(self, *arrays, later=0):
        """The results for these arrays. later: how many calls of dropout there have been since the launches were captured."""
        stream = array_module().cuda.get_current_stream()
        stream.wait_event(self.done)  # the last call may have been in another stream
        for own, x in zip(self.inputs, arrays, strict=True):
            own[...] = x
        if later != self.at:
            self.later.fill(np.uint64(later % 2**64))
            self.at = later
        self.graph.launch()
        results = [copied(result) for result in self.results]
        self.done.record(stream)
        return results


def calls_later():
    """While launches are captured: where a kernel that is given the number of a call (of dropout) finds what to add to it, an array of one uint64. None otherwise."""
    return getattr(_capturing, "later", None)


def from_driver(nbytes):
    """Memory for a graph's pool. Were there none, CuPy's error would make the pool give back what is free in it: but launches captured before write there."""
    cuda = array_module().cuda
    try:
        return cuda.MemoryPointer(cuda.Memory(nbytes), 0)
    except cuda.runtime.CUDARuntimeError as error:
        raise MemoryError(str(error)) from error


def copied(x):
    """x in memory of its own, in x's order."""
    y = empty_like(x)
    y[...] = x
    return y
