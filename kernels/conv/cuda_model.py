"""How long a GPU should take: a roofline of three lines, with the figures of one device, an H100 SXM. It serves to compare algorithms, by shape alone, and is what
`tinycnn explain-algo --device cuda` prints.

    time = launches + max(bytes / bandwidth, FLOPs / (peak * efficiency * occupancy))

Efficiency is what the literature says of kernels of this kind (hand-written register tiles reach about 70% of the peak; tensor cores through mma.sync about 60%).
Occupancy is the share of the device's multiprocessors that have a block to work on, the last, partly filled round of blocks included. Nothing here was measured.
"""
from math import ceil

MULTIPROCESSORS = 132
BANDWIDTH = 3.0e12  # bytes/s
PEAK = {4: 60e12, 8: 30e12}  # FLOP/s, by the bytes of a number; TF32: tensor cores, dense
PEAK_TENSOR = {"tf32": 490e12, "fp16": 980e12}
EFFICIENCY, EFFICIENCY_TENSOR = 0.7, 0.5
LAUNCH = 3e-6  # seconds that a kernel takes to begin and end


def seconds(flops, nbytes, dtype, launches=1, blocks=None, tensor=None):
    """Of kernels that do so much. blocks: of the kernel that computes, all of them if None. tensor: "tf32" or "fp16" on tensor cores."""
    peak = PEAK_TENSOR[tensor] * EFFICIENCY_TENSOR if tensor else PEAK[dtype.itemsize] * EFFICIENCY
    return launches * LAUNCH + max(nbytes / BANDWIDTH, flops / (peak * occupancy(blocks)))


def occupancy(blocks):
    """The share of the multiprocessors that are busy while so many blocks are worked off, one on each at a time."""
    if not blocks:
        return 1.0
    return blocks / (ceil(blocks / MULTIPROCESSORS) * MULTIPROCESSORS)
