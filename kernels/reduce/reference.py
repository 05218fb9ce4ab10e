"""Reductions over any axes. `axes` is a tuple of axis numbers (never None), keepdims as in NumPy.

NumPy sums pairwise along the innermost axis, so the error grows with log L rather than L there. Bound by memory: each element is read once.
"""
import numpy as np


def sum(x, axes, keepdims):
    return np.add.reduce(x, axis=axes, keepdims=keepdims)


def prod(x, axes, keepdims):
    return np.multiply.reduce(x, axis=axes, keepdims=keepdims)


def amax(x, axes, keepdims):
    return np.maximum.reduce(x, axis=axes, keepdims=keepdims)


def amin(x, axes, keepdims):
    return np.minimum.reduce(x, axis=axes, keepdims=keepdims)


def any(x, axes, keepdims):
    return np.logical_or.reduce(x, axis=axes, keepdims=keepdims)


def all(x, axes, keepdims):
    return np.logical_and.reduce(x, axis=axes, keepdims=keepdims)


def argmax(x, axis, keepdims):
    """The first position of the maximum along one axis (None: in the flattened array)."""
    return np.argmax(x, axis=axis, keepdims=keepdims)


def argmin(x, axis, keepdims):
    return np.argmin(x, axis=axis, keepdims=keepdims)
