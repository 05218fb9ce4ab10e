"""The CUDA side of the kernel library: from a .cu file to a launch, on a GPU or on the CPU simulator.

    device.h        the one header that kernels include
    source.py       what a .cu file says: its kernels, their parameters, the text that is compiled
    compiler.py     CUDA C++ to GPU machine code (NVRTC), with the registers and the shared memory that each kernel takes
    simulator/      CUDA C++ to a library that runs kernels on the CPU, thread by thread, and finds what a GPU hides
    standin/        an array module like CuPy over NumPy and the simulator
    backend.py      which of the two it is
    launch.py       checks the arguments and launches
    memory.py       new arrays, contiguous ones
    graph.py        many launches as one
    layout.py       how arrays lie that are gone through together: broadcasting and strides

A kernel module (kernels/activation/cuda.py is the shortest) needs only

    from ..cuda import blocks, launch

and nothing here asks what a kernel computes. Nothing is imported or compiled before it is needed.
"""
from .backend import array_module
from .launch import blocks, launch, strided
from .layout import layout
from .memory import contiguous, empty, empty_like

__all__ = ["array_module", "blocks", "contiguous", "empty", "empty_like", "launch", "layout", "strided"]
