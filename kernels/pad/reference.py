"""Constant padding: y is x with `before` new elements in front of each axis and `after` behind it, all equal to `value`. A negative number crops instead."""
import numpy as np


def constant(x, pads, value):
    """x surrounded by `value`.  pads: a (before, after) pair for each dimension of x; negative numbers crop."""
    y = np.full(output_shape(x.shape, pads), value, x.dtype)
    inside, kept = overlap(x.shape, pads)
    y[inside] = x[kept]
    return y


def output_shape(shape, pads):
    """The padded shape. Raises ValueError where more is cropped than there is."""
    padded = tuple(length + before + after for length, (before, after) in zip(shape, pads, strict=True))
    if min(padded, default=0) < 0:
        raise ValueError(f"pad: {pads} crops more of {tuple(shape)} than there is")
    return padded


def overlap(shape, pads):
    """The part that x and y share: its slices in y, and its slices in x."""
    inside, kept = [], []
    for length, (before, after) in zip(shape, pads):
        first, last = max(0, -before), length - max(0, -after)  # in x's coordinates; `before` further on in y's
        last = max(first, last)
        kept.append(slice(first, last))
        inside.append(slice(first + before, last + before))
    return tuple(inside), tuple(kept)
