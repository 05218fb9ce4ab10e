"""Pooling: each window of an image is replaced by one number, its maximum or its mean.

    max       y[n, c, p, q] = max of x[n, c, h, w] over the h, w that window (p, q) sees;  dy goes to the element that won
    average   y[n, c, p, q] = sum of the same / their number;                             dy / number goes to all of them

Which elements a window sees (stride, padding, dilation, ceil_mode, adaptive windows) and the number that counts is in windows.py. Neighbouring windows may share
elements (AlexNet's 3x3 windows 2 apart do), so the backward passes add.  Of equal maxima the first in row-major order wins; NaN wins over numbers, the last NaN
over other NaNs.  indices are h*W + w of the winner, as PyTorch's.

Max pooling is linear once the winners are known: max_gather picks x at indices, and max_backward is its adjoint.
"""
import numpy as np

from .windows import adaptive, areas, counts, sliding


def max_forward(x, window):
    """y and indices (int64), both (N, C, P, Q), of x (N, C, H, W)."""
    return _maxima(x, *sliding(x.shape[2:], window))


def adaptive_max_forward(x, output_size):
    """y and indices (int64), both (N, C, P, Q) with (P, Q) = output_size."""
    return _maxima(x, *adaptive(x.shape[2:], output_size))


def max_backward(dy, indices, x_shape):
    """dx (N, C, H, W): every dy (N, C, P, Q) added to the element that won its window."""
    N, C, H, W = x_shape
    dx = np.zeros((N * C, H * W), dy.dtype)
    P, Q = dy.shape[2:]
    np.add.at(dx, (np.arange(N * C)[:, None], indices.reshape(N * C, P * Q)), dy.reshape(N * C, P * Q))
    return dx.reshape(x_shape)


def max_gather(x, indices):
    """x at the indices of max_forward: (N, C, P, Q)."""
    N, C, H, W = x.shape
    P, Q = indices.shape[2:]
    return np.take_along_axis(x.reshape(N, C, H * W), indices.reshape(N, C, P * Q), axis=2).reshape(indices.shape)


def avg_forward(x, window, count_include_pad=True, divisor=None):
    """y (N, C, P, Q) of x (N, C, H, W)."""
    return _means(x, *sliding(x.shape[2:], window), counts(x.shape[2:], window, count_include_pad, divisor))


def avg_backward(dy, x_shape, window, count_include_pad=True, divisor=None):
    """dx (N, C, H, W) from dy (N, C, P, Q)."""
    return _spread(dy, x_shape, *sliding(x_shape[2:], window), counts(x_shape[2:], window, count_include_pad, divisor))


def adaptive_avg_forward(x, output_size):
    """y (N, C, P, Q) with (P, Q) = output_size."""
    rows, columns = adaptive(x.shape[2:], output_size)
    return _means(x, rows, columns, areas(rows, columns))


def adaptive_avg_backward(dy, x_shape):
    """dx (N, C, H, W) from dy (N, C, P, Q)."""
    rows, columns = adaptive(x_shape[2:], dy.shape[2:])
    return _spread(dy, x_shape, rows, columns, areas(rows, columns))


def _maxima(x, rows, columns):
    N, C, H, W = x.shape
    y = np.empty((N, C, len(rows), len(columns)), x.dtype)
    indices = np.empty(y.shape, np.int64)
    where = np.arange(H * W).reshape(H, W)
    for p, row in enumerate(rows):
        for q, column in enumerate(columns):
            flat = where[row, column].reshape(-1)
            seen = x[:, :, row, column].reshape(N, C, flat.size)
            last_nan = flat.size - 1 - np.isnan(seen[:, :, ::-1]).argmax(-1)
            winner = np.where(np.isnan(seen).any(-1), last_nan, seen.argmax(-1))
            y[:, :, p, q] = np.take_along_axis(seen, winner[:, :, None], 2)[:, :, 0]
            indices[:, :, p, q] = flat[winner]
    return y, indices


def _means(x, rows, columns, numbers):
    y = np.empty((*x.shape[:2], len(rows), len(columns)), x.dtype)
    for p, row in enumerate(rows):
        for q, column in enumerate(columns):
            y[:, :, p, q] = x[:, :, row, column].sum((2, 3)) / numbers[p, q]
    return y


def _spread(dy, x_shape, rows, columns, numbers):
    dx = np.zeros(x_shape, dy.dtype)
    for p, row in enumerate(rows):
        for q, column in enumerate(columns):
            dx[:, :, row, column] += (dy[:, :, p, q] / numbers[p, q])[:, :, None, None]
    return dx

