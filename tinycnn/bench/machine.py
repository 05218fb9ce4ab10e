"""What this machine is, and the most that it can do: the roofline (Williams, Waterman, Patterson 2009).

A computation of so many FLOPs that moves so many bytes takes at least   max(FLOPs / peak, bytes / bandwidth)   seconds. Both are measured here, in the same run
as everything else, since a virtual machine has no data sheet:

    peak        every core does nothing but fused multiply-adds on registers, enough of them independent of each other to hide their latency
    bandwidth   every core copies its part of arrays much larger than the last cache; bytes read plus bytes written

Two cores may be near each other or far: those of one die have a last cache in common, of two they have not, and a virtual machine's cores may be moved from one to the
other while it runs. How fast they *exchange* what they have just written is therefore measured over and over, between everything else.

FLOPs are those of the definition (2 for each product that is added up), bytes those of reading each input and writing each result once. An algorithm that does
fewer multiplications, as Winograd's does, can therefore come out above 100% of this roofline.
"""
import ctypes
import os
import platform
import sys
import time
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np

from .measure import OtherProcesses

LIBRARIES = ("tinycnn", "numpy", "numba", "llvmlite", "threadpoolctl")
VARIABLES = ("MALLOC_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "NUMBA_", "TINYCNN_", "LD_PRELOAD")  # beginnings of those that change what is measured
COPIED = 128 << 20  # bytes of each array that is copied
EXCHANGED = 1 << 20  # bytes that cores exchange: they stay in the nearer caches


def environment():
    """What somebody else would want to know to judge the figures."""
    from ..kernels import runtime
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "caches": caches(),
        "memory_GiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1) if hasattr(os, "sysconf") else None,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "threading_layer": runtime.THREADING_LAYER,
        "malloc": malloc(),
        "variables": {name: value for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)},
        "load": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def version(package):
    """The installed version, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def malloc():
    """How freed memory is treated in this process: see kernels/runtime.py."""
    if getattr(ctypes.CDLL(None), "mallopt", None) is None:
        return "the system's"
    return "glibc's default" if os.environ.get("TINYCNN_MALLOC") == "default" else "glibc, told to keep freed memory (for all libraries in this process)"


def processor():
    """The name that the processor gives itself."""
    if sys.platform.startswith("linux"):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def caches():
    """{"L1d": "32K", ...} of the first core, where Linux tells."""
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            found[f"L{level}{'d' if kind == 'Data' and level == '1' else ''}"] = size
    return found


@cache
def measuring_kernels():
    """(multiply-adds on registers, copy, exchange), compiled when first asked for."""
    from numba import prange

    from ..kernels.runtime import jit
    from ..kernels.simd.tile import ROWS, VECTORS, add_outer, store_tile, zero_tile

    @jit(parallel=True)
    def multiply_add(a, out, threads, steps):
        for thread in prange(threads):
            tile = zero_tile(a, ROWS, VECTORS)
            for _ in range(steps):
                tile = add_outer(tile, a, 0, 1, a, 0)  # the same operands again and again: they stay in registers
            store_tile(tile, out, thread * 1024, 32, VECTORS * (a.size // 64))

    @jit(parallel=True)
    def copy(x, y, threads):
        part = (x.size + threads - 1) // threads
        for thread in prange(threads):
            first, last = thread * part, min((thread + 1) * part, x.size)
            y[first:last] = x[first:last]

    @jit(parallel=True)
    def exchange(x, sums, threads):
        part = x.size // threads
        for thread in prange(threads):
            x[thread * part:(thread + 1) * part] += 1
        for thread in prange(threads):  # each reads what another has written
            other = (thread + 1) % threads * part
            total = 0.0
            for i in range(other, other + part, 8):  # of every cache line one number
                total += x[i]
            sums[thread] = total

    return multiply_add, copy, exchange


@cache
def exchanged(threads):
    """The arrays of exchange()."""
    return np.zeros(EXCHANGED // 8), np.zeros(threads)


def exchange():
    """GB/s at which each of the threads in use writes its part of a megabyte and then reads another's; 0 if there is only one.

    The best of 20 ms: after a pause, Linux sometimes runs two threads on one core for some milliseconds, although the other has nothing to do.
    """
    from .. import get_num_threads
    threads = get_num_threads()
    if threads == 1:
        return 0.0
    *_, kernel = measuring_kernels()
    return EXCHANGED / best(lambda: kernel(*exchanged(threads), threads), seconds=0.02) / 1e9


def best(function, seconds=0.5):
    """The least time of many calls: a peak is what the machine can do, not what it usually does."""
    times, end = [], time.perf_counter() + seconds
    while len(times) < 4 or time.perf_counter() < end:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def peak(threads):
    """{"threads", "gflops", "gbps", "disturbed"}: the most that so many threads can do here, in float32; and what part of the machine others took meanwhile."""
    from .. import get_num_threads, set_num_threads
    from ..kernels.simd.tile import ROWS, VECTORS
    from ..kernels.simd.vector import WIDTH
    multiply_add, copy, _ = measuring_kernels()
    before = get_num_threads()
    set_num_threads(threads)
    others = OtherProcesses()
    others.start()
    try:
        a, out, steps = np.ones(64 * WIDTH, np.float32), np.zeros(1024 * threads, np.float32), 400_000
        flops = 2 * ROWS * VECTORS * WIDTH * steps * threads
        gflops = flops / best(lambda: multiply_add(a, out, threads, steps)) / 1e9
        x, y = np.ones(COPIED // 8), np.zeros(COPIED // 8)
        gbps = 2 * COPIED / best(lambda: copy(x, y, threads)) / 1e9
    finally:
        set_num_threads(before)
    return {"threads": threads, "gflops": round(gflops, 1), "gbps": round(gbps, 2), "disturbed": round(others.share(), 3)}


def attainable(flops, moved, peak):
    """(seconds that the machine needs at least, what bounds it)."""
    computing, moving = flops / (peak["gflops"] * 1e9), moved / (peak["gbps"] * 1e9)
    return max(computing, moving), "arithmetic" if computing >= moving else "memory"
