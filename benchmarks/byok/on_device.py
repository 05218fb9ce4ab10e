"""A convolution that somebody brings to `tinycnn bench conv --device cuda --kernel on_device.py`: functions on arrays of the device, here by tinycnn's kernels.

With CuPy anything that takes its arrays can stand here: a cupy.RawKernel, a Numba or Triton kernel, a library. Arrays are float32 and C-contiguous.
"""
from tinycnn.kernels import backend
from tinycnn.kernels.conv.geometry import Geometry


def forward(x, w, bias, *how):
    """y (N, K, P, Q) from x (N, C, H, W), w (K, C/groups, R, S) and bias (K,) or None; how: stride, padding, dilation, groups."""
    return backend("cuda").conv.forward(x, w, bias, Geometry(*how), algorithm="im2col")


def input_grad(dy, w, x_shape, *how):
    return backend("cuda").conv.input_grad(dy, w, x_shape, Geometry(*how), algorithm="im2col")


def weight_grad(dy, x, w_shape, *how):
    return backend("cuda").conv.weight_grad(dy, x, w_shape, Geometry(*how), algorithm="im2col")
