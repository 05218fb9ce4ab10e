"""Which entries of the Jacobian are missing, or too many, or scaled."""
import itertools

import numpy as np

from ..report import Finding
from .whole import meaning


def overwritten(part):
    """Of the contributions to an input element only one output's, always the last (or always the first), is left."""
    if not part.whole:
        return None
    scale = part.scale
    there = np.abs(part.measured) > 1e-5 * scale
    kept = np.abs(part.backward) > 1e-5 * scale
    agrees = np.abs(part.backward - part.measured) <= 1e-4 * scale + 5 * part.error
    if np.any(kept & ~(there & agrees)) or not np.any(there & ~kept):
        return None
    places = np.stack(np.unravel_index(np.arange(part.y.size), part.y.shape), axis=1)
    for count in range(1, part.y.ndim + 1):
        for axes in itertools.combinations(range(part.y.ndim), count):
            if np.prod([part.y.shape[a] for a in axes]) == 1:
                continue
            key = np.ravel_multi_index(tuple(places[:, a] for a in axes), tuple(part.y.shape[a] for a in axes))
            for which, order in (("last", key), ("first", -key)):
                if survivors_are(there, kept, order):
                    return Finding("overwritten", f"where several outputs use one element of {part.name}, only the {which} one's contribution is there (counted along "
                                   f"the output's axes {list(axes)})", "= where += is needed; dx[index] += dy with an index that repeats, which NumPy adds only once "
                                   "(np.add.at adds every time); or one of the outputs taken for all", part.name)
    return None


def survivors_are(there, kept, order):
    """Whether every column keeps at most the entries at its largest `order`, and some column keeps some and loses others."""
    partly = False
    for column in range(there.shape[1]):
        used = np.flatnonzero(there[:, column])
        if not used.size:
            continue
        left = used[kept[used, column]]
        last = order[used].max()
        if np.any(order[left] != last) or (left.size and left.size != np.count_nonzero(order[used] == last)):
            return False
        partly |= 0 < left.size < used.size
    return partly


def groups(part):
    """Channels are tied together that are apart in the forward, or the other way round."""
    if not part.whole or part.x.ndim < 2 or part.y.ndim < 2:
        return None
    others = tuple(a for a in range(part.y.ndim + part.x.ndim) if a not in (1, part.y.ndim + 1))
    forward, backward = (np.any(part.tensor(np.abs(matrix) > 1e-5 * part.scale), axis=others) for matrix in (part.measured, part.backward))
    blocks = {tuple(np.flatnonzero(row)) for row in forward}
    disjoint = sum(len(block) for block in blocks) == len(set().union(*blocks))
    used = forward.any(axis=1)[:, None] & forward.any(axis=0)  # output and input channels that the forward ties to something
    if len(blocks) < 2 or not disjoint or not np.any(backward & ~forward & used):
        return None
    k, c = np.argwhere(backward & ~forward & used)[0]
    return Finding("groups", f"in the forward the channels fall into {len(blocks)} groups that do not touch; in the backward output channel {k} and input channel {c} "
                   "are tied", "the loop over the groups is missing or its offsets are wrong: group g has channels g*C/G to "
                   "(g+1)*C/G and filters g*K/G to (g+1)*K/G", part.name)


def skipped_path(part):
    """The difference is a multiple of the identity: a path on which x goes straight to y is not counted."""
    if not part.whole or part.x.shape != part.y.shape or part.x.size < 2:
        return None
    difference = part.measured - part.backward
    step = float(np.mean(np.diagonal(difference)))
    diagonal_only = np.any(np.abs(part.measured - np.diag(np.diagonal(part.measured))) > 1e-4 * part.scale)
    if abs(step) < 1e-3 * part.scale or not diagonal_only or np.any(np.abs(difference - step * np.eye(part.x.size)) > 1e-4 * abs(step) + 5 * part.error):
        return None
    return Finding("missing path", f"what is missing is {step:.4g} times dy itself: {part.name} reaches the output on a second, straight way too",
                   "a tensor that is used twice (a shortcut, x + f(x)) gets the sum of both gradients; one overwrote the other, or was forgotten", part.name)


def off_diagonal(part):
    """(the entries between different elements, where they are not zero) if x and y have one shape, else None."""
    if not part.whole or part.x.shape != part.y.shape or part.x.size < 3:
        return None
    there = np.abs(part.measured) > 1e-9 * part.scale + 10 * part.error
    np.fill_diagonal(there, False)
    return there if there.any() else None


def diagonal_alone(part):
    """Each output depends on its own input alone in the backward, on others too in the forward."""
    there = off_diagonal(part)
    if there is None:
        return None
    rest = part.backward - np.diag(np.diagonal(part.backward))
    if np.max(np.abs(rest)) > 1e-9 * part.scale:
        return None
    return Finding("missing term", f"the backward has only the diagonal of the Jacobian: that an output depends on other elements of {part.name} too (through their sum, "
                   "mean or normaliser) is missing", "a sum, mean, variance or normaliser was treated as a constant; it depends on every element that went in",
                   part.name)


def scaled_term(part):
    """The entries between different elements are all off by one factor, those of an element with itself are not."""
    there = off_diagonal(part)
    if there is None:
        return None
    ratio = part.backward[there] / part.measured[there]
    room = np.maximum(1e-4 * np.abs(ratio), 20 * part.error[there] / np.abs(part.measured[there]))
    factor = float(np.median(ratio))
    if abs(factor - 1) < 1e-3 or np.any(np.abs(ratio - factor) > room) or abs(factor) < 1e-6:
        return None
    return Finding("factor of a term", f"the term that ties different elements together is {factor:.5g} times what it should be{meaning(factor, part)}; the direct term "
                   "is another", "a constant of that term: alpha for alpha/n, n - 1 for n, a 2 from a square that is missing", part.name)


def foreign_factor(part):
    """Entries that are off by x[j]/x[i] or the like: a factor that belongs to the other element."""
    there = off_diagonal(part)
    if there is None:
        return None
    i, j = np.nonzero(there)
    ratio = part.backward[i, j] / part.measured[i, j]
    if np.all(np.abs(ratio - 1) < 1e-3):
        return None
    x, y = part.x.reshape(-1), part.y.reshape(-1)
    room = np.maximum(1e-3 * np.abs(ratio), 20 * part.error[i, j] / np.abs(part.measured[i, j]))
    for name, field in ((part.name, x), ("the output", y)):
        for text, value in ((f"{name}[j] / {name}[i]", field[j] / field[i]), (f"{name}[i] / {name}[j]", field[i] / field[j])):
            if np.all(np.abs(ratio - value) <= room):
                return Finding("wrong factor", f"the entries between different elements, output i and input j, are {text} times what they should be", "the value of one "
                               "element was used where that of the other is meant: in the term that ties two elements together each occurs once", part.name)
    return None
