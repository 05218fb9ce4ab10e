"""Pooling: each window of an image is replaced by one number, its maximum or its mean.

    max       y[n, c, p, q] = max of x[n, c, h, w] over the h, w that window (p, q) sees;  dy goes to the element that won
    average   y[n, c, p, q] = sum of the same / their number;                             dy / number goes to all of them

Which elements a window sees (stride, padding, dilation, ceil_mode, adaptive windows) and the number that counts is in windows.py. Neighbouring windows may share
elements (AlexNet's 3x3 windows 2 apart do), so the backward passes add.  Of equal maxima the first in row-major order wins; NaN wins over numbers, the last NaN
over other NaNs.

Who won is kept as the number of its tap, a byte for windows of up to 256 (windows.elements says which element that is); max_indices turns it into PyTorch's indices,
h*W + w of the winner. Max pooling is linear once the winners are known: max_gather picks x where they are, and max_backward is its adjoint. `window` is a Window, or
for adaptive pooling the (P, Q) of the output.
"""
import numpy as np

from .windows import adaptive, areas, axes, counts, elements, repeat_last, sliding, winner_dtype


def max_forward(x, window):
    """y and winners, both (N, C, P, Q), of x (N, C, H, W)."""
    rows, columns = axes(x.shape[2:], window)
    R, S = len(repeat_last(rows)), len(repeat_last(columns))
    y = np.empty((*x.shape[:2], len(rows), len(columns)), x.dtype)
    winners = np.empty(y.shape, winner_dtype(R * S))
    for p, row in enumerate(rows):
        for q, column in enumerate(columns):
            seen = x[:, :, row, column]
            height, width = seen.shape[2:]
            seen = seen.reshape(*x.shape[:2], height * width)
            last_nan = seen.shape[2] - 1 - np.isnan(seen[:, :, ::-1]).argmax(-1)
            winner = np.where(np.isnan(seen).any(-1), last_nan, seen.argmax(-1))
            y[:, :, p, q] = np.take_along_axis(seen, winner[:, :, None], 2)[:, :, 0]
            winners[:, :, p, q] = winner // width * S + winner % width
    return y, winners


def max_values(x, window):
    """y alone: what inference needs."""
    return max_forward(x, window)[0]


def adaptive_max_forward(x, output_size):
    """The same with windows that depend on the sizes; (P, Q) = output_size. The other functions take output_size for their window."""
    return max_forward(x, tuple(output_size))


def max_indices(winners, image, window):
    """(N, C, P, Q), int64: h*W + w of the winners in an image of (H, W)."""
    N, C, P, Q = winners.shape
    seen = elements(image, window)
    return seen[winners.reshape(N, C, P * Q), np.arange(P * Q)].astype(np.int64).reshape(winners.shape)


def max_backward(dy, winners, x_shape, window):
    """dx (N, C, H, W): every dy (N, C, P, Q) added to the element that won its window."""
    N, C, H, W = x_shape
    dx = np.zeros((N * C, H * W), dy.dtype)
    P, Q = dy.shape[2:]
    indices = max_indices(winners, (H, W), window).reshape(N * C, P * Q)
    np.add.at(dx, (np.arange(N * C)[:, None], indices), dy.reshape(N * C, P * Q))
    return dx.reshape(x_shape)


def max_gather(x, winners, window):
    """x where the winners of max_forward are: (N, C, P, Q)."""
    N, C, H, W = x.shape
    P, Q = winners.shape[2:]
    indices = max_indices(winners, (H, W), window).reshape(N, C, P * Q)
    return np.take_along_axis(x.reshape(N, C, H * W), indices, axis=2).reshape(winners.shape)


def avg_forward(x, window, count_include_pad=True, divisor=None):
    """y (N, C, P, Q) of x (N, C, H, W)."""
    return _means(x, *sliding(x.shape[2:], window), counts(x.shape[2:], window, count_include_pad, divisor))


def avg_backward(dy, x_shape, window, count_include_pad=True, divisor=None, channels_last=False):
    """dx (N, C, H, W) from dy (N, C, P, Q). channels_last: in that order even if dy has none (1 x 1)."""
    return _spread(dy, x_shape, *sliding(x_shape[2:], window), counts(x_shape[2:], window, count_include_pad, divisor))


def adaptive_avg_forward(x, output_size):
    """y (N, C, P, Q) with (P, Q) = output_size."""
    rows, columns = adaptive(x.shape[2:], output_size)
    return _means(x, rows, columns, areas(rows, columns))


def adaptive_avg_backward(dy, x_shape, channels_last=False):
    """dx (N, C, H, W) from dy (N, C, P, Q). channels_last: in that order even if dy has none (1 x 1)."""
    rows, columns = adaptive(x_shape[2:], dy.shape[2:])
    return _spread(dy, x_shape, rows, columns, areas(rows, columns))


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

