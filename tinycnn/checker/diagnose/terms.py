"""A term of the formula that is missing or has a wrong factor: what is off has the form of that term.

The derivative of a normalisation is a sum of terms: the direct one; one through the mean, which is the same number for every element that was averaged over; one
through the variance or the norm, which is a number times x - mean; for softmax one that is a number times y. So if, over some axes, every row of the error is a
multiple of such a field, that is the term to look at.
"""
import itertools

import numpy as np

from ..report import Finding

#       what the error is made of               what that is called
TERMS = (
    (("1",), "the same number for all of them: the term through their mean or sum"),
    (("x - mean",), "proportional to x - mean(x): the term through their variance or norm"),
    (("y",), "proportional to the output: the term through their normaliser"),
    (("x",), "proportional to x: the term through their norm"),
    (("1", "x"), "a number plus a multiple of x: the terms through mean and variance"),
)


def term(part):
    """The first field, and the largest set of axes, for which it holds."""
    if len(part.columns) != part.x.size or part.x.size < 3:
        return None
    error = (part.backward - part.measured).reshape(-1, *part.x.shape)
    axes = [a for a, n in enumerate(part.x.shape) if n > 1]
    for fields, words in TERMS:
        for count in range(len(axes), 0, -1):
            for over in itertools.combinations(axes, count):
                if explains(part, error, fields, over):
                    return Finding("missing term", f"over axis {' and '.join(map(str, over))} of {part.name} the error is {words}",
                                   "a mean, variance, norm or sum was treated as a constant, or its term has a wrong factor (n for n - 1, a missing 1/n): "
                                   "everything that depends on x has its own term in the chain rule", part.name)
    return None


def explains(part, error, fields, over):
    """Whether every row of the error, over these axes, is a combination of the fields."""
    length = int(np.prod([part.x.shape[a] for a in over]))
    if length < len(fields) + 2 or ("y" in fields and part.y.shape != part.x.shape):
        return False
    rows = slices(error, [a + 1 for a in over], length)  # (rows, slices, length)
    basis = np.stack([slices(field(part, name, over)[None], [a + 1 for a in over], length)[0] for name in fields], axis=1)  # (slices, fields, length)
    q = np.linalg.qr(basis.swapaxes(1, 2))[0]  # (slices, length, fields)
    left = rows - np.einsum("rsl,slf,smf->rsm", rows, q, q)
    size = np.max(np.abs(rows))
    room = 1e-4 * size + 5 * np.max(part.error)
    return bool(size > 20 * np.max(part.error) and np.max(np.abs(left)) <= room)


def slices(array, axes, length):
    """(first, all other axes, the axes together)"""
    moved = np.moveaxis(array, axes, range(array.ndim - len(axes), array.ndim))
    return moved.reshape(array.shape[0], -1, length)


def field(part, name, over):
    x = part.x
    return {"1": np.ones(x.shape), "x": x, "x - mean": x - x.mean(over, keepdims=True), "y": part.y}[name]
