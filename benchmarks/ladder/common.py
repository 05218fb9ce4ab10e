"""What several steps share."""
import numpy as np

from tinycnn.kernels.conv.geometry import Geometry
from tinycnn.kernels.layout import from_nhwc, nhwc


def pad(x, amount, axes=(1, 2)):
    """x with so many zeros around it along two axes (of an image in NHWC, unless told otherwise); less than none cuts off."""
    if amount < 0:
        return crop(x, -amount, axes)
    return np.pad(x, [(amount, amount) if axis in axes else (0, 0) for axis in range(4)])


def crop(x, amount, axes=(1, 2)):
    """x without its border of that width."""
    return np.ascontiguousarray(x[tuple(slice(amount, x.shape[axis] - amount) if axis in axes else slice(None) for axis in range(4))])


def turned(w):
    """The filters (K, C, R, S) by which dy is convolved to give dx: upside down and back to front, with input and output channels exchanged (C, K, R, S).

    Where the stride is 1, dx[h, v] = sum over k, r, s of  w[k, c, r, s] * dy[h + padding - r, v + padding - s]  is a convolution itself, with R-1 - padding for padding.
    """
    return np.ascontiguousarray(w[:, :, ::-1, ::-1].swapaxes(0, 1))


def input_grad_by(forward):
    """input_grad(dy, w, padding) by a step's forward."""
    def input_grad(dy, w, padding):
        rows, columns = w.shape[2] - 1 - padding, w.shape[3] - 1 - padding
        if rows == columns:
            return forward(dy, turned(w), rows)
        return forward(pad(pad(dy, rows, (1,)), columns, (2,)), turned(w), 0)
    return input_grad


def of_library(module):
    """(forward, input_grad, weight_grad) of one of the library's algorithms, on NHWC."""
    def geometry(padding):
        return Geometry(padding=(padding, padding))

    def forward(x, w, padding):
        x = from_nhwc(x)
        return nhwc(module.forward(x, module.pack(w, x.shape, geometry(padding)), w.shape, None, geometry(padding)))

    def input_grad(dy, w, padding):
        (N, P, Q, _), (_, C, R, S) = dy.shape, w.shape
        return nhwc(module.input_grad(from_nhwc(dy), w, (N, C, P + R - 1 - 2 * padding, Q + S - 1 - 2 * padding), geometry(padding)))

    def weight_grad(dy, x, padding):
        (_, P, Q, K), (_, H, W, C) = dy.shape, x.shape
        return module.weight_grad(from_nhwc(dy), from_nhwc(x), (K, C, H + 2 * padding - P + 1, W + 2 * padding - Q + 1), geometry(padding))
    return forward, input_grad, weight_grad
