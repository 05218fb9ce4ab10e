"""Computes the cells of a claim, one after the other, and keeps each result as a line of results.jsonl:

    {"cell": {"activation": "relu", "lr": 0.02, "seed": 0, ...}, "result": {...}, "date": "2026-11-26", "tinycnn": "0.1.0"}

That file is the whole memory of an experiment. A cell whose line is there is not computed again, so to go on after a stop is to start anew. While a cell is
under way it has a folder of its own in under-way/, where its training runs keep their checkpoints; the folder goes when the line is written.
"""
import json
import shutil
import time
import zlib
from contextlib import suppress
from datetime import date

from tqdm import tqdm

from .. import __version__
from ..train.metrics import Log
from ..train.progress import Progress
from .claim import CannotRun, Place

UNDER_WAY = "under-way"


def run(claim, plan, folder, progress):
    """The rows of all cells that can be computed here: from results.jsonl in `folder` if they are there, else now, with `progress` (Bars) told of it."""
    cells = claim.cells(plan)
    results = Results(folder / "results.jsonl")
    missing, reasons = [cell for cell in cells if cell not in results], set()
    for number, cell in enumerate(missing, 1):
        start, place = time.perf_counter(), Place(folder / UNDER_WAY / name(cell), progress)
        try:
            results.add(cell, claim.compute(cell, place))
        except CannotRun as reason:
            if str(reason) not in reasons:
                progress.left_out(reason)
            reasons.add(str(reason))
        shutil.rmtree(place.folder, ignore_errors=True)
        with suppress(OSError):
            (folder / UNDER_WAY).rmdir()  # unless another experiment was stopped in this folder
        progress.end_cell(cell, number, len(missing), time.perf_counter() - start)
    return [results.row(cell) for cell in cells if cell in results]


def forget(folder):
    """Begin anew: no results, no runs that were stopped."""
    (folder / "results.jsonl").unlink(missing_ok=True)
    shutil.rmtree(folder / UNDER_WAY, ignore_errors=True)


class Results:
    """The results in a file of JSON lines, by their cells."""

    def __init__(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.log = Log(path, whole_lines(path))
        self.known = {key(line["cell"]): line["result"] for line in self.log.read()}

    def __contains__(self, cell):
        return key(cell) in self.known

    def add(self, cell, result):
        """Keep the result of a cell."""
        self.log.write(cell=cell, result=result, date=date.today().isoformat(), tinycnn=__version__)
        self.log.length()  # waits until it is on the disk
        self.known[key(cell)] = json.loads(json.dumps(result))  # as it will be read again: no tuples

    def row(self, cell):
        """A cell and its result in one dict."""
        return {**cell, **self.known[key(cell)]}


class Bars(Progress):
    """A line for each cell that took its time, and a bar for what is under way in it; the lines that a training run has for its epochs are left out."""

    seconds = 0.0  # of all cells so far

    def say(self, text):
        pass

    def end_cell(self, cell, number, total, seconds):
        """Cell `number` (from 1) of those that have to be computed took so many seconds."""
        self.seconds += seconds
        if seconds > 1:
            left = f", about {duration(self.seconds / number * (total - number))} left" if number < total else ""
            super().say(f"[{number}/{total}] {', '.join(f'{what} {value}' for what, value in cell.items() if what != 'data')}: {duration(seconds)}{left}")

    def left_out(self, reason):
        """A cell cannot be computed here."""
        super().say(f"left out: {reason}")

    def over(self, items, what):
        """The items, with a bar."""
        return tqdm(items, desc=what, leave=False, dynamic_ncols=True, disable=True if self.quiet else None)


def duration(seconds):
    """"40 s", "12 min", "3.5 h" """
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def whole_lines(path):
    """The bytes of a file up to the end of its last whole line: a program that is killed may have written half of one."""
    return path.read_bytes().rfind(b"\n") + 1 if path.exists() else 0


def key(cell):
    """The cell as text, the same for the same values."""
    return json.dumps(cell, sort_keys=True)


def name(cell):
    """What the folder of a cell is called: its values, and a number that tells cells apart which look alike."""
    words = "-".join(str(value) for what, value in cell.items() if what != "data")
    return f"{''.join(letter if letter.isalnum() or letter in '-.' else '_' for letter in words)[:60]}-{zlib.crc32(key(cell).encode()):08x}"
