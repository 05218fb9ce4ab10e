"""What a check found, as text, as plain data, and as pictures."""
import json
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

RIGHT, WRONG, UNKNOWN, LEFT_OUT = "right", "wrong", "cannot tell", "not checked"
MOST_KINKS = 6  # that are described one by one


class Finding(NamedTuple):
    """One diagnosis: its family (docs/gradcheck.md lists them), what was seen in the data, and what usually causes it."""

    family: str
    seen: str
    cause: str
    input: str = ""


class Entry(NamedTuple):
    """One element of a Jacobian: which output and input element, and the two numbers."""

    output: tuple
    input: tuple
    backward: float
    measured: float


class Kink(NamedTuple):
    """An element at, or near, which the function has no derivative; what changes there; and what became of it."""

    input: str
    index: tuple
    what: str
    outcome: str


@dataclass
class InputResult:
    """One input's gradient."""

    name: str
    shape: tuple
    verdict: str = RIGHT
    how: str = ""  # by which checks
    digits: float | None = None  # to how many digits the two agree
    wrong: int = 0  # of `checked` input elements
    checked: int = 0
    error: np.ndarray | None = None  # the largest relative error of each element, NaN where not looked at
    worst: list = field(default_factory=list)  # Entry
    reason: str = ""  # why it cannot be told


@dataclass
class Report:
    """The verdict of a gradient check, true in a condition only if it is "right". str() is the whole report, to_dict() the same as plain data, plot() draws it."""

    name: str
    inputs: list
    findings: list = field(default_factory=list)
    kinks: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    order: int = 1
    evaluations: int = 0
    backwards: int = 0
    subject: object = None
    evidence: dict = field(default_factory=dict)  # {(input, output): Evidence} of what was looked at element by element

    @property
    def verdict(self):
        verdicts = {result.verdict for result in self.inputs}
        if verdicts == {LEFT_OUT}:
            return UNKNOWN
        return WRONG if WRONG in verdicts else UNKNOWN if UNKNOWN in verdicts else RIGHT

    @property
    def family(self):
        """The family of the likeliest bug, or None."""
        return self.findings[0].family if self.findings else None

    def __bool__(self):
        return self.verdict == RIGHT

    def __repr__(self):
        return str(self)

    def __str__(self):
        return text(self)

    def _repr_html_(self):
        from ..pages import notebook
        return notebook.report(self)

    def to_dict(self):
        """Plain values, for JSON."""
        return {"name": self.name, "verdict": self.verdict, "order": self.order, "evaluations": self.evaluations, "backwards": self.backwards,
                "inputs": [{"name": r.name, "shape": list(r.shape), "verdict": r.verdict, "how": r.how, "wrong": r.wrong, "checked": r.checked, "digits": r.digits,
                            "reason": r.reason, "worst": [plain(entry._asdict()) for entry in r.worst]} for r in self.inputs],
                "findings": [finding._asdict() for finding in self.findings], "kinks": [plain(kink._asdict()) for kink in self.kinks], "notes": list(self.notes)}

    def to_json(self, **options):
        return json.dumps(self.to_dict(), **options)

    def plot(self, folder):
        """Draw everything into PNG files in `folder`; returns their paths."""
        from .plots import draw
        return draw(self, folder)


def plain(fields):
    """Tuples of NumPy integers as lists, numbers that JSON lacks as text."""
    def one(value):
        if isinstance(value, tuple):
            return [int(i) for i in value]
        return value if not isinstance(value, float) or np.isfinite(value) else str(value)
    return {name: one(value) for name, value in fields.items()}


def text(report):
    """The report for people."""
    from .heatmap import heat_map
    order = "" if report.order == 1 else " (second order)"
    lines = [f"gradcheck of {report.name}{order}: {report.verdict.upper()}"]
    width = max((len(r.name) for r in report.inputs), default=0)
    for r in report.inputs:
        lines.append(f"  {r.name:{width}}  {'x'.join(map(str, r.shape)) or 'number':>10}  {r.verdict:11}  {summary_of(r)}")
    for finding in report.findings:
        where = f" [gradient of {finding.input}]" if finding.input else ""
        rank = "likely bug" if finding is report.findings[0] else "also seen"
        lines += ["", f"{rank}: {finding.family}{where}", f"  {finding.seen}", f"  usual cause: {finding.cause}"]
    if report.verdict == WRONG and not report.findings:
        lines += ["", "likely bug: none of the known patterns fits; look at where it is wrong"]
    for r in report.inputs:
        if r.worst:
            lines += ["", f"worst elements of the gradient of {r.name}", *(f"  {line}" for line in entries(r.worst, r.name))]
        if r.wrong and r.error is not None and r.error.ndim:
            lines += ["", *heat_map(r.error, r.name)]
    if report.kinks:
        lines += ["", f"kinks ({len(report.kinks)}): places where the function has no derivative, or has one only within a small step"]
        lines += [f"  {k.input}{list(map(int, k.index))}: {k.what}; {k.outcome}" for k in report.kinks[:MOST_KINKS]]
        lines += [f"  ... and {len(report.kinks) - MOST_KINKS} more" for _ in [0] if len(report.kinks) > MOST_KINKS]
    lines += [f"note: {note}" for note in report.notes]
    return "\n".join(lines)


def summary_of(r):
    """One input's result in a line."""
    if r.verdict in (UNKNOWN, LEFT_OUT):
        return r.reason
    if r.verdict == WRONG:
        return f"{r.wrong} of {r.checked} elements wrong ({r.how})" if r.checked else r.reason or r.how
    return f"agrees to {r.digits:.0f} digits ({r.how})" if r.digits is not None else r.how


def entries(worst, name):
    """Lines of a small table."""
    yield f"{'output element':18} {name + ' element':18} {'backward says':>15} {'measured':>15}   ratio"
    for e in worst:
        ratio = e.backward / e.measured + 0.0 if e.measured and np.isfinite(e.measured) else float("nan")  # + 0.0: no minus zero
        yield f"{place(e.output):18} {place(e.input):18} {e.backward:15.8g} {e.measured:15.8g}   {'' if np.isnan(ratio) else f'{ratio:.4g}'}"


def place(index):
    """An index as people write it; words where there is none."""
    return index if isinstance(index, str) else str(list(map(int, index))) if index else "the number"
