"""The rectifier: y = max(x, 0) (ReLU; Nair & Hinton 2010). NaN stays NaN.

Its gradient passes where y > 0 and stops where y <= 0; y says as much as x, so x need not be kept and may be overwritten by y. At 0, where there is no derivative,
it is 0.
"""
import numpy as np


def relu(x):
    """max(x, 0)"""
    return np.maximum(x, 0)


def relu_(x):
    """x = max(x, 0), in x's own memory. Returns x."""
    return np.maximum(x, 0, out=x)


def relu_backward(dy, y):
    """dx: dy where y > 0 (or NaN, as in PyTorch), else 0, whatever dy is there."""
    return np.where(y <= 0, dy.dtype.type(0), dy)


def relu_backward_sums(dy, y):
    """(dx, db): dx as above, of images (N, C, H, W), and the sum of every channel of it (C,), the gradient of a bias that was added before the rectifier."""
    dx = relu_backward(dy, y)
    return dx, dx.sum((0, 2, 3))
