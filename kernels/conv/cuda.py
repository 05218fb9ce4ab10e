"""Convolution on the GPU: the reference's three functions, each computed by the algorithm that kernels/conv/cuda_algorithms.py chooses for its shape.

algorithm: the name of one in that table, instead of the model's choice.
"""
from ..activation.cuda import relu_
from ..elementwise.cuda import add_, copy_
from .cuda_algorithms import choose
from .epilogue import NOTHING


def forward(x, w, bias, geometry, algorithm=None, *, epilogue=NOTHING):
    """y (N, K, P, Q) from x (N, C, H, W), w (K, C/groups, R, S) and bias (K,) or None. epilogue: what else is done with y (epilogue.py), here in passes of its own."""
    y = choose("forward", x.shape, w.shape, geometry, x.dtype, algorithm).forward(x, w, bias, geometry)
    if epilogue.add is not None:
        add_(y, epilogue.add)
    if epilogue.relu:
        relu_(y)
    if epilogue.out is None:
        return y
    copy_(epilogue.out, y)
    return epilogue.out


def input_grad(dy, w, x_shape, geometry, algorithm=None, *, add=None):
    """dx (N, C, H, W) from dy (N, K, P, Q) and w. add: an array of dx's shape that is added to it, what other uses of x have sent back."""
    dx = choose("input_grad", x_shape, w.shape, geometry, dy.dtype, algorithm).input_grad(dy, w, x_shape, geometry)
    if add is not None:
        add_(dx, add)
    return dx


def weight_grad(dy, x, w_shape, geometry, algorithm=None):
    """dw (K, C/groups, R, S) from dy (N, K, P, Q) and x."""
    return choose("weight_grad", x.shape, w_shape, geometry, dy.dtype, algorithm).weight_grad(dy, x, w_shape, geometry)
