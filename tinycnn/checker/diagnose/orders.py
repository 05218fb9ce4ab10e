"""Axes in the wrong order: transposed, flipped, shifted, of the input's gradient or of dy."""
import itertools

import numpy as np

from ..report import Finding
from .whole import same


def sides(part):
    """(what, its axes within the tensor of all, how many come before) of the input and, where each output element was looked at, of the output."""
    if len(part.columns) == part.x.size:
        yield part.name, part.x.shape, part.y.ndim if part.identity else 1
        if part.identity:
            yield "dy", part.y.shape, 0


def tensor(part):
    """The backward's matrix with the axes of x, and of y if each output element has a row."""
    return part.backward.reshape(*(part.y.shape if part.identity else part.backward.shape[:1]), *part.x.shape)


def not_the_adjoint(part):
    """The Jacobian itself where its transpose belongs."""
    if part.whole and part.x.size == part.y.size > 1 and same(part, part.backward.T) and np.any(np.abs(part.measured - part.measured.T) > 1e-3 * part.scale):
        return Finding("transposed", "the backward multiplies dy by the Jacobian; its transpose is right", "the forward (or a product without the transpose) was applied "
                       "to dy: dx = J^T dy runs through a cumulative sum, a shift or a matrix the other way round", part.name)
    return None


def transposed(part):
    """Two axes of equal extent exchanged."""
    for what, shape, first in sides(part):
        for a, b in itertools.combinations(range(len(shape)), 2):
            if shape[a] == shape[b] > 1 and same(part, tensor(part).swapaxes(first + a, first + b).reshape(part.measured.shape)):
                return Finding("transposed", f"with axes {a} and {b} of {what} exchanged the gradient is right",
                               "a transpose that is missing or one too many, or rows taken for columns", part.name)
    return None


def flipped(part):
    """Turned round along some axes."""
    for what, shape, first in sides(part):
        axes = [a for a, n in enumerate(shape) if n > 1]
        for count in range(1, len(axes) + 1):
            for turned in itertools.combinations(axes, count):
                if same(part, np.flip(tensor(part), [first + a for a in turned]).reshape(part.measured.shape)):
                    return Finding("flipped", f"turned round along axis {' and '.join(map(str, turned))} of {what} the gradient is right",
                                   "a filter that was flipped once too often or not at all (w[:, :, ::-1, ::-1]): the forward of networks does not flip, so the full "
                                   "correlation in the backward must", part.name)
    return None


def shifted(part):
    """Moved along one or two axes; what moved out is lost or came in at the other end."""
    for what, shape, first in sides(part):
        ours, truth = tensor(part), part.measured.reshape(tensor(part).shape)
        size, room = np.max(np.abs(truth), initial=0), 5 * np.max(part.error)
        steps = [[d for d in range(-3, 4) if abs(d) < n - 1] if axis >= len(shape) - 2 else [0] for axis, n in enumerate(shape)]
        for by in sorted(itertools.product(*steps), key=lambda by: sum(map(abs, by))):
            there = tuple(slice(max(d, 0), n + min(d, 0)) for d, n in zip(by, shape))
            here = tuple(slice(max(-d, 0), n + min(-d, 0)) for d, n in zip(by, shape))
            a, b = ours[(*(slice(None),) * first, *there)], truth[(*(slice(None),) * first, *here)]
            if any(by) and np.sum(b ** 2) > 0.5 * np.sum(truth ** 2) and np.all(np.abs(a - b) <= 1e-5 * size + room):
                moved = " and ".join(f"{d} along axis {axis}" for axis, d in enumerate(by) if d)
                return Finding("shifted", f"the gradient is the right one moved by {moved} of {what}",
                               "padding cut off at the wrong place, a window that starts one element early or late, or an offset used twice", part.name)
    return None
