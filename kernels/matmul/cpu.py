"""Matrix product on the CPU, for now by BLAS (held to one thread by kernels/runtime.py)."""
from .reference import linear, matmul

__all__ = ["linear", "matmul"]
