"""What a claim is: a module of this package which has

    TITLE                   the claim in a line
    SLIDES, PAPER           what the slides say, and what the paper says: in its words where there are “quotation marks”
    cells(plan)             what there is to compute, a list of *cells*: dicts of plain values, each with all that its computation depends on
    compute(cell, place)    the result of one cell, also a dict of plain values; or CannotRun
    report(rows)            the Report of all results; a row is a cell and its result in one dict
    draw(figure, rows)      the plot of them

Results are kept by their cells (runner.py), so a stopped experiment goes on with the cell that it stood at, more seeds mean more cells and nothing computed twice,
and tables and plots can be made anew from what was kept.
"""
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..train.progress import Progress

MODES = ("quick", "default", "full")  # two minutes, fifteen minutes, what the paper's protocol takes

HELD, IN_PART, NOT_SHOWN, DID_NOT_HOLD = "it holds", "it holds in part", "not shown here", "it does not hold"


@dataclass(frozen=True)
class Plan:
    """What was asked for: one of MODES; "bundled" or a folder of images; how many seeds, or None for as many as the mode has."""

    mode: str = "default"
    data: str = "bundled"
    seeds: int | None = None

    def choose(self, quick, default, full):
        """That of the three that belongs to the mode."""
        return {"quick": quick, "default": default, "full": full}[self.mode]

    def seed_list(self, quick, default, full):
        """The seeds 0, 1, ...: so many in each mode, unless another number was asked for."""
        return list(range(self.seeds or self.choose(quick, default, full)))


@dataclass(frozen=True)
class Place:
    """Where a cell is computed: a folder for files that it needs on the way (made when it is first used), and somebody to tell of the progress."""

    folder: Path
    progress: Progress


class CannotRun(Exception):
    """Raised by compute: this cell needs what is not installed here (the message says how to get it). The claim is judged without it."""


class Report(NamedTuple):
    """header, table: the columns' names, and rows of text. verdict: HELD, IN_PART, NOT_SHOWN or DID_NOT_HOLD. words: the verdict in sentences, with the numbers.
    different: what was different from the paper, a sentence each. second: another (header, table), or None."""

    header: tuple
    table: list
    verdict: str
    words: str
    different: tuple = ()
    second: tuple | None = None
