"""What each pooling window sees, worked out axis by axis: for every position of the window, the slice of the input under it.

A window never sees its padding. Max pooling pads with minus infinity, which no element can lose to, so clipping the window to the image gives the same maximum;
average pooling pads with zeros, which add nothing to the sum and at most count in the divisor. So no padded copy is made, and sliding and adaptive windows
differ only in their slices: of an axis of H elements, adaptive window p of P covers floor(p*H/P) ... ceil((p+1)*H/P) - 1.
"""
import numpy as np

from ..window import positions


def sliding(image, window):
    """(rows, columns): the slice of H under each of the P positions of the window, and the slice of W under each of the Q."""
    _check(image)
    return [_slices(*axis, window.ceil_mode) for axis in zip(image, window.size, window.stride, window.padding, window.dilation)]


def adaptive(image, output_size):
    """The same for windows that cut the image into output_size = (P, Q) parts, which overlap by one element where the division leaves a remainder."""
    _check(image)
    return [[slice(p * length // P, -(-(p + 1) * length // P)) for p in range(P)] for length, P in zip(image, output_size)]


def counts(image, window, count_include_pad=True, divisor=None):
    """(P, Q): what average pooling divides each window's sum by.

    divisor if given; else the number of elements in the window: those inside the image, with count_include_pad those of the padding too. A window of ceil_mode
    may stick out beyond the padding; what lies there never counts.
    """
    if divisor == 0:
        raise ValueError("avg_pool: divisor_override is 0; give a number to divide by, or None for the number of elements in the window")
    per_axis = []
    for length, size, stride, padding, dilation in zip(image, window.size, window.stride, window.padding, window.dilation):
        margin = padding if count_include_pad else 0
        first = np.arange(positions(length, size, stride, padding, dilation, window.ceil_mode)) * stride - padding
        taps = first[:, None] + np.arange(size) * dilation  # (P, R): the element of x under each tap of each position
        per_axis.append(np.count_nonzero((taps >= -margin) & (taps < length + margin), axis=1))
    return np.multiply.outer(*per_axis) if divisor is None else np.full([len(axis) for axis in per_axis], divisor)


def _check(image):
    if 0 in image:
        raise ValueError(f"pooling: an image of {tuple(image)} has no elements; only the batch may be empty")


def _slices(length, size, stride, padding, dilation, ceil_mode):
    extent = dilation * (size - 1) + 1
    if padding > extent // 2:
        raise ValueError(f"pooling: padding is {padding}; at most {extent // 2}, half of a window of {size} (dilation {dilation}: {extent} wide), is possible")
    starts = [p * stride - padding for p in range(positions(length, size, stride, padding, dilation, ceil_mode))]
    # A window that begins in the padding sees the image from its first tap >= 0 on, which is element start % dilation.
    seen = [slice(start if start >= 0 else start % dilation, min(start + extent, length), dilation) for start in starts]
    if any(s.start >= length for s in seen):
        raise ValueError(f"pooling: a window of {size} with dilation {dilation} and padding {padding} steps over all {length} elements of the input")
    return seen
