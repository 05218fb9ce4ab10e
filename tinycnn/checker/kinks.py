"""Kinks: what changes there, and whether the gradient is right beside them.

Where somebody changed sides between x - h and x + h, smaller steps are tried (differences.py): if nobody changes sides within one of them, the derivative is measured
there. If somebody does at any step, x sits on the kink; any value between the one-sided derivatives may be called the gradient, and the check moves to a point nearby.
One thing can still be asked at x itself: elements that tie, moved together, often meet no kink; along that direction the gradient must be right.
"""
import numpy as np

from . import report as reporting
from .evidence import measure, size_of

MOST_DESCRIBED = 20


def settle(check, k, columns, slopes):
    """Report the kinks of input k, {position in columns: Slope}, and judge the elements that sit on one."""
    result, x = check.report.inputs[k], check.arrays[k]
    on = [c for c, slope in slopes.items() if slope.kinked.any()]
    texts = {}
    verdict = reporting.RIGHT
    if on:
        verdict, how = judge(check, k, columns[on])
        texts = dict.fromkeys(on, f"x sits on it: {how}")
        if verdict == reporting.WRONG:
            result.verdict, result.wrong = verdict, result.wrong + len(on)
            result.error.flat[columns[on]] = 1.0
        elif verdict == reporting.UNKNOWN and result.verdict == reporting.RIGHT:
            result.verdict, result.reason = verdict, f"{len(on)} elements sit on kinks, and so does every point nearby that was tried"
    for c, slope in slopes.items():
        place = tuple(int(i) for i in np.unravel_index(columns[c], x.shape))
        what = describe(check.here, (slope.crossed or slope.steps)[-1], slope, check.here.outputs) if len(check.report.kinks) < MOST_DESCRIBED else "another"
        outcome = texts.get(c) or f"nobody changes sides within h = {slope.steps[-1].h:.0e}, where it was measured"
        check.report.kinks.append(reporting.Kink(result.name, place, what, outcome))


def judge(check, k, flat_indices):
    """(verdict, how) of the elements of input k that sit on kinks."""
    x = check.arrays[k]
    together = np.zeros(x.shape)
    together.flat[flat_indices] = 1.0
    slope = measure(check.subject, check.arrays, check.here, k, together, size_of(x), check.wanted)
    if not slope.kinked.any() and check.judge({k: together}, slope)[0] == reporting.WRONG:
        backward = float(np.sum(check.gradients[k] * together))
        measured = float(np.concatenate([u.reshape(-1) for u in check.u]) @ slope.value)
        seen = f"moved together with the others that do, the function changes by {measured:.4g} times as much, the backward says {backward:.4g}"
        check.report.findings.append(reporting.Finding("ties", f"{len(flat_indices)} elements sit on kinks; {seen}", "several elements tie for a maximum, and each "
                                                       "gets the whole gradient: give it to one of them, or in equal shares", check.subject.names[k]))
        return reporting.WRONG, seen
    for _ in range(3):
        direction = np.zeros(x.shape)
        direction.flat[flat_indices] = check.rng.standard_normal(len(flat_indices)) * size_of(x)
        moved = list(check.arrays)
        moved[k] = x + 1e-3 * np.where(direction != 0, check.rng.standard_normal(x.shape) * size_of(x), 0)
        verdict = compare(check, moved, {k: direction})
        if verdict != reporting.UNKNOWN:
            return verdict, f"{verdict} at a point nearby"
    return reporting.UNKNOWN, "and so do the points nearby"


def compare(check, arrays, directions):
    """The verdict of a projection at another point."""
    here = check.subject.evaluate(arrays)
    gradients = check.subject.pullback(arrays)([u.copy() for u in check.u])
    if any(gradients[k] is None or np.shape(gradients[k]) != arrays[k].shape for k in directions):
        return reporting.WRONG
    slope = measure(check.subject, arrays, here, None, directions, 1.0, check.wanted)
    return check.judge(directions, slope, gradients)[0]


def describe(here, step, slope, outputs):
    """What changed sides in this step: from the recorded branches, or from the one-sided slopes where branches cannot be seen."""
    if here.branches is not None and not step.same:
        for side, outcome in (("x+h", step.right), ("x-h", step.left)):
            if len(outcome.branches) != len(here.branches):
                return f"the function runs other operations at {side} than at x (h = {step.h:.0e})"
            for before, after in zip(here.branches, outcome.branches):
                if before.taken.shape == after.taken.shape and not np.array_equal(before.taken, after.taken):
                    return change(before, after, side, step.h)
    i = int(np.argmax(np.where(slope.kinked, step.gap, 0)))
    place = list(map(int, np.unravel_index(i, outputs[0].shape))) if len(outputs) == 1 else i
    middle, gap = step.central[i], step.gap[i]
    return f"one-sided slopes of output {place} differ by {gap:.3g} around {middle:.3g}, at h = {step.h:.0e} as at larger h"


def change(before, after, side, h):
    """One branch's first element that differs."""
    differs = before.taken != after.taken
    if before.kind == "place":
        differs = differs.any(axis=-1)
    place = np.argwhere(differs)[0]
    old, new = before.taken[tuple(place)], after.taken[tuple(place)]
    more = np.count_nonzero(differs) - 1
    rest = f" (and {more} more)" if more else ""
    where = list(map(int, place))
    if before.kind == "place":
        return f"{before.operation}, window {where}: the winner is (h, w) = {tuple(map(int, old))} at x and {tuple(map(int, new))} at {side}, h = {h:.0e}{rest}"
    if before.kind == "winner":
        return f"{before.operation}, result {where}: the winner is element {int(old)} at x and {int(new)} at {side}, h = {h:.0e}{rest}"
    return f"{before.operation}, element {where}: on the {name(old)} side at x, on the {name(new)} side at {side}, h = {h:.0e}{rest}"


def name(side):
    """A side in words: True and False are above and below."""
    return {True: "upper", False: "lower"}[bool(side)] if np.asarray(side).dtype.kind == "b" else f"{side:g}"
