"""Step 9: what follows a convolution in a network, bias and ReLU, while the results are still in registers (kernels/conv/epilogue.py).

    separate    y = convolution(x);  a pass over y that adds the bias;  a pass that clamps it at 0
    fused       the same in one

A pass reads and writes all of y, for one operation on each number. Only the forward pass: in training ReLU's gradient is a pass of its own.
"""
import numba
import numpy as np
from common import of_library
from numba import prange

from tinycnn.kernels.conv import implicit, winograd
from tinycnn.kernels.conv.epilogue import Epilogue
from tinycnn.kernels.conv.geometry import Geometry
from tinycnn.kernels.layout import from_nhwc, nhwc

IDEA, ORDER = "bias and ReLU in the same pass", "NHWC"


def algorithm(w):
    """Winograd's, where it can."""
    return winograd if w.shape[2] == w.shape[3] and w.shape[2] in (3, 5) else implicit


def separate(x, w, bias, padding):
    y = of_library(algorithm(w))[0](x, w, padding)
    pixels = y.reshape(-1, y.shape[3])
    add_bias(pixels, bias)
    clamp(pixels)
    return y


def fused(x, w, bias, padding):
    x, geometry, module = from_nhwc(x), Geometry(padding=(padding, padding)), algorithm(w)
    return nhwc(module.forward(x, module.pack(w, x.shape, geometry), w.shape, bias, geometry, Epilogue(relu=True)))


@numba.njit(parallel=True, cache=True)
def add_bias(pixels, bias):
    for i in prange(len(pixels)):
        for k in range(len(bias)):
            pixels[i, k] += bias[k]


@numba.njit(parallel=True, cache=True)
def clamp(pixels):
    for i in prange(len(pixels)):
        for k in range(pixels.shape[1]):
            pixels[i, k] = max(pixels[i, k], np.float32(0))
