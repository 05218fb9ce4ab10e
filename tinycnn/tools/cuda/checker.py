"""Run a file's kernels in every way that finds something, and say what was found.

Each way of compiling (kernels/cuda/simulator/build.py) is a process of its own: plain over many orders of threads; with AddressSanitizer and UndefinedBehaviorSanitizer;
with ThreadSanitizer; and with every access recorded, for memory that nobody has written. They find different things, and the same thing twice is told once.
"""
import json
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tinycnn.kernels.cuda.simulator import build

from . import description, reports

WAYS = {"plain": 1.0, "asan": 0.25, "tsan": 0.25, "trace": 0.25}  # and what part of the seeds each runs: the others find what they find in almost any order
LAST = ("wrong result", "depends on the order of threads")  # often only a consequence of something else that was found
EXTRA = {"asan": {"ASAN_OPTIONS": "redzone=1024"},  # bytes around each array in which an access is seen
         "tsan": {"TSAN_OPTIONS": "halt_on_error=0 suppress_equal_addresses=0"}}  # all races, not the first, nor one for each place in memory


@dataclass
class Report:
    """What check() found. seeds: those that the plain way ran."""

    path: Path
    findings: list
    seeds: list
    launches: int

    def __bool__(self):
        """Whether nothing is wrong."""
        return not self.findings

    def as_dict(self):
        return {"file": str(self.path), "seeds": self.seeds, "launches": self.launches, "findings": [finding.as_dict() for finding in self.findings]}

    def __repr__(self):
        if not self.findings:
            return f"{self.path.name}: nothing found in {self.launches} launches under {len(self.seeds)} orders of threads"
        lines = [f"{self.path.name}: {len(self.findings)} finding{'s' if len(self.findings) > 1 else ''}"]
        for number, finding in enumerate(self.findings, 1):
            lines += ["", f"{number}. {finding.kind}: {finding.message}", *map(self._place, finding.places)]
            if finding.advice:
                lines.append(f"   -> {finding.advice}")
            lines.append(f"   found by {', '.join(f'{way} (seed {seed})' for way, seed in finding.found_by.items())}")
        seed = next(iter(self.findings[0].found_by.values()))
        return "\n".join([*lines, "", f"the first one again: tinycnn cuda check {self.path} --seed {seed}"])

    def _place(self, place):
        """A line of the source, quoted."""
        if place.line is None:
            return f"   (in some line)  {place.what}"
        text = Path(place.file).read_text().splitlines()
        quoted = text[place.line - 1].strip() if place.line <= len(text) else ""
        name = "" if Path(place.file).resolve() == self.path.resolve() else f"{Path(place.file).name}, "
        return f"   {name}line {place.line}: {quoted}{'   <- ' + place.what if place.what else ''}"


def check(path, seeds=8, seed=None, ways=tuple(WAYS), launch=None, timeout=1800, progress=None):
    """Run the description of a .cu file (description.py) in each way, and return a Report.

    seeds: how many orders of threads (0 is ascending, the others are drawn). seed: only this one. launch: the file that describes the launch, if it is neither in the .cu
    file nor beside it. timeout: seconds for each way. progress: called with each way's name when it is done. Raises RuntimeError where there is no C++ compiler.
    """
    path = Path(path)
    description.read(path, launch)  # raises if there is none
    build.compiler()
    numbers = list(range(seeds)) if seed is None else [seed]
    plans = {way: numbers[:max(1, round(len(numbers) * WAYS[way]))] for way in ways}

    def one(way):
        result = run(path, way, plans[way], launch, timeout)
        if progress:
            progress(way)
        return result

    with ThreadPoolExecutor(max(1, min(len(plans), os.cpu_count() or 1))) as pool:
        results = dict(zip(plans, pool.map(one, plans)))
    merged = {}
    for way, (findings, _) in results.items():
        for at_seed, finding in findings:
            merged.setdefault(finding.key(), finding).found_by.setdefault(way, at_seed)
    ordered = sorted(merged.values(), key=lambda finding: finding.kind in LAST)
    launches = max(sum(event["event"] == "launch" for event in events) for _, events in results.values())
    return Report(path, ordered, numbers, launches)


def check_kernel(path, **options):
    """check(), as a test: an AssertionError with the report if anything is found."""
    report = check(path, **options)
    assert report, f"\n{report}"


def run(path, way, seeds, launch=None, timeout=1800, saved=None):
    """One process: ([(seed, Finding)], events). saved: where it writes all accesses (in the way "trace")."""
    with tempfile.TemporaryDirectory() as folder:
        events_file = Path(folder) / "events"
        events_file.touch()
        arguments = [path, launch or "-", ",".join(map(str, seeds)), events_file, *([saved] if saved else [])]
        command = [sys.executable, "-m", f"{__package__}.child", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **build.environment(way)}
        for name, options in EXTRA.get(way, {}).items():
            environment[name] += f" {options}"
        try:
            result = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", timeout=timeout)
            status, text = result.returncode, result.stderr
        except subprocess.TimeoutExpired as late:
            status, text = None, (late.stderr or b"").decode(errors="replace")
        events = [json.loads(line) for line in events_file.read_text().splitlines() if line.endswith("}")]
    findings, launches = reports.from_events(events, path)
    findings += reports.from_text(text, launches, path)
    seed = max((event["seed"] for event in events if event["event"] == "seed"), default=seeds[0])
    ended = any(event["event"] in ("end", "error") for event in events)
    if status is None:
        findings.append((seed, reports.Finding("does not end", f"after {timeout} seconds (in the way {way}) it still runs: a loop without an end? (--timeout)")))
    elif not ended and not findings:
        cause = "a whole number divided by zero" if status == -signal.SIGFPE else "a wild address"
        kind, said = ("crash", f"{cause}, most likely; asan may say more") if status < 0 else ("the checker failed", text.strip()[-2000:])
        findings.append((seed, reports.Finding(kind, f"the process ended with status {status} in the way {way}: {said}")))
    return findings, events
