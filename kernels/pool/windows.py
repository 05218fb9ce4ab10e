"""What each pooling window sees, worked out axis by axis: for every position of the window, the slice of the input under it.

A window never sees its padding. Max pooling pads with minus infinity, which no element can lose to, so clipping the window to the image gives the same maximum;
average pooling pads with zeros, which add nothing to the sum and at most count in the divisor. So no padded copy is made, and sliding and adaptive windows
differ only in their slices: of an axis of H elements, adaptive window p of P covers floor(p*H/P) ... ceil((p+1)*H/P) - 1.
"""
import numpy as np

from ..window import Window, positions


def sliding(image, window):
    """(rows, columns): the slice of H under each of the P positions of the window, and the slice of W under each of the Q."""
    _check(image)
    return [_slices(*axis, window.ceil_mode) for axis in zip(image, window.size, window.stride, window.padding, window.dilation)]


def adaptive(image, output_size):
    """The same for windows that cut the image into output_size = (P, Q) parts, which overlap by one element where the division leaves a remainder."""
    _check(image)
    return [[slice(p * length // P, -(-(p + 1) * length // P), 1) for p in range(P)] for length, P in zip(image, output_size)]


def axes(image, window):
    """(rows, columns) of either kind: `window` is a Window that slides, or the (P, Q) of adaptive ones."""
    return sliding(image, window) if isinstance(window, Window) else adaptive(image, window)


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


def areas(rows, columns):
    """(P, Q): the number of elements in each adaptive window."""
    return np.multiply.outer([row.stop - row.start for row in rows], [column.stop - column.start for column in columns])


def elements(image, window):
    """(taps, P*Q): the elements h*W + w that each window sees, in row-major order. A window that sees fewer than others repeats the last in a row or column.

    uint32 is twice as fast to read as int64; it is enough for planes of 17 GB, and an unsigned index spares Numba the check for x[-1].
    """
    h, w = map(repeat_last, axes(image, window))  # (R, P), (S, Q)
    return (h[:, None, :, None] * image[1] + w[None, :, None, :]).astype(np.uint32).reshape(len(h) * len(w), h.shape[1] * w.shape[1])


def repeat_last(slices):
    """(R, P): which element of the axis is under each tap of each window."""
    seen = [range(s.start, s.stop, s.step) for s in slices]
    longest = max(map(len, seen), default=1)
    return np.array([[axis[min(i, len(axis) - 1)] for axis in seen] for i in range(longest)], np.int64).reshape(longest, len(slices))


def seen_by(length, slices):
    """The other way round: starts (length + 1), windows and taps, so that element h is under tap taps[i] of windows[i] for starts[h] <= i < starts[h + 1]."""
    pairs = [[] for _ in range(length)]
    for p, s in enumerate(slices):
        for r, h in enumerate(range(s.start, s.stop, s.step)):
            pairs[h].append((p, r))
    every = np.array([pair for element in pairs for pair in element], np.int64).reshape(-1, 2)
    return np.cumsum([0, *map(len, pairs)]), every[:, 0].copy(), every[:, 1].copy()


def winner_dtype(taps):
    """The smallest integers that count the taps of a window."""
    return np.dtype(np.uint8 if taps <= 256 else np.int32)


def _check(image):
    if 0 in image:
        raise ValueError(f"pooling: an image of {tuple(image)} has no elements; only the batch may be empty")


def _slices(length, size, stride, padding, dilation, ceil_mode):
    if padding > size // 2:
        raise ValueError(f"pooling: padding is {padding}; at most {size // 2}, half of a window of {size}, is possible")
    extent = dilation * (size - 1) + 1
    starts = [p * stride - padding for p in range(positions(length, size, stride, padding, dilation, ceil_mode))]
    # A window that begins in the padding sees the image from its first tap >= 0 on, which is element start % dilation.
    seen = [slice(start if start >= 0 else start % dilation, min(start + extent, length), dilation) for start in starts]
    if any(s.start >= length for s in seen):
        raise ValueError(f"pooling: a window of {size} with dilation {dilation} and padding {padding} steps over all {length} elements of the input")
    return seen
