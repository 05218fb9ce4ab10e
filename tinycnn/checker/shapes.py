"""A gradient of the wrong shape: which right one it would be."""
import itertools

import numpy as np

from .report import Finding


def wrong_shape(subject, k, dx, measured):
    """The Finding about a gradient dx whose shape is not that of input k; measured: what it should be, or None."""
    name, shape = subject.names[k], subject.arrays[k].shape
    seen = f"the gradient has shape {dx.shape}, the input {shape}"
    if measured is None:
        return Finding("shape", seen, "an axis too many, too few or exchanged", name)
    for test in (exchanged, not_summed, leftover, padding_left, reshaped):
        text, cause = test(dx, measured) or (None, None)
        if text:
            return Finding({exchanged: "transposed", not_summed: "not summed", leftover: "leftover rows", padding_left: "padding"}.get(test, "shape"),
                           f"{seen}; {text}", cause, name)
    return Finding("shape", seen, "an axis too many, too few or exchanged, or the sizes of another layer", name)


def alike(a, b):
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-4, atol=1e-5 * max(np.max(np.abs(b), initial=0), 1e-300))


def exchanged(dx, measured):
    if dx.ndim == measured.ndim and dx.ndim <= 5:
        for order in itertools.permutations(range(dx.ndim)):
            if alike(dx.transpose(order), measured):
                return f"with its axes in the order {order} it is right", "a transpose that is missing or one too many, or a matrix product with its factors exchanged"
    return None


def not_summed(dx, measured):
    axes = range(dx.ndim)
    for count in range(1, dx.ndim + 1):
        for summed in itertools.combinations(axes, count):
            total = dx.sum(summed)
            if total.size == measured.size and alike(total.reshape(measured.shape), measured):
                return f"its sum over axes {summed} is right", "the input was broadcast, or used in many places; its gradient is the sum over all of them: dy.sum(axis)"
    return None


def leftover(dx, measured):
    if dx.ndim == measured.ndim and all(n <= m for n, m in zip(dx.shape, measured.shape)):
        there = tuple(slice(0, n) for n in dx.shape)
        rest = measured.copy()
        rest[there] = 0
        if alike(dx, measured[there]) and not np.any(np.abs(rest) > 1e-5 * np.max(np.abs(measured), initial=0)):
            missing = [f"{m - n} at the end of axis {axis}" for axis, (n, m) in enumerate(zip(dx.shape, measured.shape)) if n != m]
            return (f"what is there is right, and {', '.join(missing)} is missing, where the gradient is 0", "the size was computed from the output, (P-1)*stride + R - "
                    "2*padding; where the stride does not divide, input rows are left over that no window reaches: their gradient is 0, but they must be there")
    return None


def padding_left(dx, measured):
    if dx.ndim == measured.ndim and all(n >= m for n, m in zip(dx.shape, measured.shape)):
        for before in itertools.product(*(range(n - m + 1) for n, m in zip(dx.shape, measured.shape))):
            if alike(dx[tuple(slice(b, b + m) for b, m in zip(before, measured.shape))], measured):
                return f"the part from {before} on is right", "the padding was not cut off: return dx[:, :, padding:padding+H, padding:padding+W]"
    return None


def reshaped(dx, measured):
    if dx.size == measured.size and alike(dx.reshape(measured.shape), measured):
        return "its numbers are right", "return it in the input's shape: dx.reshape(x.shape)"
    return None
