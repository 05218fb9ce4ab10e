"""The gradient check itself: is the backward the derivative of the forward?

    behaviour   called twice, with dy doubled, with other dy: does the backward behave like a linear function at all? (behaviour.py)
    fast        <dy, J v> for a random dy and a random direction v: two or four evaluations of the function and one backward at any size
    full        the Jacobian, element by element: where it is wrong, and (diagnose/) how
    kinks       elements at which the function has no derivative are seen, explained, and checked beside it (kinks.py)
"""
import numpy as np
from tqdm import tqdm

from . import behaviour, diagnose, kinks, subjects
from .evidence import MOST_ENTRIES, MOST_ROWS, ZERO, Evidence, cotangents, measure, size_of, split
from .report import LEFT_OUT, RIGHT, UNKNOWN, WRONG, Entry, InputResult, Kink, Report

MODES = ("auto", "fast", "full")
MOST_ELEMENTS = 1500  # of one input that "auto" looks at one by one
SEPARATELY = 8  # up to so many inputs, the fast check takes each by itself
WORST = 4  # elements that a report shows
ROUNDING = 64  # epsilons by which a gradient in float32 may be off


class GradientError(AssertionError):
    """What assert_gradients raises; the message is the report."""


def gradcheck(fn, inputs, backward=None, *, mode="auto", cache=False, order=1, rtol=1e-7, atol=0.0, names=None, name=None, seed=0, progress=True):
    """Check the gradients of fn at `inputs`; returns a Report, which is true only if they are right, and which as text says where and why they are not.

    fn: a function of this engine's tensors, or a module (its parameters are checked as well); or, with `backward`, any function on NumPy or CuPy arrays.
    inputs: one argument or a tuple. Floating-point tensors that require grad are checked (all of them, if none does), or all floating-point arrays; the rest is passed
    on. They are checked in float64, whatever they are.
    backward: backward(dy, *inputs) -> a gradient for each floating-point input (None: not computed). With cache=True, fn returns (outputs, cache) and it is called as
    backward(dy, cache). For several outputs dy is a tuple. Any other outside state must not change between calls.
    mode: "fast" is one random projection (two or four evaluations of fn); "full" the whole Jacobian; "auto" fast, and element by element where that finds anything.
    order: 2 checks the gradients of the gradients too (this engine's functions only). rtol, atol: an element is right if |backward - measured| <= atol + rtol *
    max(|measured|, its typical size) + three times what the measurement itself may be off. seed: of all random choices. progress: bars on a terminal.
    """
    if mode not in MODES:
        raise ValueError(f"gradcheck: mode is {mode!r}; it can be {', '.join(map(repr, MODES))}")
    if order not in (1, 2):
        raise ValueError(f"gradcheck: order is {order!r}; it can be 1 or 2")
    if order == 2 and backward is not None:
        raise ValueError("gradcheck: order=2 needs a backward that can be differentiated itself, which one on arrays cannot; leave it out, or check it as a function "
                         "of its own: gradcheck(backward, ..., backward=its_backward)")
    options = dict(mode=mode, rtol=rtol, atol=atol, seed=seed, progress=progress, name=name or name_of(fn))
    report = Check(subjects.make(fn, inputs, backward, cache, names), **options).run()
    if order == 2 and report:
        inputs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
        first, report = report, Check(subjects.SecondOrder(fn, inputs, names), **options).run()
        report.order = 2
        report.notes.append(f"the first order is right: checked with {first.evaluations} evaluations")
    return report


def assert_gradients(fn, inputs, backward=None, **options):
    """gradcheck for tests: raises GradientError, whose message is the whole report, unless the gradients are right. Options as for gradcheck."""
    __tracebackhide__ = True  # pytest shows the line of the test, not this one
    report = gradcheck(fn, inputs, backward, **{"progress": False, **options})
    if not report:
        raise GradientError(f"\n{report}")
    return report


def name_of(fn):
    name = getattr(fn, "__qualname__", type(fn).__name__)
    return name.rsplit("<locals>.", 1)[-1]


class Check:
    """One run of gradcheck on one subject."""

    def __init__(self, subject, mode, rtol, atol, seed, progress, name):
        self.subject, self.mode, self.rtol, self.atol, self.progress = subject, mode, rtol, atol, progress
        self.rng = np.random.default_rng(seed)
        self.arrays = subject.arrays
        self.report = Report(name, [InputResult(n, a.shape) for n, a in zip(subject.names, self.arrays)], notes=subject.notes, subject=subject)
        self.wanted = max(rtol, 1e-9)

    def run(self):
        self.here = self.subject.evaluate(self.arrays)
        self.u = [self.rng.standard_normal(y.shape) for y in self.here.outputs]
        open_inputs = self.begin()
        if open_inputs:
            found = self.subject.pullback(self.arrays)([u.copy() for u in self.u])
            self.gradients = [None if dx is None else np.asarray(dx, np.float64) for dx in found]
            self.rtols = [max(self.rtol, ROUNDING * np.finfo(dx.dtype).eps) if dx is not None and dx.dtype.itemsize < 8 else self.rtol for dx in found]
            if self.mode != "full":
                open_inputs = self.fast(open_inputs)
            if self.mode != "fast" and open_inputs:
                self.full(open_inputs)
        report = self.report
        report.findings += diagnose.diagnose(report, self.subject, self.rng)
        report.evaluations, report.backwards = self.subject.evaluations, self.subject.backwards
        return report

    def begin(self):
        """The numbers of the inputs that are worth measuring: not empty, and with a gradient of the right shape."""
        if not all(np.isfinite(y).all() for y in self.here.outputs):
            for result in self.report.inputs:
                result.verdict, result.reason = UNKNOWN, "the function itself gives NaN or infinity at this point: check it at another"
            return []
        faults = behaviour.faults(self.subject, self.here, self.u)
        self.report.notes += faults.notes
        self.report.findings += faults.findings
        judged = {}
        for verdict, reasons in ((WRONG, faults.wrong), (UNKNOWN, faults.unknown), (LEFT_OUT, faults.left_out)):
            for k, reason in reasons.items():
                self.report.inputs[k].verdict, self.report.inputs[k].reason = judged[k] = verdict, reason
        for k, array in enumerate(self.arrays):
            if not array.size:
                self.report.inputs[k].how = "empty: nothing to check"
        return [k for k, array in enumerate(self.arrays) if array.size and k not in judged]

    # ---- fast

    def fast(self, numbers):
        """Check by projections; returns the inputs that need to be looked at element by element."""
        groups = [[k] for k in numbers] if len(numbers) <= SEPARATELY else [numbers]
        suspects = []
        for group in tqdm(groups, desc="projections", leave=False, disable=None if self.progress and len(groups) > 4 else True):
            if not self.project(group):
                suspects += group if len(group) == 1 else [k for k in group if not self.project([k])]
        return suspects

    def project(self, group):
        """Whether <u, J v> = <J^T u, v> for one random direction v in these inputs together; their results are filled in."""
        directions = self.directions(group)
        slope = measure(self.subject, self.arrays, self.here, None, directions, 1.0, self.wanted)
        verdict, digits = self.judge(directions, slope)
        if verdict == UNKNOWN and slope.kinked.any() and self.mode == "fast":
            verdict = self.beside(group, slope)
        elif slope.crossed and verdict == RIGHT:
            what = kinks.describe(self.here, slope.crossed[-1], slope, self.here.outputs)
            self.report.kinks.append(Kink(self.report.inputs[group[0]].name, (), what, f"nobody changes sides within h = {slope.steps[-1].h:.0e}, and there it is right"))
        for k in group:
            result = self.report.inputs[k]
            result.verdict, result.how, result.digits = verdict, f"random projection{'' if len(group) == 1 else ' together with others'}", digits
            result.reason = "" if verdict == RIGHT else "the projections disagree" if verdict == WRONG else "the projection cannot be measured"
        return verdict == RIGHT

    def directions(self, group):
        """{k: v}: random, as large as the inputs, and such that no input's part of <u, J v> drowns the others'."""
        directions = {k: self.rng.standard_normal(self.arrays[k].shape) * size_of(self.arrays[k]) for k in group}
        parts = {k: float(np.linalg.norm(self.gradients[k] * v)) for k, v in directions.items()}
        least = max(min((part for part in parts.values() if part > 0), default=0), 1e-9 * max(size_of(y) for y in self.here.outputs))
        return {k: v * min(1.0, 1e3 * least / parts[k]) if parts[k] > 0 else v for k, v in directions.items()} if len(group) > 1 else directions

    def judge(self, directions, slope, gradients=None, u=None):
        """(verdict, digits) of a projection."""
        gradients, u = gradients or self.gradients, np.concatenate([part.reshape(-1) for part in (u or self.u)])
        backward = sum(float(np.sum(gradients[k] * v)) for k, v in directions.items())
        measured, size, error = float(u @ slope.value), float(np.linalg.norm(u * slope.value)), float(np.linalg.norm(u * slope.error))
        difference = abs(backward - measured)
        if not np.isfinite(measured) or slope.kinked.any():
            return UNKNOWN, None
        # a wrong element among n is diluted by sqrt(n), so this is stricter than the element by element check, which has the last word
        strict = max(self.rtols[k] for k in directions) * (1e-3 if self.mode == "auto" else 1)
        if not difference <= self.atol + strict * size + 3 * error + self.unit(None):
            return WRONG, None
        zero = self.unit(None) * np.linalg.norm(u) * max(np.linalg.norm(v) / size_of(self.arrays[k]) for k, v in directions.items())
        if error > 1e-3 * size and abs(backward) > zero:
            return UNKNOWN, None
        return RIGHT, min(15.0, -np.log10(max(difference, error) / size)) if size and max(difference, error) else 15.0

    def unit(self, k):
        """What counts as nothing for a derivative by input k, or along a direction as large as the inputs (None)."""
        size = min(max(size_of(y) for y in self.here.outputs), 1.0)  # of outputs that are large, the derivatives need not be
        return ZERO * size / (1.0 if k is None else size_of(self.arrays[k]))

    def beside(self, group, slope):
        """The verdict at a point nearby, where x sits on a kink."""
        moved = list(self.arrays)
        for k in group:
            moved[k] = moved[k] + 1e-3 * size_of(moved[k]) * self.rng.standard_normal(moved[k].shape)
        verdict = kinks.compare(self, moved, self.directions(group))
        self.report.kinks.append(Kink(self.report.inputs[group[0]].name, (), kinks.describe(self.here, slope.steps[-1], slope, self.here.outputs),
                                      f"{verdict} at a point nearby"))
        return verdict

    # ---- full

    def full(self, numbers):
        """Check these inputs element by element."""
        columns = {k: self.chosen(self.arrays[k].size) for k in numbers}
        outputs = self.here.outputs
        U, identity = cotangents(outputs, max(len(c) for c in columns.values()), self.rng, MOST_ENTRIES if self.mode == "full" else MOST_ROWS)
        pull = self.subject.pullback(self.arrays)
        rows = {k: np.empty((len(U), self.arrays[k].size)) for k in numbers}
        for i, row in enumerate(tqdm(U, desc="backward", leave=False, disable=None if self.progress else True)):
            found = pull([part.copy() for part in split(row, outputs)])
            for k in numbers:
                rows[k][i] = found[k].reshape(-1)
        for k in numbers:
            self.element_by_element(k, columns[k], rows[k][:, columns[k]], U, identity)

    def chosen(self, size):
        """The elements to look at: all, or a random sample of so many that it does not take forever."""
        if self.mode == "full" or size <= MOST_ELEMENTS:
            return np.arange(size)
        return np.sort(self.rng.choice(size, MOST_ELEMENTS, replace=False))

    def element_by_element(self, k, columns, backward, U, identity):
        x, size = self.arrays[k], size_of(self.arrays[k])
        measured, error, kinked = (np.zeros((len(U), len(columns))) for _ in range(3))
        slopes = {}
        for c, j in enumerate(tqdm(columns, desc=self.report.inputs[k].name, leave=False, disable=None if self.progress else True)):
            direction = np.zeros(x.shape)
            direction.flat[j] = 1
            slope = measure(self.subject, self.arrays, self.here, k, direction, size, self.wanted)
            value = np.where(slope.kinked, 0, slope.value)
            measured[:, c], error[:, c] = (value, slope.error) if identity else (U @ value, np.abs(U) @ slope.error)
            kinked[:, c] = slope.kinked if identity else slope.kinked.any()
            if slope.kinked.any() or slope.crossed:
                slopes[c] = slope
        parts = self.evidence(k, columns, backward, measured, error, kinked > 0, identity)
        self.fill_in(k, columns, parts)
        self.report.evidence.update({(k, o): part for o, part in enumerate(parts)})
        if slopes:
            kinks.settle(self, k, columns, slopes)

    def evidence(self, k, columns, backward, measured, error, kinked, identity):
        """An Evidence for each output; for all together where their combinations were looked at."""
        outputs = self.here.outputs
        others = {name: array for i, (name, array) in enumerate(zip(self.subject.names, self.arrays)) if i != k}
        whole = identity and len(columns) == self.arrays[k].size
        if not identity:
            y = outputs[0] if len(outputs) == 1 else np.concatenate([y.reshape(-1) for y in outputs])
            parts = [(y, slice(None))]
        else:
            ends = np.cumsum([0] + [y.size for y in outputs])
            parts = [(y, slice(a, b)) for y, a, b in zip(outputs, ends, ends[1:])]
        return [Evidence(self.subject.names[k], self.arrays[k], y, backward[rows], measured[rows], error[rows], kinked[rows], columns, identity, whole, others,
                         self.rtols[k], self.atol + self.unit(k)) for y, rows in parts]

    def fill_in(self, k, columns, parts):
        """One input's result from its evidence."""
        result, x = self.report.inputs[k], self.arrays[k]
        result.checked, result.how, result.error = len(columns), "element by element", np.full(x.shape, np.nan)
        relative = np.zeros(len(columns))
        bad = np.zeros(len(columns), bool)
        worst, vague, digits = [], 0, 15.0
        for o, part in enumerate(parts):
            wrong, scale = part.wrong, part.scale or 1.0
            off = np.abs(np.where(np.isfinite(part.backward), part.backward - part.measured, np.inf))
            with np.errstate(invalid="ignore"):
                here = np.where(wrong, off / scale, 0)
            relative = np.maximum(relative, here.max(axis=0, initial=0))
            bad |= wrong.any(axis=0)
            vague += np.count_nonzero(part.vague.any(axis=0))
            good = ~part.kinked & np.isfinite(part.error)
            digits = min(digits, -np.log10(max(1e-15, np.max(np.where(good, np.maximum(off, part.error), 0), initial=0) / scale)))
            order = np.argsort(-here, axis=None, kind="stable")[:WORST]
            for i, c in zip(*np.unravel_index(order, here.shape)):
                if wrong[i, c]:
                    worst.append((here[i, c], self.entry(o, len(parts), part, i, c)))
        result.error.flat[columns] = relative
        result.wrong, result.worst = int(bad.sum()), [entry for _, entry in sorted(worst, key=lambda pair: -pair[0])[:WORST]]
        result.verdict = WRONG if result.wrong else UNKNOWN if vague else RIGHT
        result.digits = digits if result.verdict == RIGHT else None
        if result.verdict == UNKNOWN:
            result.reason = f"{vague} elements cannot be measured well enough: the differences do not settle at any step"
            if all(np.all(np.abs(part.measured) <= 3 * part.error) for part in parts):
                result.reason = "the outputs do not move beyond their rounding: a vacuous check, if they are constant (a sum of something normalised: check its elements)"
        if len(columns) < x.size:
            result.how += f", a sample of {len(columns)} of {x.size}"

    def entry(self, o, count, part, i, c):
        """The Entry of row i and column c of output o's evidence."""
        place = tuple(map(int, np.unravel_index(part.columns[c], part.x.shape)))
        if not part.identity:
            output = f"random sum {i}"
        else:
            output = (*((o,) if count > 1 else ()), *map(int, np.unravel_index(i, part.y.shape)))
        return Entry(output, place, float(part.backward[i, c]), float(part.measured[i, c]))
