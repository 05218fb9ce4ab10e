"""Where a gradient is wrong, when nothing says how: beyond a threshold, in rows left over, at the borders, in some channels."""
import numpy as np

from ..report import Finding


def wrong_elements(part):
    """The elements of x of which any entry is wrong, as a mask of x's shape; None unless all elements were looked at."""
    return part.wrong.any(axis=0).reshape(part.x.shape) if len(part.columns) == part.x.size else None


def threshold(part):
    """Wrong exactly on one side of a value of x."""
    wrong = wrong_elements(part)
    if wrong is None or min(np.count_nonzero(wrong), np.count_nonzero(~wrong)) < 3:
        return None
    inside, outside = part.x[wrong], part.x[~wrong]
    if inside.max() < outside.min():
        side, low, high = "below", inside.max(), outside.min()
    elif outside.max() < inside.min():
        side, low, high = "above", outside.max(), inside.min()
    else:
        return None
    value = 0 if low < 0 < high else (low + high) / 2
    return Finding("mask", f"the gradient is wrong exactly where {part.name} is {side} {value:.3g} ({inside.size} of {part.x.size} elements)",
                   "the function changes there (ReLU, clamp), and the mask of the backward is missing, made from something else, or has another bound", part.name)


def leftover(part):
    """Right up to an index, wrong from there to the end."""
    wrong = wrong_elements(part)
    if wrong is None:
        return None
    flat = np.flatnonzero(wrong.reshape(-1))
    for axis, n in [*enumerate(part.x.shape), (None, part.x.size)]:
        indices = np.unique(flat if axis is None else np.nonzero(wrong)[axis])
        first = int(indices.min())
        if 0 < n / 2 < first < n and set(indices) == set(range(first, n)) and chance(wrong, indices, axis) < 0.01:
            where = f"along axis {axis} of {part.name}" if axis is not None else f"of {part.name} in memory order"
            return Finding("leftover rows", f"right up to index {first - 1} {where}, wrong from {first} to the end ({n - first} of {n})",
                           "a loop that handles whole tiles, or whole strides, and forgets what is left over when they do not divide the size", part.name)
    return None


def borders(part):
    """Wrong only within a few elements of the edges."""
    wrong = wrong_elements(part)
    if wrong is None or wrong.ndim < 1:
        return None
    axes = range(max(0, wrong.ndim - 2), wrong.ndim)
    depth = np.min([np.minimum(i, wrong.shape[a] - 1 - i) for a in axes for i in [np.indices(wrong.shape)[a]]], axis=0)
    deepest = int(depth[wrong].max())
    inner = depth > deepest
    if not inner.any() or (1 - inner.mean()) ** np.count_nonzero(wrong) > 0.01:
        return None
    return Finding("borders", f"wrong only within {deepest + 1} of the edges of {part.name} ({np.count_nonzero(wrong)} elements), right inside",
                   "padding: values that the padding brings in (zeros for a maximum), windows that are cut off, or counts that include what is not there", part.name)


def part(evidence):
    """Wrong at some indices of one axis only."""
    wrong = wrong_elements(evidence)
    if wrong is None:
        return None
    for axis, n in enumerate(wrong.shape):
        indices = np.flatnonzero(wrong.any(axis=tuple(a for a in range(wrong.ndim) if a != axis)))
        if len(indices) <= n / 2 and chance(wrong, indices, axis) < 0.01 and np.mean(wrong.take(indices, axis)) > 0.5:
            shown = ", ".join(map(str, indices[:8])) + (", ..." if len(indices) > 8 else "")
            return Finding("part of an axis", f"wrong only at index {shown} of axis {axis} of {evidence.name} (of {n})",
                           "a loop that ends early or starts late, or an index that was mistaken for another", evidence.name)
    return None


def chance(wrong, indices, axis):
    """How likely it is that so many wrong elements all fall at these indices, if they fell anywhere."""
    share = len(indices) / (wrong.size if axis is None else wrong.shape[axis])
    return share ** np.count_nonzero(wrong)
