"""Streams, events, memory and the device, as in `cupy.cuda`.

A stream is a list of things to do. They are done when somebody waits for the stream, or when MOST have gathered (they hold on to their arrays).
"""
import ctypes
import os
import threading
import time
from types import SimpleNamespace

import numpy as np

MOST = 256  # things queued
_libc = ctypes.CDLL(None)
_current = threading.local()


# ---- memory

class Block:
    """An allocation of exactly so many bytes, on a multiple of 256 as CUDA gives it."""

    def __init__(self, pool, nbytes):
        address = ctypes.c_void_p()
        if _libc.posix_memalign(ctypes.byref(address), ctypes.c_size_t(256), ctypes.c_size_t(max(1, nbytes))):
            raise MemoryError(f"no memory for {nbytes} bytes")
        self.pool, self.nbytes, self.address = pool, nbytes, address.value
        self.bytes = np.frombuffer((ctypes.c_uint8 * nbytes).from_address(self.address), np.uint8) if nbytes else np.empty(0, np.uint8)
        self.bytes.fill(0xFF)
        pool.count(nbytes)

    def __del__(self):
        if getattr(self, "address", None):
            self.bytes.fill(0xFF)
            self.pool.count(-self.nbytes)
            _libc.free(ctypes.c_void_p(self.address))


class MemoryPool:
    """Counts what is in use; nothing is kept for later."""

    def __init__(self):
        self.used = self.peak = 0

    def count(self, nbytes):
        self.used += nbytes
        self.peak = max(self.peak, self.used)

    def used_bytes(self):
        return self.used

    def total_bytes(self):
        return self.used

    def free_all_blocks(self):
        pass


def alloc_pinned_memory(nbytes):
    """Memory of the host, filled with 0xFF; NumPy looks into it as a buffer."""
    return bytearray(b"\xff" * nbytes)


_pool = MemoryPool()


def get_default_memory_pool():
    return _pool


# ---- streams and events

class Stream:
    """A queue. `with stream:` makes it the one that launches go to."""

    def __init__(self, non_blocking=False):
        self.waiting, self.done = [], 0
        self.before = []

    def enqueue(self, action):
        self.waiting.append(action)
        if len(self.waiting) >= MOST or os.environ.get("CUDA_LAUNCH_BLOCKING") == "1":
            self.synchronize()

    def synchronize(self):
        """Do everything that is queued."""
        self.run_until(self.done + len(self.waiting))

    def run_until(self, number):
        """Do what is queued, up to the thing number `number` since the stream began."""
        while self.done < number and self.waiting:
            action = self.waiting.pop(0)
            self.done += 1
            action()

    def record(self, event=None):
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event):
        self.enqueue(event.synchronize)

    def __enter__(self):
        self.before.append(get_current_stream())
        _current.stream = self
        return self

    def __exit__(self, *_):
        _current.stream = self.before.pop()


Stream.null = Stream()


def get_current_stream():
    return getattr(_current, "stream", Stream.null)


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
