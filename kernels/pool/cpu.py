"""Pooling on the CPU: planes.py has the kernels for contiguous memory, pixels.py those for channels-last memory; results lie as the input does.

What windows see is worked out once for each size of image and window, as tables that the kernels read (windows.py says how).
"""
from functools import lru_cache

import numpy as np

from ..layout import nchw, nhwc
from ..memory import empty, empty_channels_last, flat, in_order_of, lies_channels_last, ordered, past_cache
from ..runtime import get_num_threads
from ..window import Window
from . import pixels, planes, windows
from .reference import max_gather, max_indices

__all__ = ["adaptive_avg_backward", "adaptive_avg_forward", "adaptive_max_forward", "avg_backward", "avg_forward", "max_backward", "max_forward",
           "max_gather", "max_indices", "max_values"]


def max_forward(x, window):
    """y and winners, both (N, C, P, Q), of x (N, C, H, W)."""
    (N, C, H, W), tables = x.shape, _tables(x.shape[2:], window)
    x = ordered(x) if tables.winner == np.uint8 else nchw(x)  # vectors count to 256
    y, winners = (empty((N, C, tables.P, tables.Q), dtype, x) for dtype in (x.dtype, tables.winner))
    if lies_channels_last(x) and tables.one_apart:
        pixels.max_forward_one_apart(flat(x), N, C, H, W, tables.rows, tables.columns, tables.S, get_num_threads(), past_cache(flat(y), C), flat(y), flat(winners))
    elif lies_channels_last(x):
        pixels.max_forward(flat(x), N, C, H, W, tables.rows, tables.columns, tables.S, past_cache(flat(y), C), flat(y), flat(winners))
    else:
        planes.max_forward(x.reshape(N * C, H * W), tables.seen, *(a.reshape(N * C, tables.P * tables.Q) for a in (y, winners)))
    return y, winners


def max_values(x, window):
    """y alone."""
    if not lies_channels_last(x):
        return max_forward(x, window)[0]
    (N, C, H, W), tables = x.shape, _tables(x.shape[2:], window)
    y = empty_channels_last((N, C, tables.P, tables.Q), x.dtype)
    out = _pixels(y)
    if tables.one_apart:
        pixels.max_values_one_apart(_pixels(x), N, C, H, W, tables.rows, tables.columns, get_num_threads(), past_cache(out, C), out)
    else:
        pixels.max_values(_pixels(x), N, C, H, W, tables.rows, tables.columns, past_cache(out, C), out)
    return y


def adaptive_max_forward(x, output_size):
    """The same with windows that depend on the sizes; (P, Q) = output_size. The other functions take output_size for their window."""
    return max_forward(x, tuple(output_size))


def max_backward(dy, winners, x_shape, window):
    """dx (N, C, H, W): every dy (N, C, P, Q) added to the element that won its window."""
    (N, C, H, W), tables, winners = x_shape, _tables(tuple(x_shape[2:]), window), ordered(winners)
    dy, dx = in_order_of(winners, dy), empty(x_shape, dy.dtype, winners)
    if lies_channels_last(winners):
        pixels.max_backward(flat(dy), flat(winners), N, C, H, W, tables.P, tables.Q, tables.S, tables.by_row, tables.by_column, past_cache(flat(dx), C), flat(dx))
    else:
        planes.max_backward(*(a.reshape(N * C, tables.P * tables.Q) for a in (dy, winners)), tables.seen, dx.reshape(N * C, H * W))
    return dx


def avg_forward(x, window, count_include_pad=True, divisor=None):
    """y (N, C, P, Q) of x (N, C, H, W)."""
    return _averages(x, _tables(x.shape[2:], window), _counts(x.shape[2:], window, count_include_pad, divisor))


def avg_backward(dy, x_shape, window, count_include_pad=True, divisor=None, channels_last=False):
    """dx (N, C, H, W) from dy (N, C, P, Q). channels_last: in that order even if dy has none (1 x 1)."""
    return _averages_backward(dy, x_shape, _tables(tuple(x_shape[2:]), window), _counts(tuple(x_shape[2:]), window, count_include_pad, divisor), channels_last)


def adaptive_avg_forward(x, output_size):
    """y (N, C, P, Q) with (P, Q) = output_size."""
    tables = _tables(x.shape[2:], tuple(output_size))
    return _averages(x, tables, tables.areas)


def adaptive_avg_backward(dy, x_shape, channels_last=False):
    """dx (N, C, H, W) from dy (N, C, P, Q). channels_last: in that order even if dy has none (1 x 1)."""
    tables = _tables(tuple(x_shape[2:]), dy.shape[2:])
    return _averages_backward(dy, x_shape, tables, tables.areas, channels_last)


class Tables:
    """What each window sees of an image (H, W), in all forms that kernels ask for."""

    def __init__(self, image, window):
        rows, columns = windows.axes(image, window)
        self.P, self.Q = len(rows), len(columns)
        self.rows, self.columns = _slices(rows), _slices(columns)
        self.S = len(windows.repeat_last(columns))
        self.seen = windows.elements(image, window)
        self.winner = windows.winner_dtype(len(self.seen))
        self.by_row, self.by_column = windows.seen_by(image[0], rows), windows.seen_by(image[1], columns)
        self.one_apart = isinstance(window, Window) and (window.size, window.stride, window.dilation) == ((3, 3), (1, 1), (1, 1))
        self.areas = windows.areas(rows, columns)
        self.one_sees_all = self.areas.tolist() == [[image[0] * image[1]]] and self.rows[0, 2] == self.columns[0, 2] == 1


_tables, _counts = lru_cache(maxsize=32)(Tables), lru_cache(maxsize=32)(windows.counts)  # a network has few poolings, and asks for the same in every step


def _slices(slices):
    """(P, 3): first, end and step."""
    return np.array([(s.start, s.stop, s.step) for s in slices], np.int64).reshape(-1, 3)


def _pixels(x):
    """The elements of x, which lies channels-last, as they lie: what `flat` makes of it without asking how it lies."""
    return x.transpose(0, 2, 3, 1).reshape(-1)


def _averages(x, tables, numbers):
    (N, C, H, W), numbers = x.shape, numbers.astype(x.dtype)
    if not lies_channels_last(x):
        x = ordered(x)
    if lies_channels_last(x):
        y = empty_channels_last((N, C, tables.P, tables.Q), x.dtype)
        out = _pixels(y)
        pixels.avg_forward(_pixels(x), N, C, H, W, tables.rows, tables.columns, numbers, past_cache(out, C), out)
        return y
    y = empty((N, C, tables.P, tables.Q), x.dtype, x)
    if tables.one_sees_all:
        planes.mean_forward(x.reshape(N * C, H * W), numbers[0, 0], y.reshape(N * C))
    else:
        planes.avg_forward(x.reshape(N * C, H, W), tables.rows, tables.columns, numbers, y.reshape(N * C, tables.P, tables.Q))
    return y


def _averages_backward(dy, x_shape, tables, numbers, channels_last):
    (N, C, H, W), dy, numbers = x_shape, ordered(dy), numbers.astype(dy.dtype)
    if channels_last or lies_channels_last(dy):
        dx = empty_channels_last(x_shape, dy.dtype)
        out = dx.transpose(0, 2, 3, 1).reshape(-1)
        pixels.avg_backward(nhwc(dy).reshape(-1), N, C, H, W, tables.P, tables.Q, 1 / numbers, tables.by_row, tables.by_column, past_cache(out, C), out)
        return dx
    dx = empty(x_shape, dy.dtype, dy)
    if tables.one_sees_all:
        planes.mean_backward(dy.reshape(N * C), numbers[0, 0], dx.reshape(N * C, H * W))
    else:
        planes.avg_backward(dy.reshape(N * C, tables.P, tables.Q), tables.rows, tables.columns, numbers, dx.reshape(N * C, H, W))
    return dx
