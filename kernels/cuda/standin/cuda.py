"""Streams, events, memory and the device, as in `cupy.cuda`.

A stream is a list of things to do. They are done when somebody waits for the stream, or when MOST have gathered (they hold on to their arrays).
A graph is such a list that is done again and again. It has addresses and holds no arrays: memory that is freed too early shows.
"""
import ctypes
import os
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import numpy as np

MOST = 256  # things queued
_libc = ctypes.CDLL(None)
_current = threading.local()
_busy = threading.RLock()  # whoever has it runs something: the device does one thing at a time


# ---- memory

class Block:
    """An allocation of exactly so many bytes, on a multiple of 256 as CUDA gives it."""

    def __init__(self, pool, nbytes):
        self.pool, self.nbytes, self.address = pool, nbytes, pool.take(nbytes)
        self.bytes = np.frombuffer((ctypes.c_uint8 * nbytes).from_address(self.address), np.uint8) if nbytes else np.empty(0, np.uint8)
        self.bytes.fill(0xFF)
        pool.count(nbytes)

    def __del__(self):
        if getattr(self, "address", None):
            self.pool.count(-self.nbytes)
            give, stream = partial(self.pool.give, self.bytes, self.address), get_current_stream()
            if stream.graphs:
                stream.waiting.append((give, ()))  # as in CuPy's pools, where memory that is given back serves those who come later in the stream
            else:
                give()


class MemoryPool:
    """Counts what is in use, and keeps what is freed for another block of that size. The default pool keeps nothing, so that whoever uses freed memory sees it."""

    def __init__(self, allocator=None, keeps=True):  # memory is the C library's, whatever the allocator
        self.keeps, self.kept = keeps, defaultdict(list)  # bytes: addresses
        self.used = self.peak = 0

    def malloc(self, nbytes):
        return Block(self, nbytes)

    def take(self, nbytes):
        """The address of so many bytes."""
        if self.kept[nbytes]:
            return self.kept[nbytes].pop()
        address = ctypes.c_void_p()
        if _libc.posix_memalign(ctypes.byref(address), ctypes.c_size_t(256), ctypes.c_size_t(max(1, nbytes))):
            raise MemoryError(f"no memory for {nbytes} bytes")
        return address.value

    def give(self, memory, address):
        memory.fill(0xFF)
        if self.keeps:
            self.kept[len(memory)].append(address)
        else:
            _libc.free(ctypes.c_void_p(address))

    def __del__(self):
        self.free_all_blocks()

    def count(self, nbytes):
        self.used += nbytes
        self.peak = max(self.peak, self.used)

    def used_bytes(self):
        return self.used

    def total_bytes(self):
        return self.used

    def free_all_blocks(self):
        """Give back what is kept; as on a GPU, that waits for what is queued."""
        if any(self.kept.values()):
            Device().synchronize()
            for addresses in self.kept.values():
                for address in addresses:
                    _libc.free(ctypes.c_void_p(address))
            self.kept.clear()


def alloc_pinned_memory(nbytes):
    """Memory of the host, filled with 0xFF; NumPy looks into it as a buffer."""
    return bytearray(b"\xff" * nbytes)


_pool = MemoryPool(keeps=False)


def get_default_memory_pool():
    return _pool


def alloc(nbytes):
    """A Block of this thread's allocator."""
    return getattr(_current, "allocator", _pool.malloc)(nbytes)


@contextmanager
def using_allocator(allocator):
    before = getattr(_current, "allocator", _pool.malloc)
    _current.allocator = allocator
    try:
        yield
    finally:
        _current.allocator = before


# ---- streams and events

class Stream:
    """A queue. `with stream:` makes it the one that launches go to."""

    def __init__(self, non_blocking=False):
        self.waiting, self.done = [], 0
        self.captured = None  # what is done in a graph later
        self.graphs = 0  # queued
        self.before = []

    def enqueue(self, action, *arrays):
        """Something to be done, and the arrays whose memory it needs: they are kept until then, but not by a graph."""
        if self.captured is not None:
            self.captured.append(action)
            return
        self.waiting.append((action, arrays))
        if len(self.waiting) >= MOST or os.environ.get("CUDA_LAUNCH_BLOCKING") == "1":
            self.synchronize()

    def begin_capture(self, mode=None):
        if self is Stream.null or self.captured is not None:
            raise RuntimeError("the default stream cannot be captured" if self is Stream.null else "the stream is captured already")
        self.captured, self.failed = [], False

    def end_capture(self):
        actions, self.captured = self.captured, None
        if actions is None or self.failed:
            raise RuntimeError("the stream is not captured" if actions is None else "something that cannot be captured was done meanwhile")
        return Graph(actions)

    def is_capturing(self):
        return self.captured is not None

    def synchronize(self):
        """Do everything that is queued."""
        self.run_until(self.done + len(self.waiting))

    def run_until(self, number):
        """Do what is queued, up to the thing number `number` since the stream began."""
        if self.captured is not None:
            self.failed = True
            raise RuntimeError("a stream that is captured cannot be waited for")
        with _busy:
            while self.done < number and self.waiting:
                action, _arrays = self.waiting.pop(0)
                self.done += 1
                action()
                del action, _arrays  # now, and not when the next action has been taken

    def record(self, event=None):
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event):
        """Until what was recorded last is done: not what is recorded later."""
        if event.stream is not None:
            self.enqueue(partial(event.stream.run_until, event.number))

    def __enter__(self):
        self.before.append(get_current_stream())
        _current.stream = self
        return self

    def __exit__(self, *_):
        _current.stream = self.before.pop()


Stream.null = Stream()


def get_current_stream():
    return getattr(_current, "stream", Stream.null)


def hold(*arrays):
    """Keep the arrays until what is queued so far is done. (Not in CuPy, whose pool needs no such thing: see MemoryPool.)"""
    get_current_stream().enqueue(lambda: None, *arrays)


class Graph:
    """What was captured, as one thing to do."""

    def __init__(self, actions):
        self.actions = actions

    def launch(self, stream=None):
        stream = stream or get_current_stream()
        stream.graphs += 1
        stream.enqueue(partial(self._run, stream))

    def _run(self, stream):
        for action in self.actions:
            action()
        stream.graphs -= 1


class Event:
    """A point in a stream, and when the stream passed it."""

    def __init__(self, block=False, disable_timing=False):
        self.stream, self.number, self.seconds = None, 0, None

    def record(self, stream=None):
        self.stream = stream or get_current_stream()
        self.stream.enqueue(self._pass)
        self.number = self.stream.done + len(self.stream.waiting)

    def _pass(self):
        self.seconds = time.perf_counter()

    def synchronize(self):
        if self.stream is not None:
            self.stream.run_until(self.number)


def get_elapsed_time(start, end):
    """Milliseconds between two events that were passed."""
    return 1e3 * (end.seconds - start.seconds)


# ---- the device

class Device:
    """One device, with the limits of an H100."""

    compute_capability = "90"
    attributes = {"MultiProcessorCount": 132, "MaxSharedMemoryPerBlockOptin": 232448, "MaxThreadsPerMultiProcessor": 2048, "MaxSharedMemoryPerMultiprocessor": 233472,
                  "MaxRegistersPerMultiprocessor": 65536, "L2CacheSize": 52428800}

    def __init__(self, number=0):
        self.id = number

    def synchronize(self):
        get_current_stream().synchronize()
        Stream.null.synchronize()


def is_available():
    return True


runtime = SimpleNamespace(getDeviceCount=lambda: 1)
