"""Figures of one device, an H200, by which products are cut into blocks and convolution chooses its algorithm: by shape alone, so the bits of a result depend on
no device.

Peaks are those that the kernels of tinycnn/bench/gpu.cu reached on an NVIDIA H200 on 26 November 2026 (benchmarks/results/gpu-2026-11-26); efficiencies are chosen so
that the model of conv/cuda_model.py agrees with the convolutions measured there: the time that it expects of the kernels as they were then, over the time measured,
had the median 0.98, and half lay between 0.88 and 1.04 (86 figures; six are left out, of kernels that copied their images first). Of doubles and of half the peak is
the data sheet's. Of tensor cores: median 0.96 over 29 convolutions in TF32 (benchmarks/results/gpu-2026-11-26-2).
"""
from math import ceil

MULTIPROCESSORS = 132
BANDWIDTH = 3.2e12  # bytes/s: three quarters of what a copy reaches, 4.3e12
PEAK = {4: 59e12, 8: 30e12}  # FLOP/s, by the bytes of a number; of doubles, the data sheet's
PEAK_TENSOR = {"tf32": 320e12, "fp16": 640e12}  # mma.sync; of half, twice as much
EFFICIENCY = {"small": 0.45, "large": 0.45}  # of products in tiles of 64 and of 128: where both are filled one is as good as the other
EFFICIENCY_TENSOR = 0.14  # their small layers wait for memory and barriers most of the time
LAUNCH = 3e-6  # seconds that a kernel takes to begin and end


def rounds(blocks):
    """How many blocks after one another the busiest multiprocessor works off; a single one takes as long as two, since nothing hides what it waits for."""
    return max(2, ceil(blocks / MULTIPROCESSORS))


def busy(blocks):
    """The share of the device's peak that so many blocks can use."""
    return blocks / (rounds(blocks) * MULTIPROCESSORS) if blocks else 1.0
