"""The exhibits as a list, and how well the checker knows them."""
import inspect
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..checker import gradcheck
from ..tools import own_file

LINE = "# ---- the repair"
MARK = "# exhibit: "


class Exhibit(NamedTuple):
    """One bug. inputs(rng) draws inputs of random shapes for forward and both backwards."""

    name: str
    title: str
    story: str
    source: str  # where it was seen
    family: str  # what the checker should call it
    forward: object
    wrong: object
    right: object
    inputs: object
    cache: bool
    code: str  # the file without the repair

    def check(self, backward, seed, **options):
        """The Report on a backward, at inputs drawn with this seed."""
        return gradcheck(self.forward, self.inputs(np.random.default_rng(seed)), backward, cache=self.cache, name=self.name, progress=False, **options)


def names():
    """The names of all exhibits."""
    return sorted(path.stem for path in (Path(__file__).parent / "exhibits").glob("*.py") if path.stem != "__init__")


def exhibit(name):
    """The Exhibit of this name."""
    if name not in names():
        raise ValueError(f"no exhibit is called {name!r}; there are {', '.join(names())}")
    module = import_module(f"{__package__}.exhibits.{name}")
    title, _, text = inspect.getdoc(module).partition("\n\n")
    story, _, source = text.rpartition("\n\n")
    code = Path(module.__file__).read_text().partition(LINE)[0].rstrip() + "\n"
    return Exhibit(name, title, story, source, module.FAMILY, module.forward, module.backward, module.repaired, module.inputs, getattr(module, "CACHE", False), code)


def exercise(name):
    """The text of a file for somebody to repair: the exhibit with its wrong backward, and without the answer."""
    return f"{MARK}{name}\n# `tinycnn museum check FILE` says whether the backward is right by now.\n{exhibit(name).code}"


def solution(name):
    """The repaired backward, as text."""
    return inspect.getsource(exhibit(name).right)


def check_exercise(path, shapes=10):
    """[Report] on the backward in a file made by `exercise`, with the exhibit's own forward and inputs; up to the first that is not right."""
    text = Path(path).read_text()
    marked = next((line for line in text.splitlines() if line.startswith(MARK)), None)
    if marked is None:
        raise ValueError(f"{path}: no line {MARK + 'NAME'!r} says which exhibit this is; `tinycnn museum take NAME` writes such a file")
    here = exhibit(marked.removeprefix(MARK).strip())
    module = own_file.load(path)
    if not callable(getattr(module, "backward", None)):
        raise ValueError(f"{path}: it has no function called backward")
    reports = []
    for i in range(shapes):
        with own_file.telling_where(path):
            reports.append(here.check(module.backward, 1000 + i))
        if not reports[-1]:
            break
    return here, reports


class Rates(NamedTuple):
    """Of `shapes` random shapes: how often the wrong backward was caught, its family named (first of all findings), and the right backward accepted."""

    name: str
    family: str
    shapes: int
    caught: int
    named: int
    accepted: int
    others: list  # what else it was called


def rates(name, shapes=20, seed=0):
    """The Rates of one exhibit, at default settings."""
    here = exhibit(name)
    wrong = [here.check(here.wrong, seed + i) for i in range(shapes)]
    right = [here.check(here.right, seed + i) for i in range(shapes)]
    others = sorted({str(report.family) for report in wrong if report.family != here.family})
    return Rates(name, here.family, shapes, sum(report.verdict == "wrong" for report in wrong), sum(report.family == here.family for report in wrong),
                 sum(map(bool, right)), others)
