"""Pooling on the GPU (pool.cu). The tables of what each window sees go to the device once for each size of image and window, and stay there
(a captured graph refers to them).
"""
from functools import cache
from typing import NamedTuple

import numpy as np

from ..cuda import blocks, contiguous, empty, launch
from ..cuda.memory import from_host, lies_channels_last
from . import windows

SOURCE, BLOCK = "pool/pool.cu", 256
NO_WINNERS = np.dtype(np.uint8)  # what kernels without winners are compiled for


class Sizes(NamedTuple):
    """The struct of that name in pool.cu."""

    n: int
    H: int
    W: int
    P: int
    Q: int
    after: int
    row_step: int
    column_step: int
    columns_of_taps: int


class Axis(NamedTuple):
    """What the windows of an axis see, on the device: int32 arrays."""

    first: object  # element under the first tap of each window
    count: object  # elements that each window sees
    step: int  # from one to the next
    taps: int  # of the window that sees most
    starts: object  # the other way round: see windows.seen_by
    windows: object
    tap_numbers: object
    positions: int


def max_forward(x, window):
    """y and winners, both (N, C, P, Q), of x (N, C, H, W)."""
    return _maxima(x, window, True)


def max_values(x, window):
    """y alone: what inference needs."""
    return _maxima(x, window, False)[0]


def adaptive_max_forward(x, output_size):
    """The same with windows that depend on the sizes; (P, Q) = output_size. The other functions take output_size for their window."""
    return max_forward(x, tuple(output_size))


def max_indices(winners, image, window):
    """(N, C, P, Q), int64: h*W + w of the winners in an image of (H, W)."""
    return _look_up(winners, None, tuple(image), window, np.dtype(np.int64), lies_channels_last(winners))


def max_gather(x, winners, window):
    """x where the winners of max_forward are: (N, C, P, Q)."""
    return _look_up(winners, x, tuple(x.shape[2:]), window, x.dtype, lies_channels_last(x))


def max_backward(dy, winners, x_shape, window):
    """dx (N, C, H, W): every dy (N, C, P, Q) added to the element that won its window."""
    rows, columns = _axes(tuple(x_shape[2:]), window)
    last = lies_channels_last(winners)
    dx = _empty(x_shape, dy.dtype, last)
    launch(SOURCE, "max_backward", blocks(dx.size, BLOCK), BLOCK, _flat(dy, last), _flat(winners, last), _flat(dx, last), rows.starts, rows.windows, rows.tap_numbers,
           columns.starts, columns.windows, columns.tap_numbers, _sizes(dx, x_shape, rows, columns, last), real=dy.dtype, winner_t=winners.dtype)
    return dx


def avg_forward(x, window, count_include_pad=True, divisor=None):
    """y (N, C, P, Q) of x (N, C, H, W)."""
    return _means(x, window, _numbers(tuple(x.shape[2:]), window, count_include_pad, divisor, x.dtype))


def avg_backward(dy, x_shape, window, count_include_pad=True, divisor=None, channels_last=False):
    """dx (N, C, H, W) from dy (N, C, P, Q). channels_last: in that order even if dy has none (1 x 1)."""
    return _spread(dy, x_shape, window, _numbers(tuple(x_shape[2:]), window, count_include_pad, divisor, dy.dtype), channels_last)


def adaptive_avg_forward(x, output_size):
    """y (N, C, P, Q) with (P, Q) = output_size."""
    return _means(x, tuple(output_size), _areas(tuple(x.shape[2:]), tuple(output_size), x.dtype))


def adaptive_avg_backward(dy, x_shape, channels_last=False):
    """dx (N, C, H, W) from dy (N, C, P, Q). channels_last: in that order even if dy has none (1 x 1)."""
    return _spread(dy, x_shape, tuple(dy.shape[2:]), _areas(tuple(x_shape[2:]), tuple(dy.shape[2:]), dy.dtype), channels_last)


# ---- tables

@cache
def _axes(image, window):
    """(rows, columns): an Axis each."""
    to_device = lambda numbers: from_host(np.asarray(numbers, np.int32))  # noqa: E731
    made = []
    for length, slices in zip(image, windows.axes(image, window)):
        counts = [len(range(s.start, s.stop, s.step)) for s in slices]
        made.append(Axis(to_device([s.start for s in slices]), to_device(counts), slices[0].step if slices else 1, max(counts, default=1),
                         *map(to_device, windows.seen_by(length, slices)), len(slices)))
    return made


@cache
def _numbers(image, window, count_include_pad, divisor, dtype):
    """(P, Q): what the sums of sliding windows are divided by."""
    windows.sliding(image, window)  # refuses windows that make no sense
    return from_host(windows.counts(image, window, count_include_pad, divisor).astype(dtype))


@cache
def _areas(image, output_size, dtype):
    """(P, Q): what the sums of adaptive windows are divided by."""
    return from_host(windows.areas(*windows.adaptive(image, output_size)).astype(dtype))


# ---- launches

def _maxima(x, window, with_winners):
    rows, columns = _axes(tuple(x.shape[2:]), window)
    last = lies_channels_last(x)
    shape = (*x.shape[:2], rows.positions, columns.positions)
    y = _empty(shape, x.dtype, last)
    winners = _empty(shape, windows.winner_dtype(rows.taps * columns.taps), last) if with_winners else None
    launch(SOURCE, "max_forward", blocks(y.size, BLOCK), BLOCK, _flat(x, last), _flat(y, last), _flat(winners, last) if with_winners else None, rows.first, rows.count,
           columns.first, columns.count, _sizes(y, x.shape, rows, columns, last), real=x.dtype, winner_t=winners.dtype if with_winners else NO_WINNERS)
    return y, winners


def _look_up(winners, x, image, window, dtype, last):
    rows, columns = _axes(image, window)
    result = _empty(winners.shape, dtype, last)
    values, indices = (None, _flat(result, last)) if x is None else (_flat(result, last), None)
    launch(SOURCE, "max_look_up", blocks(result.size, BLOCK), BLOCK, _flat(winners, last), None if x is None else _flat(x, last), values, indices, rows.first,
           columns.first, _sizes(result, (*winners.shape[:2], *image), rows, columns, last), real=np.float32 if x is None else dtype, winner_t=winners.dtype)
    return result


def _means(x, window, numbers):
    rows, columns = _axes(tuple(x.shape[2:]), window)
    last = lies_channels_last(x)
    y = _empty((*x.shape[:2], rows.positions, columns.positions), x.dtype, last)
    launch(SOURCE, "avg_forward", blocks(y.size, BLOCK), BLOCK, _flat(x, last), _flat(y, last), numbers, rows.first, rows.count, columns.first, columns.count,
           _sizes(y, x.shape, rows, columns, last), real=x.dtype, winner_t=NO_WINNERS)
    return y


def _spread(dy, x_shape, window, numbers, channels_last):
    rows, columns = _axes(tuple(x_shape[2:]), window)
    last = channels_last or lies_channels_last(dy)
    dx = _empty(x_shape, dy.dtype, last)
    launch(SOURCE, "avg_backward", blocks(dx.size, BLOCK), BLOCK, _flat(dy, last), _flat(dx, last), numbers, rows.starts, rows.windows, columns.starts, columns.windows,
           _sizes(dx, x_shape, rows, columns, last), real=dy.dtype, winner_t=NO_WINNERS)
    return dx


def _sizes(result, x_shape, rows, columns, last):
    _, C, H, W = x_shape
    return Sizes(result.size, H, W, rows.positions, columns.positions, C if last else 1, rows.step, columns.step, columns.taps)


def _empty(shape, dtype, last):
    """A new array (N, C, H, W) in one of the two orders."""
    N, C, H, W = shape
    return empty((N, H, W, C), dtype).transpose(0, 3, 1, 2) if last else empty(shape, dtype)


def _flat(x, last):
    """The elements of x (N, C, H, W) in one of the two orders: a view if they lie so."""
    return contiguous(x.transpose(0, 2, 3, 1) if last else x).reshape(-1)
