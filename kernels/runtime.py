"""How kernels are compiled and on how many threads they run. Every Numba kernel of the library is made by `jit`; nothing else configures Numba.

**Cache.** Numba stores compiled code on disk but does not notice an edit in a file that a kernel imports, so tests would pass on stale code. Each operation's
cache folder therefore has in its name a hash of the operation's own sources, of the files beside this one, and of the folders that it imports from (USES).

**Threads.** A kernel cuts its work into tiles by shape alone and runs them in a `prange`; each tile is computed by one thread, and partial sums are added
in tile order. Hence the same bits on one thread and on many. BLAS is held to one thread: two thread pools that take turns cost 25-45x on small layers, and
multi-threaded BLAS changes bits with the number of threads. Numba's threads come from OpenMP, else TBB; `workqueue`, which is 50x slower to start and dies
when two Python threads enter it, only where nothing else exists, behind a lock and with a warning.

**Memory.** By default glibc gives large freed blocks back to the system, which then clears every page of the next one: filling fresh 200 MB takes three times as
long as filling 200 MB that were used before (30 against 10 ms here). We tell it to keep what was freed; TINYCNN_MALLOC=default leaves it alone.
"""
import ctypes
import hashlib
import mmap
import os
import sys
import threading
import warnings
from functools import lru_cache, wraps
from importlib import import_module
from pathlib import Path

import numba
import numpy as np
from threadpoolctl import ThreadpoolController

from .cache import cache_root
from .graph.record import noted
from .simd.vector import WIDTH

USES = {  # the other folders that an operation's kernels import from, directly or through those
    "layout": ("simd",),
    "elementwise": ("simd",),
    "dropout": ("simd",),
    "reduce": ("simd",),
    "matmul": ("simd",),
    "unfold": ("simd",),
    "conv": ("simd", "matmul", "unfold"),
    "cross_entropy": ("softmax",),
    "activation": ("simd", "norm", "reduce"),
    "lrn": ("simd",),
    "norm": ("simd",),
    "pool": ("simd",),
}


@lru_cache
def cache_folder(operation):
    """.../tinycnn/OPERATION-HASH-WIDTH: the width is that of a vector (kernels/simd), which an environment variable can set."""
    here = Path(__file__).parent
    sources = [*here.glob("*.py")] + [source for folder in (operation, *USES.get(operation, ())) for source in (here / folder).rglob("*.py")]
    digest = hashlib.sha256()
    for source in sorted({source for source in sources if not source.name.startswith("cuda")}):  # cuda.py, cuda_*.py: nothing for Numba there
        digest.update(str(source.relative_to(here)).encode() + source.read_bytes())
    return os.path.join(cache_root(), f"{operation}-{digest.hexdigest()[:12]}-{WIDTH}")


def keep_freed_memory():
    """Have malloc reuse large freed blocks instead of returning them. Only glibc understands; elsewhere nothing happens."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or os.environ.get("TINYCNN_MALLOC") == "default":
        return
    M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
    mallopt(M_MMAP_MAX, 0)  # large blocks from the heap as well
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)  # and the heap's end stays
    mallopt(M_TOP_PAD, 64 << 20)  # grow it in large steps


def give_back_freed_memory(*lost):
    """Have malloc give back what it keeps, and Linux take the pages of `lost`, arrays without gaps whose contents nobody wants.

    The next to want memory finds it cleared, slowly.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    if sys.platform == "linux":
        for array in lost:
            start, end, page = array.ctypes.data, array.ctypes.data + array.nbytes, mmap.PAGESIZE
            first, last = -(-start // page) * page, end // page * page  # those that nobody else has a part of
            libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(max(0, last - first)), mmap.MADV_DONTNEED)


def load_threading_layer():
    """Load the best of Numba's threading layers that this machine has, and return its name.

    GNU's OpenMP lets idle threads spin for milliseconds, which is good as long as no other program wants the core: with two busy neighbours a step of LeNet-5 took
    60 ms instead of 10. We let them spin for 100 to 500 microseconds (a processor decides how long its `pause` takes), more than the time between two kernels. It
    reads the setting when it is loaded, so nobody else is affected.
    """
    spin = {} if "OMP_WAIT_POLICY" in os.environ or "GOMP_SPINCOUNT" in os.environ else {"GOMP_SPINCOUNT": "10000"}
    os.environ.update(spin)
    try:
        for name, module in (("omp", "omppool"), ("tbb", "tbbpool")):
            try:
                import_module(f"numba.np.ufunc.{module}")
                return name
            except ImportError:
                continue
        return "workqueue"
    finally:
        for variable in spin:
            del os.environ[variable]


THREADING_LAYER = load_threading_layer()
numba.config.THREADING_LAYER_PRIORITY = [THREADING_LAYER] + [name for name in ("omp", "tbb", "workqueue") if name != THREADING_LAYER]
keep_freed_memory()
ThreadpoolController().limit(limits=1, user_api="blas")
_lock = threading.Lock()


def jit(function=None, *, parallel=False, fastmath=False):
    """numba.njit as this library uses it: cached, without the GIL, C's arithmetic for division.  parallel=True for kernels that contain a `prange`.

    fastmath only where reassociating a sum is wanted and tested for: it also lets the compiler assume that there are no NaNs.
    """
    if function is None:
        return lambda f: jit(f, parallel=parallel, fastmath=fastmath)
    operation = function.__module__.removeprefix(f"{__package__}.").partition(".")[0]
    shared = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = cache_folder(operation)  # read when the function is decorated; a user's own Numba functions keep their folder
    try:
        compiled = numba.njit(cache=True, nogil=True, error_model="numpy", parallel=parallel, fastmath=fastmath)(function)
    finally:
        numba.config.CACHE_DIR = shared
    return _one_at_a_time(compiled) if parallel and THREADING_LAYER == "workqueue" else compiled


def _one_at_a_time(kernel):
    """`workqueue` aborts the process when two Python threads enter it: let one in at a time."""
    @wraps(kernel)
    def locked(*arguments):
        with _lock:
            return kernel(*arguments)
    return locked


if THREADING_LAYER == "workqueue":
    warnings.warn("Numba found neither OpenMP nor TBB: parallel kernels run on its `workqueue` layer, where every launch costs about 0.1 ms "
                  "and kernels of two Python threads wait for each other. `pip install tbb`, or install libgomp (Linux) or libomp (macOS).",
                  RuntimeWarning, stacklevel=2)


def set_num_threads(n):
    """Run kernels on n threads, 1 to the number that Numba started with (all cores, or NUMBA_NUM_THREADS). The results are the same for every n."""
    most = numba.config.NUMBA_NUM_THREADS
    if not 1 <= n <= most:
        raise ValueError(f"set_num_threads: n is {n}; this process can use 1 to {most} threads (NUMBA_NUM_THREADS, set before the start, raises the limit)")
    numba.set_num_threads(n)


def get_num_threads():
    """The number of threads that kernels run on."""
    return numba.get_num_threads()


def contiguous(array):
    """`array` itself if it is C-contiguous, else a C-contiguous copy: generic strides cost Numba 4-5x."""
    return array if array.flags.c_contiguous else _as_contiguous(array)


# What kernels have NumPy do, here and there
zeros, _as_contiguous = noted(np.zeros), noted(np.ascontiguousarray)


@noted
def add_to(y, more):
    """y += more"""
    y += more


@noted
def summed(parts, period, dtype):
    """(period,) from (rows, columns): the sum of the rows, and of its elements that are `period` apart."""
    return parts.sum(0).reshape(-1, period).sum(0).astype(dtype)
