"""CUDA kernels on the CPU: g++ compiles the source that a GPU gets, and every CUDA thread runs as a fiber, in an order drawn from a seed.

    build.py           compiles a .cu file, or says that there is no compiler
    module.py          loads it, and launches
    runtime.cpp        the scheduler: blocks, warps, barriers
    fiber.h            threads that can wait; sanitizers.h explains them to the sanitizers
    trace.py, trace.h  records every access to memory
    cuda.h             CUDA C++ as a kernel sees it; half.h, tensor_cores.h, kernel.h are parts of it

What it finds, and what it cannot know (speed, the weak memory model), is said in docs/cuda.md.
"""
