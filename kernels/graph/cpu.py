"""What a function calls, as a list that can be called again: on the CPU what a CUDA graph (kernels/cuda/graph.py) is on a GPU.

A step of training is some hundred kernels, and between two of them Python does what is its own: modules, the tape, choices, new arrays. That would take 20 to 30
microseconds each time, did not the kernels sweep the caches: after each of them Python has to fetch its own code and objects from memory, and takes 80 to 280. The list
needs none of that. And it knows from when to when memory is used, so that can be given out beforehand: the largest block first, each at the lowest address that is free
while it is in use. That takes little more than the most that is in use at any time, and less than malloc, which learns of each block when it is wanted.

Source: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020 (greedy by size).
"""
import ctypes
import warnings
from bisect import insort
from threading import get_ident

import numpy as np

from ..memory import LINE
from ..runtime import THREADING_LAYER, get_num_threads, give_back_freed_memory
from .record import Piece, Recorder, like


def graph(function, *arrays):
    """(a Graph of what function(*arrays) calls, or None; what it gave: it has been called once). A warning says why there is none."""
    if THREADING_LAYER == "workqueue":  # there each call has to wait for those of other Python threads (kernels/runtime.py)
        return None, function(*arrays)
    made = Graph(function, *arrays)
    if made.problem:
        warnings.warn(f"calls cannot be repeated, they are made one by one: {made.problem}", RuntimeWarning, stacklevel=2)
        return None, made.copied()
    return made, made.copied()


class Graph:
    """What function(x, ...) calls, to be called again for other arrays like these. The function is called once: `results`.

    It holds as long as the arrays that outlive the function (weights, gradients) are where they were, which it sees to by keeping them.
    """

    certain = False  # NumPy may have done something that is not in the list

    def __init__(self, function, *arrays):
        self.inputs, self.made_on, self.called = [x.copy("K") for x in arrays], (get_ident(), get_num_threads()), 0
        give_back_freed_memory()  # what earlier calls left would be there beside what this one takes
        with Recorder() as recorder:
            self.results = function(*self.inputs)
        owners = [block.owner() for block in recorder.blocks]
        self.problem, self.later = recorder.problem, recorder.later
        give_back_freed_memory()  # or the new memory would be pages that the function wrote to, and be there beside what it writes to next time
        self.memory, self.shared = arrange([block for block, owner in zip(recorder.blocks, owners) if owner is None])
        self.kept = owners, recorder.kept
        for block, owner in zip(recorder.blocks, owners):
            if owner is not None:
                block.at = block.address
        self.calls = [(called, arrays_of(arguments)) for called, arguments in recorder.calls]

    def holds(self):
        """Whether it may be called: scratch memory (kernels/conv/workspace.py) is of the Python thread that made it, for so many threads of kernels."""
        return (get_ident(), get_num_threads()) == self.made_on

    def __call__(self, *arrays, later=0):
        """The results for these arrays. later: how many calls of dropout there have been since the calls were noted."""
        if self.called < 2:  # what the function used, and what a comparison did: self.memory takes its place
            give_back_freed_memory()
        if not self.called:
            self.shared[:] = 0xFF  # NaN: what is not in the list leaves a gap, whatever the images are
        self.called += 1
        for own, x in zip(self.inputs, arrays, strict=True):
            own[...] = x
        self.later[:] = later % 2**64
        for function, arguments in self.calls:
            function(*arguments)
        return self.copied()

    def copied(self):
        """The results in memory of their own: a later call overwrites what the list has."""
        return [result.copy("K") for result in self.results]


class _Memory:
    """To NumPy, the array that a Piece stands for."""

    def __init__(self, piece):
        self.__array_interface__ = piece.form | {"data": (piece.block.at + piece.offset, piece.read_only)}


def arrays_of(x):
    """x, with arrays for Pieces."""
    if isinstance(x, Piece):
        return np.asarray(_Memory(x))
    return like(x, map(arrays_of, x)) if isinstance(x, (tuple, list)) else x


def arrange(blocks):
    """(memory in which each block has a place of its own from its first to its last call, and those with content always, which is there; the part of those without).

    block.at is its address.
    """
    taken, end = [], 0  # (start, end, first call, last call), by start
    for block in sorted(blocks, key=lambda block: (block.content is not None, -block.size)):
        size, first, last = block.size + LINE, block.first, block.last  # with room to begin as far from the beginning of a cache line as it did
        size += -size % LINE
        start = 0
        if block.content is not None:
            start = end
        else:
            for other_start, other_end, other_first, other_last in taken:
                if other_start < start + size and start < other_end and other_first <= last and first <= other_last:
                    start = other_end
            insort(taken, (start, start + size, first, last))
        block.at, end = start, max(end, start + size)
    shared = max((other_end for _, other_end, _, _ in taken), default=0)
    memory = np.empty(end + LINE, np.uint8)
    first = -memory.ctypes.data % LINE
    start = memory.ctypes.data + first
    for block in blocks:
        block.at += start + block.address % LINE
        if block.content:
            ctypes.memmove(block.at, block.content, block.size)
    return memory, memory[first:first + shared]
