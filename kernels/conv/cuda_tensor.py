"""Convolution on the GPU's tensor cores (tensor.cu): implicit GEMM, cut up and launched as cuda_implicit.py does, with factors rounded to fewer bits and sums in float32.

    implicit_tf32    factors keep 10 of the 23 bits of their mantissa: an error of up to 5e-4 in each. float32 arrays are read as they are
    implicit_fp16    the same 10 bits, and an exponent that ends at 65504 and 6e-8: arrays are converted to float16 first, a pass over memory

Neither is taken unless asked for: TINYCNN_CONV_CUDA=implicit_tf32, or algorithm="implicit_tf32".

**Napkin.** 490 (980) TFLOP/s on an H100 for TF32 (float16), 8 (16) times as many as plain float32; R*S*K/4 FLOPs a byte from memory, where these would want 160 (320):
only wide layers with 3x3 filters are bound by arithmetic, all others by memory.
"""
from math import inf

import numpy as np

from ..elementwise.cuda import cast
from . import cuda_implicit as implicit
from .cuda_model import Kernel, passes, seconds


class OnTensorCores:
    """An algorithm of the table, for factors of one precision."""

    def __init__(self, name, precision, dtype):
        self.NAME, self.precision, self.dtype = name, precision, np.dtype(dtype)
        size = self.dtype.itemsize
        chunk, buffers = 16 // size, 3 * 2  # of two operands
        shared = {side: (buffers * side * (64 + 16), buffers * 64 * (side + 8)) for side in (64, 128)}  # RowByRow, StepByStep
        self.kernels = implicit.Kernels("conv/tensor.cu", chunk, {64: 4 * chunk, 128: 4 * chunk}, "input", shared)

    def stages(self, form, n, geometry, dtype):
        """As implicit.cu, and the conversion to float16. None for anything but float32, and for what implicit.cu cannot do."""
        if dtype != np.float32:
            return None
        products = implicit.stages(form, n, geometry, dtype, self.kernels, self.precision)
        if self.dtype == dtype or products is None:
            return products
        read = {"forward": n.N * n.C * n.H * n.W, "input_grad": n.N * n.K * n.P * n.Q}.get(form, n.N * (n.C * n.H * n.W + n.K * n.P * n.Q))
        convert = Kernel("elementwise/elementwise.cu", "dense", {"A": dtype, "B": self.dtype, "C": self.dtype, "T": dtype, "Y": self.dtype, "FORMULA": "a"})
        return [passes("to float16", 1.5 * read, dtype, convert, 2), *products]

    def cost(self, form, n, geometry, dtype):
        known = self.stages(form, n, geometry, dtype)
        return inf if known is None else seconds(known)

    def scratch(self, form, n, geometry):
        """As implicit.cu, and the arrays in float16."""
        return implicit.scratch(form, n, geometry) + (n.N * (n.C * n.H * n.W + n.K * n.P * n.Q) // 2 if self.precision == "fp16" else 0)

    def forward(self, x, w, bias, geometry):
        return implicit.forward(self.rounded(x), self.rounded(w), bias, geometry, self.kernels)

    def input_grad(self, dy, w, x_shape, geometry):
        return implicit.input_grad(self.rounded(dy), self.rounded(w), x_shape, geometry, self.kernels)

    def weight_grad(self, dy, x, w_shape, geometry):
        return implicit.weight_grad(self.rounded(dy), self.rounded(x), w_shape, geometry, self.kernels)

    def rounded(self, x):
        return x if x.dtype == self.dtype else cast(x, self.dtype)


TF32 = OnTensorCores("implicit_tf32", "tf32", np.float32)
FP16 = OnTensorCores("implicit_fp16", "fp16", np.float16)
