"""How long a GPU should take: a roofline of three lines, with the figures of one device (kernels/cuda/roofline.py). It serves to compare algorithms, by shape alone,
and is what `tinycnn explain-algo --device cuda` prints.

An algorithm is a few stages, one after the other, of which each takes

    launches + max(bytes / bandwidth, FLOPs / (peak * efficiency * share of the multiprocessors that are busy))

A multiprocessor is busy while there is a block for it: the last, partly filled round of blocks counts as a whole one. How many warps it holds at a time, among which it
can choose while others wait for memory, follows from the registers and the shared memory of the compiler's report (`resident`).
"""
from math import ceil
from typing import NamedTuple

import numpy as np

from ..cuda import blocks, compiler, source
from ..cuda.roofline import BANDWIDTH, EFFICIENCY, EFFICIENCY_TENSOR, LAUNCH, PEAK, PEAK_TENSOR, busy
from ..matmul.cuda import SIDES, cut
from ..matmul.cuda import SOURCE as MATMUL

ARCHITECTURE = "sm_90"
REGISTERS, SHARED, WARPS = 1 << 16, 228 << 10, 64  # of a multiprocessor
BLOCK = 256  # threads, of all kernels here


class Kernel(NamedTuple):
    """One of a .cu file, as the launcher takes it."""

    source: str
    name: str
    defines: dict
    shared: int = 0  # bytes of dynamic shared memory


class Stage(NamedTuple):
    """What some launches do, most of it by one kernel."""

    name: str
    flops: float  # really done: those of tiles at an edge are
    bytes: float  # moved to and from memory, each array once
    blocks: int
    itemsize: int  # of the numbers that are multiplied
    kernel: Kernel
    tile: str = "large"
    launches: int = 1
    tensor: str = ""  # "tf32" or "fp16" on tensor cores
    bandwidth: float = 1.0  # of the device's, the share that it reaches


def seconds(stages):
    """That the stages take, one after the other."""
    return sum(stage_seconds(stage) for stage in stages)


def stage_seconds(stage):
    peak = PEAK_TENSOR[stage.tensor] * EFFICIENCY_TENSOR if stage.tensor else PEAK[stage.itemsize] * EFFICIENCY[stage.tile]
    return stage.launches * LAUNCH + max(stage.bytes / (BANDWIDTH * stage.bandwidth), stage.flops / (peak * busy(stage.blocks)))


def resident(kernel):
    """(warps that a multiprocessor holds at a time, registers of a thread, bytes of shared memory of a block); None where there is no compiler to tell."""
    defines = {name: value if isinstance(value, str) else np.dtype(value) for name, value in kernel.defines.items()} | {"index_t": np.dtype(np.int32)}
    try:
        found = compiler.resources(source.path_of(kernel.source), defines, ARCHITECTURE)[kernel.name]
    except RuntimeError:
        return None
    shared = found.shared + kernel.shared
    fitting = min(REGISTERS // (ceil(found.registers / 8) * 8 * BLOCK), SHARED // (shared + 1024), WARPS * 32 // BLOCK)
    return fitting * BLOCK // 32, found.registers, shared


def product(M, N, K, matrices, dtype):
    """The Stage of a matrix product by kernels/matmul."""
    tile, parts = cut(M, N, K, matrices, dtype)
    side = SIDES[tile]
    tiles = matrices * blocks(M, side) * blocks(N, side)
    elements = matrices * (M * K + K * N + (2 * parts + 1 if parts > 1 else 1) * M * N)
    return Stage("products", 2 * tiles * side * side * K, elements * dtype.itemsize, tiles * parts, dtype.itemsize, Kernel(MATMUL, f"multiply_{tile}", {"real": dtype}),
                 tile, 1 + (parts > 1))


def passes(name, elements, dtype, kernel, launches=1, bandwidth=1.0):
    """The Stage of kernels that read or write so many elements, and compute next to nothing."""
    return Stage(name, 0, elements * dtype.itemsize, 0, dtype.itemsize, kernel, launches=launches, bandwidth=bandwidth)
