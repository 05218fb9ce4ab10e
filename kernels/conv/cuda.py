"""Convolution on the GPU: the reference's three functions, each computed by the algorithm that kernels/conv/cuda_algorithms.py chooses for its shape.

algorithm: the name of one in that table, instead of the model's choice.
"""
from .cuda_algorithms import choose


def forward(x, w, bias, geometry, algorithm=None):
    """y (N, K, P, Q) from x (N, C, H, W), w (K, C/groups, R, S) and bias (K,) or None."""
    return choose("forward", x.shape, w.shape, geometry, x.dtype, algorithm).forward(x, w, bias, geometry)


def input_grad(dy, w, x_shape, geometry, algorithm=None):
    """dx (N, C, H, W) from dy (N, K, P, Q) and w."""
    return choose("input_grad", x_shape, w.shape, geometry, dy.dtype, algorithm).input_grad(dy, w, x_shape, geometry)


def weight_grad(dy, x, w_shape, geometry, algorithm=None):
    """dw (K, C/groups, R, S) from dy (N, K, P, Q) and x."""
    return choose("weight_grad", x.shape, w_shape, geometry, dy.dtype, algorithm).weight_grad(dy, x, w_shape, geometry)
