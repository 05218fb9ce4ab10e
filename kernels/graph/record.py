"""Writing down what a function computes: which kernels it calls, and on which memory.

While a Recorder listens, it notes each call of a Numba kernel from Python, and each call of a function that is `noted` because NumPy does its work. Of an array it notes
a Piece: so many elements, from there on in a Block. It does not keep the array, so all memory is free again as soon as it would be without a recording. A Block knows
the first and the last call that use it. If the array that owns it is gone in the end, these calls alone used it, and kernels/graph/cpu.py gives it a place.

What Python computes by other means is not seen: numbers are noted as they are, and a small block with what was in it when it was first used (a table of places, zeros).
That is right if they are the same in every call of the function. So a recording has to be compared with the function before it is believed (tinycnn/train/captured.py).
"""
import threading
import weakref
from ctypes import string_at
from functools import partial, wraps

import numba
import numpy as np
from numba.core.dispatcher import Dispatcher

SMALL = 1 << 16  # bytes: smaller blocks are noted with what is in them
NOT_LATER = np.zeros(1, np.uint64)

_recorders = {}  # of each thread that has one
_lock = threading.Lock()
_call = Dispatcher.__call__


class Block:
    """Memory that the array `owner` has, used from call number `first` to `last`."""

    def __init__(self, owner, first):
        self.owner = weakref.ref(owner)
        self.address, self.size = owner.__array_interface__["data"][0], owner.nbytes
        self.first = self.last = first
        self.content = string_at(self.address, self.size) if self.size <= SMALL and owner.base is None else None


class Piece:
    """An array, as elements of a block."""

    def __init__(self, block, array):
        interface = array.__array_interface__
        address, read_only = interface["data"]
        self.block, self.offset, self.read_only = block, address - block.address, read_only
        self.form = {"version": 3, "typestr": interface["typestr"], "shape": array.shape, "strides": array.strides}


class Recorder:
    """with Recorder() as recorder: ... fills recorder.calls, a list of (function, arguments with Pieces in place of arrays), and recorder.blocks.

    later       what dropout will add to the number of its call: an array of one number
    kept        arrays whose memory is to stay although their owners go
    problem     why the calls cannot be repeated, or None
    """

    def __init__(self):
        self.calls, self.blocks, self.kept, self.problem = [], [], [], None
        self.later = np.zeros(1, np.uint64)
        self.threads = numba.get_num_threads()
        self.listens, self._block_of = True, {}  # the latter by the number (id) of the owner

    def __enter__(self):
        with _lock:
            _recorders[threading.get_ident()] = self
            Dispatcher.__call__ = _call_kernel
        return self

    def __exit__(self, *error):
        with _lock:
            del _recorders[threading.get_ident()]
            if not _recorders:
                Dispatcher.__call__ = _call

    def call_kernel(self, kernel, arguments, named):
        """Call it, and note that. Not if it answers a question: what Python does with the answer is the same in each call, or the comparison will tell."""
        call = kernel, self.described(arguments)
        result = _call(kernel, *arguments, **named)
        if result is None:
            self.calls.append(call)
        if named or isinstance(result, (np.ndarray, tuple)):
            self.problem = f"the kernel {kernel.__name__} was called with names, or gave memory of its own"
        if numba.get_num_threads() != self.threads:
            self.problem = f"the kernel {kernel.__name__} ran on {numba.get_num_threads()} of {self.threads} threads"
        return result

    def call_whole(self, function, arguments):
        """Call it, and note it as a whole: where it gave an array, it is to fill that again. Views are no work."""
        described = self.described(arguments)
        self.listens = False
        try:
            result = function(*arguments)
        finally:
            self.listens = True
        if result is None:
            self.calls.append((function, described))
        elif isinstance(result, (np.ndarray, np.generic)):
            result = np.asarray(result)  # NumPy gives numbers where an array would have no dimension
            if not any(isinstance(x, np.ndarray) and np.may_share_memory(x, result) for x in arguments):
                self.calls.append((_fill, (self.piece(result), function, *described)))
        return result

    def described(self, x):
        """x, with Pieces for arrays."""
        if isinstance(x, np.ndarray):
            return self.piece(x)
        return like(x, map(self.described, x)) if isinstance(x, (tuple, list)) else x

    def piece(self, array):
        owner = array
        while getattr(owner, "base", None) is not None:
            owner = owner.base
        if not isinstance(owner, np.ndarray):  # a file, or memory of somebody else
            owner = array
            self.kept.append(array)
        block = self._block_of.get(id(owner))
        if block is None or block.owner() is not owner:  # numbers of what is gone are given again
            block = self._block_of[id(owner)] = Block(owner, len(self.calls))
            self.blocks.append(block)
        block.last = len(self.calls)
        return Piece(block, array)


def noted(function):
    """The same function; a recording has it as a whole. For what computes by NumPy: it gives an array, or changes one in place and gives None."""
    @wraps(function)
    def call(*arguments, **named):
        recorder = _recorders and listener()
        if not recorder:
            return function(*arguments, **named)
        return recorder.call_whole(partial(function, **named) if named else function, arguments)
    return call


def all_noted(module):
    """{name: noted(function)} for all functions in a module."""
    return {name: noted(function) for name, function in vars(module).items() if callable(function)}


def constant(array):
    """`array` itself; a recording keeps it as it is. For large tables that Python fills, with the same in each call."""
    recorder = _recorders and listener()
    if recorder:
        recorder.kept.append(array)
    return array


def calls_later():
    """What a kernel that is given the number of a call (of dropout) adds to it: an array of one number, 0 but where a recording is repeated."""
    recorder = listener()
    return recorder.later if recorder else NOT_LATER


def listener():
    """The Recorder that listens to this thread, or None."""
    recorder = _recorders.get(threading.get_ident())
    return recorder if recorder and recorder.listens else None


def like(x, parts):
    """A list or tuple of x's type."""
    return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)


def _fill(result, function, *arguments):
    np.copyto(result, function(*arguments))


def _call_kernel(kernel, *arguments, **named):
    recorder = listener()
    return recorder.call_kernel(kernel, arguments, named) if recorder else _call(kernel, *arguments, **named)
