"""The derivative along a line, measured.

For y(t) the central difference D(h) = (y(h) - y(-h)) / 2h is off by h^2 * y'''/6 from the truth, and by eps * |y| / h from rounding: plotted against h its error is a
U. Where its bottom lies depends on the function, so D is measured at several h, and for every output element the step is taken at which D and its neighbour agree
best; how well they agree is the error that the value may have. (Complex-step has no cancellation and needs no U: Im y(ih) / h with a tiny h, for functions that
take complex numbers and are analytic.)

A kink shows in the one-sided differences: their gap, |y(h) - 2 y(0) + y(-h)| / h, shrinks with h where y is smooth, and stays where the slope jumps at t = 0.
"""
import itertools
import warnings
from typing import NamedTuple

import numpy as np

USUAL = (1e-4, 1e-5)  # relative to the size of the input: four evaluations
FINER, COARSER = (1e-6, 1e-7, 1e-8), (1e-2, 1e-3)  # where those disagree, or somebody changed sides
TINY = 1e-100  # the complex step


class Step(NamedTuple):
    """One h: the central difference, the gap between the one-sided ones, and whether everybody took the same branch at -h, 0 and h."""

    h: float
    central: np.ndarray
    gap: np.ndarray
    right: object  # the Outcomes at h and -h
    left: object
    same: bool


class Slope(NamedTuple):
    """dy/dt for every output element, all outputs in one row."""

    value: np.ndarray
    error: np.ndarray  # how far off the value may be
    step: np.ndarray  # the h that was chosen
    kinked: np.ndarray  # where the slope jumps at t = 0, so that no value is right
    steps: list  # every Step that was tried, the largest h first
    crossed: list  # those, no larger than usual, within which somebody changed sides


def rms(a):
    return float(np.sqrt(np.mean(np.abs(a) ** 2))) if a.size else 0.0


def flat(outcome):
    """All outputs of an Outcome in one row."""
    return np.concatenate([np.asarray(y).reshape(-1) for y in outcome.outputs]) if outcome.outputs else np.zeros(0)


def same_branches(a, b):
    """Whether two evaluations went the same ways; True where that cannot be seen."""
    if a.branches is None:
        return True
    return len(a.branches) == len(b.branches) and all(
        p.operation == q.operation and p.taken.shape == q.taken.shape and np.array_equal(p.taken, q.taken) for p, q in zip(a.branches, b.branches))


def slope(line, here, size=1.0, eps=2.2e-16, wanted=1e-6, complex_line=None):
    """The Slope at t = 0 of line(t), a function that gives an Outcome.

    here: the Outcome at 0. size: how large the input is along this line, for the steps. eps: the precision in which the function computes. wanted: the relative
    error that is good enough to stop after the usual steps. complex_line: the same function for imaginary t, or None.
    """
    y = flat(here)
    steps = [measure(line, here, y, h * size) for h in (USUAL if eps < 1e-12 else (1e-1, *COARSER, *USUAL))]
    floor = rms(steps[-1].central)
    value, error, step = choose(steps, y, eps)
    noise = 100 * eps * np.maximum(np.abs(y), rms(y))  # a small output may be a difference of large numbers
    nothing = np.abs(value) <= error  # zero as far as rounding lets one see: smaller steps would see less
    if complex_line is not None and np.any(nothing & (error > wanted * floor)):
        value, error = refine(complex_line, value, error)
    if not all(s.same for s in steps) or np.any(~(error <= wanted * np.maximum(np.abs(value), floor)) & ~nothing) or np.any(stays(steps, floor, noise)):
        steps += [measure(line, here, y, h * size) for h in FINER + (COARSER if eps < 1e-12 else ())]
        steps.sort(key=lambda s: -s.h)
        smooth = [s for s in steps if s.same]
        value, error, step = choose(smooth if len(smooth) > 1 else steps, y, eps)
        if complex_line is not None:
            value, error = refine(complex_line, value, error)
    near = [s for s in steps if s.h <= 1.01 * USUAL[0] * size]
    return Slope(value, error, step, stays(near, floor, noise) & (len(steps) > 2), steps, [s for s in near if not s.same])


def measure(line, here, y, h):
    """The Step of this h."""
    right, left = line(h), line(-h)
    forward, back = flat(right), flat(left)
    if forward.shape != y.shape or back.shape != y.shape:
        raise RuntimeError("gradcheck: the function returns outputs of another shape when its inputs are moved a little; no derivative can be measured")
    with np.errstate(all="ignore"):
        return Step(h, (forward - back) / (2 * h), np.abs(forward - 2 * y + back) / h, right, left, same_branches(here, right) and same_branches(here, left))


def choose(steps, y, eps):
    """(value, error, step): for every output element the step at which two neighbours agree best. steps: the largest h first."""
    with np.errstate(all="ignore"):
        rounding = [2 * eps * np.abs(y) / s.h for s in steps]
        differences = np.array([np.abs(a.central - b.central) + r for a, b, r in zip(steps, steps[1:], rounding[1:])])
        differences = np.where(np.isfinite(differences), differences, np.inf)
        # two neighbours may agree by chance; the next ones tell: rounding is 10 times smaller a step before, curvature 100 times a step after
        differences[:-1] = np.maximum(differences[:-1], differences[1:] / 10)
        differences[1:] = np.maximum(differences[1:], differences[:-1] / 100)
        best = np.argmin(differences, axis=0)
        finer = np.array([s.central for s in steps[1:]])
        columns = np.arange(y.size)
        return finer[best, columns], differences[best, columns], np.array([s.h for s in steps[1:]])[best]


def stays(steps, floor, noise):
    """Where the gap between the one-sided differences does not shrink with h, from one of these steps to the next, down to the last that rounding lets one see."""
    with np.errstate(all="ignore"):
        seen = np.array([s.gap > np.maximum(1e-5 * floor, noise / s.h) for s in steps])
        constant = np.array([b.gap > 0.3 * a.gap for a, b in itertools.pairwise(steps)])
    # a gap below the noise says nothing; the finest pair that says something decides
    verdict = np.zeros(steps[0].gap.shape, bool)
    for k in range(len(steps) - 1):
        told = seen[k]
        verdict = np.where(told, seen[k + 1] & constant[k], verdict)
    return verdict


def refine(complex_line, value, error):
    """Complex-step instead of the difference, where the two agree (they do not if the function is not analytic, or drops the imaginary part)."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)  # a cast to real on the way
            exact = flat(complex_line(1j * TINY))
    except Exception:  # somebody else's function: whatever it says to numbers that it was not made for
        return value, error
    if exact.dtype.kind != "c" or exact.shape != value.shape:
        return value, error
    exact = exact.imag / TINY
    agrees = np.isfinite(exact) & (np.abs(exact - value) <= 3 * error)
    return np.where(agrees, exact, value), np.where(agrees, 4e-15 * np.abs(exact), error)
