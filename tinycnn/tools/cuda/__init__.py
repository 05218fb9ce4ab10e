"""Tools for people who write CUDA kernels and have no GPU: a checker and a tracer for any .cu file, on the CPU simulator (kernels/cuda/simulator).

    description.py   how a file says in what way its kernels are launched, and what must come out
    child.py         the process in which that happens, once for each way of compiling: a crash is a finding, not the end
    checker.py       runs all of them, and gathers what they found
    reports.py       what sanitizers report, in plain words
    tracer.py        accesses to memory, as requests of warps: sectors, bank conflicts, bytes
    picture.py       the same as a picture

In pytest, `check_kernel("my_kernel.cu")` is a whole test. docs/cuda.md shows all of it.
"""
from .checker import check, check_kernel
from .tracer import trace

__all__ = ["check", "check_kernel", "trace"]
