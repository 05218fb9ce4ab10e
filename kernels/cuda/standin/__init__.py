"""An array module with the interface of CuPy, as far as tinycnn uses it, on NumPy and the CPU simulator: `device="cuda"` without a GPU.

It is stricter than CuPy, so that what works here works there:

    - arrays can be made, viewed and copied, nothing else: arithmetic is the kernels', and an operator or a mathematical function raises
    - launches and copies are queued, and run when somebody waits: a result read too early, or host memory changed too early, shows
    - fresh memory is filled with 0xFF (NaN, -1), and freed memory again
    - nothing turns into a NumPy array, a number or a truth value by itself: that would be a hidden wait in the middle of a step (`get`, `item` are explicit)
"""
from . import cuda, lib
from .arrays import asarray, asnumpy, broadcast_to, empty, full, may_share_memory, ndarray, ones, zeros
from .cuda import get_default_memory_pool, hold
from .module import RawModule

__version__ = "of the simulator"
__all__ = ["RawModule", "asarray", "asnumpy", "broadcast_to", "cuda", "empty", "full", "get_default_memory_pool", "hold", "lib", "may_share_memory", "ndarray", "ones",
           "zeros"]
