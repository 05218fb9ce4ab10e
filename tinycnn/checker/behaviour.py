"""Does the backward behave like one? A backward is a function of dy, linear, that leaves everything else as it is and gives a gradient of each input's shape.

These tests come before any measuring: what fails them cannot be compared with a derivative.
"""
import functools
import pickle
from typing import NamedTuple

import numpy as np

from .evidence import measure, size_of
from .report import Finding
from .shapes import wrong_shape
from .subjects import is_floating_array, to_numpy

MOST_MEASURED = 3000  # elements of an input whose gradient has a wrong shape
LAST_BITS = 1e-12  # differences that rounding explains, relative to the size of the output


class Faults(NamedTuple):
    findings: list
    wrong: dict  # {input number: reason}
    unknown: dict
    left_out: dict
    notes: list


def faults(subject, here, u):
    """The Faults of a subject whose Outcome at its arrays is `here`; u: a random gradient for each output."""
    found = Faults([], {}, {}, {}, [])
    everything = range(len(subject.arrays))
    again = subject.evaluate(subject.arrays)
    if not subject.draws.idle:
        found.notes.append("the function draws random numbers; they were held still, the same for every evaluation")
    off = max((float(np.max(np.abs(a - b), initial=0)) for a, b in zip(here.outputs, again.outputs)), default=0.0)
    if off > LAST_BITS * max(size_of(y) for y in here.outputs):
        reason = f"two evaluations at the same point differ (by up to {off:.2g}): the function is not deterministic, or draws from a generator that cannot be reached"
        found.unknown.update(dict.fromkeys(everything, reason))
        return found
    if off:
        found.notes.append("two evaluations at the same point differ in their last bits: the function is not deterministic (sums in varying order, atomic additions)")
    pull = subject.pullback(subject.arrays)
    drawn = subject.draws.now()
    first, changed = call(subject, pull, u)
    redrawn = different(drawn, subject.draws.now())
    second, _ = call(subject, subject.pullback(subject.arrays) if changed else pull, u)
    for k in everything:
        if first[k] is None:
            found.left_out[k] = "the backward gives no gradient for it"
        elif (fault := fault_of(subject, here, k, first[k], second[k], redrawn, pull, u)) is not None:
            found.wrong[k] = fault[0]
            found.findings.append(fault[1])
        elif not np.array_equal(first[k], second[k]):
            found.notes.append(f"two calls of the backward give gradients of {subject.names[k]} that differ in their last bits: it is not deterministic")
        elif first[k].dtype.itemsize < 8 and subject.computes_in.itemsize == 8:
            found.notes.append(f"the gradient of {subject.names[k]} is {first[k].dtype} although the function computes in {subject.computes_in}")
    if changed:
        found.findings.append(Finding("changes its arguments", f"after a call of the backward {' and '.join(changed)} no longer holds what it held",
                                      "an in-place operation (dy *= mask, x -= mean) on memory that others still need: work on a copy"))
        found.wrong.update({k: f"the backward changes {' and '.join(changed)}" for k in everything if k not in found.wrong and k not in found.left_out})
    good = [k for k in everything if k not in found.wrong and k not in found.left_out]
    for k, finding in nonlinear(subject, pull, u, first, good).items():
        found.wrong[k] = finding.seen
        found.findings.append(finding)
    return found


def fault_of(subject, here, k, first, second, redrawn, pull, u):
    """(reason, Finding) where input k's gradients, of two equal calls, are no gradients at all; None where they may be."""
    if not np.isfinite(first).all():
        reason = f"{np.count_nonzero(~np.isfinite(first))} of {first.size} elements of the gradient are NaN or infinite"
        return reason, Finding("not finite", f"{reason}, where the function is finite", "an exponential, a power, a logarithm or a division that overflows in the "
                               "backward: subtract the maximum before exp, keep eps under the root, divide last", subject.names[k])
    if first.shape != subject.arrays[k].shape:
        reason = f"the gradient has shape {first.shape}, the input {subject.arrays[k].shape}"
        return reason, wrong_shape(subject, k, first, gradient(subject, here, k, u))
    if not alike(second, first):
        return "two calls of the backward with the same dy give different gradients", unequal(subject, k, first, second, redrawn, pull, u)
    return None


def call(subject, pull, u):
    """(gradients as they are, the names of the arguments that the call changed)"""
    arguments = getattr(pull, "arguments", ())
    before = [to_numpy(a) if is_floating_array(a) else None for a in arguments]
    found = pull([part.copy() for part in u])
    changed = [f"dy {i}" if len(u) > 1 else "dy" for i, (given, part) in enumerate(zip(getattr(pull, "starts", ()), u)) if not np.array_equal(to_numpy(given), part)]
    names = dict(zip(subject.places, subject.names))
    changed += [names[i] for i, (a, b) in enumerate(zip(arguments, before)) if b is not None and not np.array_equal(to_numpy(a), b)]
    return [None if dx is None else np.array(dx) for dx in found], changed


def unequal(subject, k, first, second, redrawn, pull, u):
    """The Finding where two equal calls give different gradients."""
    third = pull([part.copy() for part in u])[k]
    if third is not None and alike(third - second, second - first):
        return Finding("not reset", "every further call with the same dy adds the same once more",
                       "gradients are added to memory that is kept between calls: set it to zero (or make it anew) at the start of the backward", subject.names[k])
    if redrawn:
        return Finding("random", "two calls with the same dy give different gradients, and random numbers are drawn on the way",
                       "a random mask (dropout) that is drawn again instead of being kept from the forward", subject.names[k])
    return Finding("random", "two calls with the same dy give different gradients", "random numbers from a generator of its own, memory that was never set (np.empty), "
                   "or something that the first call left behind", subject.names[k])


def nonlinear(subject, pull, u, first, good):
    """{input number: Finding} of those inputs, of the numbers `good`, whose gradient is not a linear function of dy."""
    rng = np.random.default_rng(1)
    w = [rng.standard_normal(part.shape) for part in u]
    doubled, negated, other, summed = (pull(start) for start in ([2 * a for a in u], [-a for a in u], w, [a + b for a, b in zip(u, w)]))
    found, size = {}, max(1e-2, *(size_of(part) for part in subject.evaluate(subject.arrays).outputs))  # an output of 1e-16 is a difference of larger numbers
    for k in good:
        noise = 1e-11 * size / size_of(subject.arrays[k])  # a gradient that is zero but for rounding
        close = functools.partial(alike, least=noise)
        if close(doubled[k], first[k]) and np.max(np.abs(first[k]), initial=0) > noise and close(negated[k], first[k]):
            found[k] = Finding("ignores dy", "twice the dy gives the same gradient", "the backward computes the gradient of the sum of the outputs; by the chain rule it "
                               "must be multiplied by dy, the gradient that arrives", subject.names[k])
        elif close(doubled[k], 2 * first[k]) and not (close(negated[k], -first[k]) and close(summed[k], first[k] + other[k])):
            found[k] = Finding("depends on the sign of dy", "twice the dy gives twice the gradient, but minus dy does not give minus the gradient",
                               "a mask made from dy where one made from x or y was meant (dy > 0 for x > 0), or a clipped gradient", subject.names[k])
        elif not (close(doubled[k], 2 * first[k]) and close(summed[k], first[k] + other[k])):
            found[k] = Finding("not linear in dy", "twice the dy does not give twice the gradient", "dy squared, normalised or clipped on the way, or a constant added: "
                               "by the chain rule every gradient is linear in the one that arrives", subject.names[k])
    return found


def gradient(subject, here, k, u):
    """The gradient of <u, y> for input k, measured element by element; None where that would take too long."""
    x = subject.arrays[k]
    if x.size > MOST_MEASURED:
        return None
    row, measured = np.concatenate([part.reshape(-1) for part in u]), np.zeros(x.shape)
    for j in range(x.size):
        direction = np.zeros(x.shape)
        direction.flat[j] = 1
        measured.flat[j] = row @ measure(subject, subject.arrays, here, k, direction, size_of(x), 1e-6).value
    return measured


def alike(a, b, least=0.0):
    """Equal up to rounding, judged by the largest of the expected."""
    return np.shape(a) == np.shape(b) and bool(np.all(np.abs(a - b) <= max(1e-6 * np.max(np.abs(b), initial=0), least)))


def different(a, b):
    return pickle.dumps(a) != pickle.dumps(b)
