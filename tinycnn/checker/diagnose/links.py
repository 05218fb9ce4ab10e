"""Which weight met which input, read from the Jacobian.

Where y is linear in the input and in another tensor z (a convolution, a matrix product), an entry dy[i]/dx[j] is an element of z: the one by which the forward
multiplied x[j] to make y[i]. Random values make it recognisable. So the Jacobian is a list of links (i, j, k); the measured one tells how the forward walks, the
backward's how the backward does. In a convolution the links satisfy, along each axis,

    place in the image = stride * place in the output + dilation * place in the filter - padding

and a fit of that line to both lists says in which of its numbers they differ.
"""
from typing import NamedTuple

import numpy as np

from ..report import Finding

CAUSES = {
    "flipped": "the filter is flipped in one of forward and backward only: dx is the full correlation of dy with the filter turned round, or the scatter of the forward "
               "with the filter as it is",
    "stride": "the stride of the forward is missing in the backward (or there once too often): spread dy by the stride, or step by it, where the forward stepped",
    "dilation": "the dilation of the forward is missing in the backward (or stride and dilation, which change places in the weight gradient, are mixed up)",
    "shifted": "the padding is not taken off, or taken off twice: pixel h of the input is h + padding of the padded one",
    "transposed": "two axes are exchanged: a transpose of the weights that is missing or one too many",
    "groups": "the channels of one group are paired with the filters of another: group g has channels g*C/G to (g+1)*C/G and filters g*K/G to (g+1)*K/G",
}


def geometry(part):
    """The first difference between the links of the measured Jacobian and the backward's."""
    if not part.whole:
        return None
    for name, z in part.others.items():
        forward, backward = links(part.measured, z, part), links(part.backward, z, part)
        if forward is None or backward is None or np.array_equal(forward, backward):
            continue
        finding = compare(part, z, forward, backward)
        if finding:
            family, seen = finding
            return Finding(family, f"{seen} (seen from which element of {name} multiplies which of {part.name})", CAUSES[family], part.name)
    return None


def raw_value(part):
    """The backward multiplies by elements of another input, and the forward by something made from them."""
    if not part.whole:
        return None
    for name, z in part.others.items():
        if links(part.backward, z, part) is not None and links(part.measured, z, part) is None:
            return Finding("wrong factor", f"the backward multiplies dy by elements of {name} as they are; the forward does not",
                           "the value before an operation was kept where the one after it is meant (x for the normalised x, the input for the activation)", part.name)
    return None


def links(matrix, z, part):
    """(links, 3): flat indices of y, x and z for each entry that is not zero; None unless they are all elements of z, and no two of those are alike."""
    values = np.sort(z.reshape(-1))
    size = float(np.max(np.abs(values), initial=0))
    if values.size < 4 or np.min(np.diff(values)) < 1e-6 * size or not np.isfinite(matrix).all():
        return None
    order = np.argsort(z.reshape(-1), kind="stable")
    i, j = np.nonzero(np.abs(matrix) > 1e-7 * size)
    if not i.size:
        return None
    entries = matrix[i, j]
    right = np.clip(np.searchsorted(values, entries), 0, values.size - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(np.abs(values[left] - entries) < np.abs(values[right] - entries), left, right)
    if np.any(np.abs(values[nearest] - entries) > 3e-7 * size):
        return None
    return np.stack([i, j, order[nearest]], axis=1)


def compare(part, z, forward, backward):
    """(family, text) of the difference, or None."""
    x_is_image = part.x.size >= z.size
    lists = []
    for found in (forward, backward):
        y, x, other = (np.stack(np.unravel_index(found[:, c], shape), axis=1) for c, shape in ((0, part.y.shape), (1, part.x.shape), (2, z.shape)))
        lists.append((y, x, other) if x_is_image else (y, other, x))
    seen = {}
    for axis in range(part.x.ndim if x_is_image else z.ndim):
        ours = relation(*lists[0], axis)
        if ours is None:
            grouped = groups(lists, axis)
            if grouped:
                seen.setdefault("groups", grouped)
        elif not holds(ours, *lists[1], axis) and (theirs := relation(*lists[1], axis)) is not None:
            for family, text in differences(ours, theirs, axis):
                seen.setdefault(family, text)
    return next(((family, seen[family]) for family in ("groups", "transposed", "flipped", "stride", "dilation", "shifted") if family in seen), None)


class Relation(NamedTuple):
    """place in the image = stride * (axis `along` of y) + dilation * (axis `within` of the filter) + offset; None: an axis that plays no part."""

    along: int | None
    within: int | None
    stride: float
    dilation: float
    offset: float


def relation(y, image, filters, axis):
    """The simplest Relation that holds exactly for the places along one axis of the image; None if there is none."""
    place = image[:, axis].astype(float)
    own = [axis, *(a for a in range(max(y.shape[1], filters.shape[1])) if a != axis)]  # of equally simple ones, that with the axis of the same number
    choices = [(None, None)] + [(None, b) for b in own] + [(a, None) for a in own] + [(a, b) for a in own for b in own]
    for along, within in choices:
        if (along or 0) >= y.shape[1] or (within or 0) >= filters.shape[1]:
            continue
        terms = [side[:, a].astype(float) if a is not None else np.zeros(len(y)) for side, a in ((y, along), (filters, within))]
        if any(a is not None and np.ptp(term) == 0 for a, term in zip((along, within), terms)):
            continue
        (stride, dilation, offset), _, _, _ = np.linalg.lstsq(np.stack([*terms, np.ones(len(y))], axis=1), place, rcond=None)
        if np.max(np.abs(stride * terms[0] + dilation * terms[1] + offset - place)) < 1e-6:
            return Relation(along, within, *(round(float(v), 6) for v in (stride, dilation, offset)))
    return None


def holds(relation, y, image, filters, axis):
    """Whether a Relation is true of other links as well (of which there may be fewer: then nothing is said against it)."""
    place = np.full(len(y), relation.offset)
    for side, a, factor in ((y, relation.along, relation.stride), (filters, relation.within, relation.dilation)):
        if a is not None:
            place = place + factor * side[:, a]
    return bool(np.max(np.abs(place - image[:, axis])) < 1e-6)


def differences(ours, theirs, axis):
    """(family, text) of each number in which two relations differ."""
    if (ours.along is not None and theirs.along is not None and ours.along != theirs.along) or (ours.within is not None and theirs.within is not None and (
            ours.within != theirs.within)):
        yield "transposed", f"along axis {axis} of the image the forward follows {followed(ours)}, and the backward {followed(theirs)}"
        return
    if (ours.along, ours.within) != (theirs.along, theirs.within):
        if ours.along is None or ours.within is None:
            yield "transposed", f"along axis {axis} of the image the forward follows {followed(ours)}, and the backward {followed(theirs)}"
        return
    if ours.dilation == -theirs.dilation != 0:
        yield "flipped", f"along axis {axis} the forward reads the filter from one end and the backward from the other"
        return
    if ours.stride != theirs.stride:
        yield "stride", f"along axis {axis} the windows move by {ours.stride:g} in the forward and by {theirs.stride:g} in the backward"
    if ours.dilation != theirs.dilation:
        yield "dilation", f"along axis {axis} neighbours in the filter are {ours.dilation:g} apart in the forward and {theirs.dilation:g} in the backward"
    if ours.offset != theirs.offset:
        off = theirs.offset - ours.offset
        yield "shifted", f"along axis {axis} the backward is {abs(off):g} too far {'to the end' if off > 0 else 'to the front'}"


def followed(relation):
    parts = [f"axis {relation.along} of dy" if relation.along is not None else "", f"axis {relation.within} of the filter" if relation.within is not None else ""]
    return " and ".join(filter(None, parts)) or "nothing"


def groups(lists, axis):
    """Text if the channel that a filter sees is its own channel plus an offset that depends on the number of the filter, differently in the two lists."""
    tables = []
    for y, image, filters in lists:
        if axis != 1 or y.shape[1] < 2 or filters.shape[1] < 2:
            return None
        offsets = image[:, 1] - filters[:, 1]
        tables.append({int(k): sorted(set(offsets[y[:, 1] == k].tolist())) for k in np.unique(y[:, 1])})
    if any(len(offset) > 1 for offset in tables[0].values()) or tables[0] == tables[1]:
        return None
    k = next(k for k in tables[0] if tables[0][k] != tables[1].get(k))
    return f"filter {k} begins at channel {tables[0][k][0]} in the forward and at channel {', '.join(map(str, tables[1].get(k, ['none'])))} in the backward"
