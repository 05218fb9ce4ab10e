"""The whole gradient: missing, negative, times a number, times numbers that depend on where one is."""
import itertools

import numpy as np

from ..evidence import measure
from ..report import Finding
from ..subjects import again

NEAR = 1e-5  # how close counts as equal, relative to a typical entry


def same(part, other, factor=1.0):
    """Whether another matrix equals the measured one (times a factor), as far as that is known."""
    room = NEAR * np.maximum(np.abs(part.measured), part.scale) + 5 * part.error
    with np.errstate(invalid="ignore"):
        return bool(np.all((np.abs(other - factor * part.measured) <= abs(factor) * room + 1e-300) | part.kinked))


def missing(part):
    """All zeros where there should be something."""
    if part.scale and np.max(np.abs(part.backward)) <= 1e-9 * part.scale:
        return Finding("no gradient", "the backward gives zeros everywhere, and the function does depend on it",
                       "the gradient was computed and not returned, an argument was left out of the chain rule, or a value was detached (.detach(), .data, .copy())",
                       part.name)
    return None


def negative(part):
    return Finding("sign", "the gradient is minus the right one", "a minus lost or one too many, as in d(a - b)/db = -1 or d(1/x)/dx = -1/x^2",
                   part.name) if same(part, part.backward, -1.0) else None


def times_a_number(part):
    """c times the right gradient."""
    square = float(np.sum(part.measured ** 2))
    factor = float(np.sum(part.backward * part.measured)) / square if square else 0.0
    if not factor or not same(part, part.backward, factor):
        return None
    return Finding("factor", f"the gradient is {factor:.6g} times the right one{meaning(factor, part)}",
                   "a factor of the forward that was forgotten in the backward, or used twice: a mean's 1/n, a square's 2, dropout's 1/(1-p), a learning rate", part.name)


def meaning(factor, part):
    """What the number might be: sizes that it equals."""
    sizes = {}
    for what, shape in (("x", part.x.shape), ("y", part.y.shape), *((name, array.shape) for name, array in part.others.items())):
        for axis, n in enumerate(shape):
            sizes.setdefault(n, f"the extent of {what if what != 'x' else part.name}'s axis {axis}")
        for axes in (range(len(shape)), range(1, len(shape)), range(2, len(shape)), [0, *range(2, len(shape))]):
            sizes.setdefault(int(np.prod([shape[a] for a in axes if a < len(shape)])), f"the product of {what if what != 'x' else part.name}'s axes {list(axes)}")
    for value, words in ((factor, ""), (1 / factor, "one over ")):
        if abs(value - round(value)) < 1e-4 * abs(value) and round(value) > 1 and round(value) in sizes:
            return f": {words}{round(value)}, which is {sizes[round(value)]}"
    return ""


def batch_or_not(finding, part, subject, k, rng):
    """The finding "factor", decided by an experiment where one is possible: does the factor change if every batch item comes twice?"""
    sizes = {array.shape[0] for array in (part.x, part.y, *part.others.values()) if array.ndim}
    for n in sorted(sizes):
        doubled = again(subject, lambda value, n=n: np.concatenate([value, value]) if value.ndim and value.shape[0] == n else value) if n > 1 else None
        if doubled is None:
            continue
        before, after = (ratio(s, k, np.random.default_rng(0)) for s in (subject, doubled))
        if before and after and abs(after / before - 1) > 1e-3:
            change = "halves" if abs(2 * after / before - 1) < 1e-3 else "doubles" if abs(after / before - 2) < 1e-3 else f"becomes {after:.4g}"
            return Finding("batch size", f"{finding.seen}; with every item of the batch ({n}) given twice the factor {change}",
                           "the gradient is averaged over the batch although the forward (or the loss) already is, or is not: divide once, where the forward does",
                           finding.input)
    return finding


def ratio(subject, k, rng):
    """Backward over measured along one random direction."""
    here = subject.evaluate(subject.arrays)
    u, v = [rng.standard_normal(y.shape) for y in here.outputs], rng.standard_normal(subject.arrays[k].shape)
    gradients = subject.pullback(subject.arrays)([part.copy() for part in u])
    slope = measure(subject, subject.arrays, here, k, v, 1.0, 1e-6)
    measured = float(np.concatenate([part.reshape(-1) for part in u]) @ slope.value)
    return float(np.sum(gradients[k] * v)) / measured if measured else None


def ratios(part):
    """Backward over measured, NaN where both are (near) zero; None if the backward has something where nothing should be."""
    there = np.abs(part.measured) > np.maximum(1e-5 * part.scale, 1e5 * part.error)
    if not there.any() or np.any(np.abs(part.backward[~there & ~part.kinked]) > 1e-3 * np.max(np.abs(part.backward))):
        return None
    return np.where(there & ~part.kinked, part.backward / np.where(there, part.measured, 1), np.nan)


def times_a_field(part):
    """A ratio that depends on one or two axes only: of the output or of the input."""
    if not part.whole:
        return None
    found = ratios(part)
    if found is None:
        return None
    field = found.reshape(*part.y.shape, *part.x.shape)
    axes = [a for a, n in enumerate(field.shape) if n > 1]
    names = [f"the output's axis {a}" for a in range(part.y.ndim)] + [f"{part.name}'s axis {a}" for a in range(part.x.ndim)]
    for count in (1, 2):
        for kept in itertools.combinations(axes, count):
            values = depends_only_on(field, kept)
            if values is None or np.ptp(values[np.isfinite(values)]) <= 1e-3:
                continue
            if np.count_nonzero(np.isfinite(values)) > max(6, part.x.size / 2) and not only_at_edges(values):
                continue  # a factor for each element of its own explains nothing
            if np.all(np.isnan(values) | (np.abs(values) < 1e-6) | (np.abs(values - 1) < 1e-6)):  # nothing is scaled: it is there or it is not
                return lost(part, np.flatnonzero(np.abs(values) < 1e-6), names[kept[0]], values.size) if count == 1 else None
            return about_field(part, values, kept, [names[a] for a in kept])
    return None


def lost(part, indices, axis, n):
    """The Finding where everything is right but for some indices of an axis, and nothing is there."""
    shown = ", ".join(map(str, indices[:8])) + (", ..." if len(indices) > 8 else "")
    return Finding("part of an axis", f"nothing comes back for index {shown} of {axis} (of {n}); the rest is right",
                   "a loop that ends early or starts late, a batch item or channel that was left out, or an index that was mistaken for another", part.name)


def depends_only_on(field, kept):
    """The values along the kept axes if they are all that matters, else None."""
    others = tuple(a for a in range(field.ndim) if a not in kept)
    there = np.isfinite(field)
    low = np.min(field, axis=others, where=there, initial=np.inf)
    high = np.max(field, axis=others, where=there, initial=-np.inf)
    if np.any(high - low > 1e-4 * np.maximum(np.abs(high), np.abs(low))):
        return None
    if not np.all(np.count_nonzero(there, axis=others)[np.isfinite(low)] > 1):
        return None  # one entry for each value: that everything depends on everything is no finding
    return np.where(np.isfinite(low), low, np.nan)


def about_field(part, values, kept, names):
    """The Finding for a ratio that varies along these axes."""
    where = " and ".join(names)
    for name, other in (*part.others.items(), ("the output", part.y)):
        for words, power in (("one over", -1), ("", 1), ("one over the square of", -2), ("the square of", 2)):
            if other.size == values.size and other.size > 1 and np.all(other):
                rest = values.reshape(-1) / other.reshape(-1) ** power
                if np.ptp(rest) < 1e-4 * np.max(np.abs(rest)):
                    return Finding("missing factor", f"the gradient is off by a factor that varies along {where} as {words} {name} does",
                                   f"{name} is a factor of the forward, and by the chain rule of the backward too: it was forgotten, or used once too often", part.name)
    if all(a < part.y.ndim or a >= part.y.ndim for a in kept) and only_at_edges(values):
        return Finding("borders", f"the gradient is right in the middle and off by a factor at the edges of {where} ({np.nanmin(values):.4g} to {np.nanmax(values):.4g})",
                       "windows that reach into the padding hold fewer elements: forward and backward divide by different counts (count_include_pad)", part.name)
    return Finding("factor that varies", f"the gradient is off by a factor that depends only on {where}: {listed(values)}",
                   "a factor that belongs to each channel, class or row (a weight, a standard deviation, a count) was forgotten, or is another one's", part.name)


def only_at_edges(values):
    """1 wherever no axis is at its end, and something else somewhere."""
    if min(values.shape) < 3:
        return False
    middle = values[tuple(slice(1, -1) for _ in values.shape)]
    return bool(np.all(np.abs(middle[np.isfinite(middle)] - 1) < 1e-4)) and bool(np.any(np.abs(values[np.isfinite(values)] - 1) > 1e-3))


def listed(values):
    """The first few numbers."""
    flat = values[np.isfinite(values)].reshape(-1)
    return ", ".join(f"{value:.4g}" for value in flat[:6]) + (", ..." if flat.size > 6 else "")


def diagonals(part):
    """(backward, measured) derivatives of each output by its own input, where it depends on nothing else, in either; else None."""
    if not part.whole or part.x.shape != part.y.shape or part.x.size < 2:
        return None
    found = np.diagonal(part.backward), np.diagonal(part.measured)
    if any(np.max(np.abs(matrix - np.diag(diagonal))) > 1e-6 * part.scale for matrix, diagonal in zip((part.backward, part.measured), found)):
        return None
    return found


def function_of_the_input(part):
    """An elementwise derivative that is the right polynomial of the output, taken of the input (1 - x^2 for 1 - y^2)."""
    found = diagonals(part)
    if found is None or part.x.size < 6:
        return None
    x, y = part.x.reshape(-1), part.y.reshape(-1)
    coefficients, residual, rank, _ = np.linalg.lstsq(np.vander(y, 3), found[1], rcond=None)
    if rank == 3 and residual.size and residual[0] < 1e-10 * np.sum(found[1] ** 2) and np.allclose(np.polyval(coefficients, x), found[0], rtol=1e-4, atol=1e-5):
        return Finding("input for output", f"the derivative is {polynomial(coefficients)} of the output y, and the backward computes the same of the input x",
                       "a formula in terms of y was given x: keep the output in the forward", part.name)
    return None


def chain_rule(part):
    """Any other wrong derivative of something elementwise."""
    found = diagonals(part)
    if found is None or not np.all(found[1]):
        return None
    factors = found[0] / found[1]
    return Finding("chain rule", f"every output depends on its own input alone, and the derivative is off by a factor that varies with it ({np.min(factors):.4g} to "
                   f"{np.max(factors):.4g})", "the derivative of an inner function, or one half of the product rule, is missing; or it is another function's", part.name)


def polynomial(coefficients):
    a, b, c = (0 if abs(v) < 1e-8 else v for v in coefficients)
    return " + ".join(f"{v:.3g}{power}" for v, power in ((c, ""), (b, " y"), (a, " y^2")) if v)
