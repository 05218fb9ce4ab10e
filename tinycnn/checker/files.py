"""A file of somebody's own functions, to be checked.

    def inputs(rng):                    what forward takes: one array or a tuple; or a dict {name of a case: that}
        return rng.standard_normal((2, 3, 7, 8)), rng.standard_normal((4, 3, 3, 3)), 2

    def forward(x, w, stride): ...      arrays in, an array (or a tuple of them) out

    def backward(dy, x, w, stride): ...         a gradient for each floating-point array

`inputs` is called several times with other random numbers, and may draw sizes and options as well: then the check covers many shapes, and says which option goes with
the error. Without a backward, forward is a function of tinycnn's tensors, or a module. CACHE = True: forward returns (y, cache), and backward is called as
backward(dy, cache). Several functions in one file: forward_pool, backward_pool, inputs_pool, CACHE_pool, ...
"""
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..tensor import Tensor
from ..tools import own_file
from .check import gradcheck
from .subjects import argument_names, to_numpy

SHAPES = 10  # how often inputs are drawn


class Task(NamedTuple):
    """One function of the file."""

    path: Path
    name: str
    forward: object
    backward: object
    inputs: object
    cache: bool


def load(path):
    """[Task] of a file."""
    path = Path(path)
    module = own_file.load(path)
    tasks = []
    for attribute in list(vars(module)):
        kind, _, name = attribute.partition("_")
        if kind == "forward" and callable(vars(module)[attribute]):
            suffix = f"_{name}" if name else ""
            inputs = getattr(module, f"inputs{suffix}", getattr(module, "inputs", None))
            if not callable(inputs):
                raise ValueError(f"{path}: there is {attribute}, but no inputs{suffix}(rng) that gives what it takes")
            backward, cache = getattr(module, f"backward{suffix}", None), bool(getattr(module, f"CACHE{suffix}", False))
            tasks.append(Task(path, name or path.stem, vars(module)[attribute], backward, inputs, cache))
    if not tasks:
        raise ValueError(f"{path}: it has no function called forward, or forward_something; `tinycnn gradcheck --help` says what such a file looks like")
    return tasks


class Run(NamedTuple):
    """One check of one Task."""

    task: Task
    case: str
    given: tuple  # the inputs
    report: object


def check(task, shapes=SHAPES, seed=0, progress=True, **options):
    """Yields a Run for every set of inputs; only one if they are the same each time."""
    seen = []
    for i in range(shapes):
        with own_file.telling_where(task.path):
            drawn = task.inputs(np.random.default_rng(seed + i))
        cases = drawn if isinstance(drawn, dict) else {"": drawn}
        if i and all(same(a, b) for a, b in zip(cases.values(), seen)):
            return
        seen = list(cases.values())
        for name, given in cases.items():
            given = tuple(given) if isinstance(given, (tuple, list)) else (given,)
            with own_file.telling_where(task.path):
                report = gradcheck(task.forward, given, task.backward, cache=task.cache, name=task.name, progress=progress, seed=seed, **options)
            yield Run(task, name, given, report)


def same(a, b):
    """Whether two sets of inputs are equal."""
    a, b = ([to_numpy(part.array if isinstance(part, Tensor) else part, None) if hasattr(part, "shape") else part for part in (
        value if isinstance(value, (tuple, list)) else (value,))] for value in (a, b))
    return len(a) == len(b) and all(np.array_equal(p, q) if isinstance(p, np.ndarray) else p == q for p, q in zip(a, b))


def options_of(run):
    """{name: value} of everything about the inputs that is a number or a word: options, and the sizes of the arrays."""
    found = {}
    for name, value in zip(argument_names(run.task.forward, len(run.given)), run.given):
        if hasattr(value, "shape"):
            found.update({f"the extent of {name}'s axis {axis}": n for axis, n in enumerate(value.shape)})
        elif isinstance(value, dict):
            found.update({key: entry for key, entry in value.items() if isinstance(entry, (bool, int, float, str))})
        elif isinstance(value, (bool, int, float, str)):
            found[name] = value
        elif isinstance(value, (tuple, list)):
            found[name] = str(tuple(value))
    return found


def separating(runs):
    """For each input that is wrong in some runs and right in others, what tells these apart: ["x only where stride is more than 1 (wrong: 2, 3; right: 1)"]."""
    names = dict.fromkeys(result.name for run in runs for result in run.report.inputs)
    return [f"{name} {where}" for name in names if (where := separator(runs, name))]


def separator(runs, name):
    """The same of one input; None if nothing tells, or there is only one kind."""
    verdicts = [next((result.verdict for result in run.report.inputs if result.name == name), None) for run in runs]
    wrong, right = ([options_of(run) for run, verdict in zip(runs, verdicts) if verdict == wanted] for wanted in ("wrong", "right"))
    if len(wrong) < 2 or len(right) < 2:
        return None
    for name in sorted(set.intersection(*(set(options) for options in wrong + right)), key=lambda name: (name.startswith("the extent"), name)):
        bad, good = {options[name] for options in wrong}, {options[name] for options in right}
        if bad & good:
            continue
        shown = f"(wrong: {listed(bad)}; right: {listed(good)})"
        if all(isinstance(value, (int, float)) for value in bad | good):
            if min(bad) > max(good):
                return f"only where {name} is more than {max(good):g} {shown}"
            if max(bad) < min(good):
                return f"only where {name} is less than {min(good):g} {shown}"
        return f"only where {name} has certain values {shown}"
    return None


def listed(values):
    return ", ".join(map(str, sorted(values, key=str)))
