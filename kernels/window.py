"""Sliding windows: the arithmetic that convolution, pooling and unfolding share.

A window of `size` taps, `dilation` apart, moves by `stride` over an axis of H elements with `padding` imagined ones at both ends. Tap r of position p lies over
element p*stride + r*dilation - padding, and there are

    P = (H + 2*padding - dilation*(size - 1) - 1) // stride + 1        positions.

With ceil_mode the division rounds up, so that the leftover elements get a window of their own, provided that it starts inside the input or its left padding
(the rule of Caffe and PyTorch). Elements that no window reaches are left over: their gradient is zero, and must be there.
"""
from typing import NamedTuple

import numpy as np


class Window(NamedTuple):
    """A 2-D window; every field a (vertical, horizontal) pair."""

    size: tuple
    stride: tuple = (1, 1)
    padding: tuple = (0, 0)
    dilation: tuple = (1, 1)
    ceil_mode: bool = False

    def positions(self, image):
        """(P, Q) for an image of (H, W). Raises ValueError where not even one window fits."""
        return tuple(positions(*axis, self.ceil_mode) for axis in zip(image, self.size, self.stride, self.padding, self.dilation))


def positions(length, size, stride, padding, dilation, ceil_mode=False):
    """Number of window positions along one axis."""
    extent = dilation * (size - 1) + 1
    room = length + 2 * padding - extent
    if room < 0:
        raise ValueError(f"a window of {size} (dilation {dilation}: {extent} wide) does not fit an input of {length} with padding {padding} "
                         f"({length + 2 * padding} wide)")
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= length + padding else count


def pad(x, padding):
    """x (N, C, H, W) with `padding` zeros on both sides of H and of W."""
    return np.pad(x, ((0, 0), (0, 0), (padding[0], padding[0]), (padding[1], padding[1])))


def taps(padded, window, positions):
    """For each tap (r, s) of the window, what it touches of `padded`: a strided view (N, C, P, Q). Writing to the view writes to `padded`."""
    reach = [count * stride for count, stride in zip(positions, window.stride)]
    for r in range(window.size[0]):
        for s in range(window.size[1]):
            top, left = r * window.dilation[0], s * window.dilation[1]
            yield r, s, padded[:, :, top:top + reach[0]:window.stride[0], left:left + reach[1]:window.stride[1]]
