"""Softmax and its logarithm along one axis:

    softmax(x)[i] = e^x[i] / sum over j of e^x[j]                          dx = y * (dy - sum of dy * y)
    log_softmax(x)[i] = x[i] - log(sum over j of e^x[j])                   dx = dy - e^y * sum of dy

The maximum is taken from x first: nothing changes in the result, and no exponential overflows (the largest is e^0). log_softmax is a function of its own because
log(softmax(x)) is -inf where the softmax rounds to 0, at 104 below the maximum in float32.
"""
import numpy as np


def softmax(x, axis):
    """Positive numbers that sum to 1 along `axis`."""
    e = np.exp(_below_maximum(x, axis))
    return e / e.sum(axis, keepdims=True)


def log_softmax(x, axis):
    """The logarithm of softmax(x, axis)."""
    x = _below_maximum(x, axis)
    with np.errstate(divide="ignore"):  # log(0), where the axis has no elements
        return x - np.log(np.exp(x).sum(axis, keepdims=True))


def softmax_backward(dy, y, axis):
    """dx from dy and y = softmax(x, axis)."""
    return y * (dy - (dy * y).sum(axis, keepdims=True))


def log_softmax_backward(dy, y, axis):
    """dx from dy and y = log_softmax(x, axis)."""
    return dy - np.exp(y) * dy.sum(axis, keepdims=True)


def _below_maximum(x, axis):
    """x minus its maximum. A row with +inf, or of -inf only, becomes NaN: it has no softmax."""
    with np.errstate(invalid="ignore"):
        return x - x.max(axis, keepdims=True, initial=-np.inf)
