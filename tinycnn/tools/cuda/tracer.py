"""How a kernel uses memory: every access of every thread, put together to the requests that a GPU's warps make, and counted.

A warp executes an instruction for its 32 lanes at once, and the memory system sees one request:

    global memory    comes in sectors of 32 bytes. 32 neighbouring floats are 4 sectors; 32 floats that lie far apart are 32, and 28 bytes of each are moved for nothing.
    shared memory    has 32 banks of 4 bytes: word i lies in bank i % 32. A bank gives one word at a time, so lanes that want different words of one bank wait for
                     each other; a word that several want is given to all at once. Accesses of 8 bytes are made by 16 lanes at a time, of 16 bytes by 8.

Here lanes run one after the other, so requests are put together afterwards: the n-th time that each lane of a warp executes an instruction belongs to the n-th request.
That is what a GPU does where lanes go through a loop alike. Caches are not modelled: bytes moved are those between L1 and L2 if L1 keeps nothing.
"""
import json
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from tinycnn.kernels.cuda.simulator import build
from tinycnn.kernels.cuda.simulator import trace as recorder

from . import checker, description

SECTOR, BANKS, WORD, LANES = 32, 32, 4, 32
KINDS = {recorder.READ: "read", recorder.WRITE: "write", recorder.ATOMIC: "atomic"}


@dataclass
class Line:
    """All requests that one line of the source makes to one array, or to shared memory."""

    line: int
    text: str
    kernel: str
    memory: str  # name of the array, or "shared"
    kind: str  # read, write, atomic
    requests: int = 0
    accesses: int = 0  # of single threads
    asked: int = 0  # bytes that threads ask for, those that several want in one request counted once
    sectors: int = 0  # global memory: of 32 bytes
    least_sectors: int = 0  # if what each request asks for lay side by side
    passes: int = 0  # shared memory: turns that the banks need
    least_passes: int = 0  # without conflicts

    @property
    def moved(self):
        """Bytes."""
        return self.sectors * SECTOR

    @property
    def conflicts(self):
        return self.passes - self.least_passes

    def as_dict(self):
        return {**asdict(self), "moved": self.moved, "conflicts": self.conflicts}


@dataclass
class Array:
    """What the launches of a kernel do to one of its arrays. Bytes."""

    kernel: str
    name: str
    touched: int = 0  # each byte once for a launch: what must be moved at least
    moved: int = 0


@dataclass
class Trace:
    """What trace() found."""

    path: Path
    lines: list
    arrays: list
    requests: list = field(repr=False)  # for pictures, of each line: (Line, bytes of an element of its array, accesses of its first request)

    def only(self, kernel):
        """The part that is one kernel's."""
        lines = [line for line in self.lines if line.kernel == kernel]
        if not lines:
            raise ValueError(f"{self.path.name}: no kernel {kernel!r} was launched: there are {', '.join(sorted({line.kernel for line in self.lines}))}")
        return Trace(self.path, lines, [array for array in self.arrays if array.kernel == kernel], [request for request in self.requests if request[0].kernel == kernel])

    def as_dict(self):
        return {"file": str(self.path), "lines": [line.as_dict() for line in self.lines], "arrays": [asdict(array) for array in self.arrays]}

    def __repr__(self):
        return table(self)


def trace(path, launch=None, seed=0, timeout=1800):
    """Run the description of a .cu file (description.py) once, and count its accesses: a Trace. Raises RuntimeError with what is wrong if the kernels do not run."""
    path = Path(path)
    description.read(path, launch)
    build.compiler()
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "accesses.npz"
        findings, events = checker.run(path, "trace", [seed], launch, timeout, saved)
        wrong = [finding for _, finding in findings if finding.kind not in ("uninitialised memory", "wrong result")]
        if wrong or not saved.exists():
            raise RuntimeError(f"the kernels do not run (`tinycnn cuda check` says more): {'; '.join(f'{finding.kind}: {finding.message}' for finding in wrong)}")
        with np.load(saved) as arrays:
            recordings = [arrays[str(number)] for number in range(len(arrays))]
    launches = [event for event in events if event["event"] == "launch"]
    return Trace(path, *summed(path, launches, recordings))


def summed(path, launches, recordings):
    """(lines, arrays, requests to draw) of all launches."""
    text = path.read_text().splitlines()
    lines, arrays, drawn = {}, {}, {}
    for launch, accesses in zip(launches, recordings):
        touched = {}  # addresses of each array
        threads = int(np.prod(launch["block"]))
        numbers = request_numbers(accesses, threads)
        where = recorder.lines(launch["library"], np.unique(accesses["instruction"]))
        for group in _groups(accesses, numbers):
            one = accesses[group[0]]
            shared = one["memory"] >= recorder.STATIC_SHARED
            array = None if shared else launch["arrays"][one["memory"]]
            file, number = where.get(int(one["instruction"]), (None, 0))
            quoted = text[number - 1].strip() if file and Path(file).resolve() == path.resolve() else f"{Path(file or '?').name}, line {number}"
            key = launch["kernel"], number, quoted, array["name"] if array else "shared", KINDS[int(one["kind"]) & ~recorder.UNSET]
            line = lines.setdefault(key, Line(number, quoted, key[0], *key[3:]))
            requests = _requests(accesses[group], numbers[group])
            (count_shared if shared else count_global)(line, requests)
            drawn.setdefault(key, (line, np.dtype(array["dtype"]).itemsize if array else WORD, requests[0]))
            if array:
                total = arrays.setdefault((launch["kernel"], array["name"]), Array(launch["kernel"], array["name"]))
                total.touched += _new_bytes(touched.setdefault(array["address"], set()), accesses[group])
    for line in lines.values():
        if line.memory != "shared":
            arrays[line.kernel, line.memory].moved += line.moved
    kernels = list(dict.fromkeys(key[0] for key in lines))
    order = sorted(lines, key=lambda key: (kernels.index(key[0]), key[1]))
    return [lines[key] for key in order], list(arrays.values()), [drawn[key] for key in order]


# ---- from accesses to requests

def request_numbers(accesses, threads):
    """For each access the number of its request: accesses of one instruction by one warp, each lane's n-th."""
    if not len(accesses):
        return np.zeros(0, np.int64)
    person = accesses["block"].astype(np.int64) * threads + accesses["thread"]
    order = np.lexsort((np.arange(len(accesses)), person, accesses["instruction"]))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(person[order]) != 0) | (np.diff(accesses["instruction"][order].astype(np.int64)) != 0)
    starts = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))
    times = np.empty(len(order), np.int64)
    times[order] = np.arange(len(order)) - starts
    warp = accesses["block"].astype(np.int64) * -(-threads // LANES) + accesses["thread"] // LANES
    return np.unique(np.stack([accesses["instruction"].astype(np.int64), warp, times], 1), axis=0, return_inverse=True)[1].reshape(-1)


def _groups(accesses, numbers):
    """Indices of the accesses of each instruction to each memory, by request."""
    order = np.lexsort((accesses["thread"], numbers, accesses["memory"], accesses["instruction"]))
    key = np.stack([accesses["instruction"][order].astype(np.int64), accesses["memory"][order].astype(np.int64)], 1)
    return np.split(order, np.flatnonzero(np.any(np.diff(key, axis=0), 1)) + 1) if len(order) else []


def _requests(accesses, numbers):
    """The accesses of each request."""
    return np.split(accesses, np.flatnonzero(np.diff(numbers)) + 1)


def _new_bytes(seen, accesses):
    """How many bytes of these accesses are not in `seen`, which gets them."""
    places = np.unique(np.stack([accesses["offset"].astype(np.int64), accesses["bytes"].astype(np.int64)], 1), axis=0)
    before = len(seen)
    for address, size in places.tolist():
        seen.update(range(address, address + size))
    return len(seen) - before


def sectors(accesses):
    """Numbers of the 32-byte sectors that a request touches."""
    first = accesses["offset"].astype(np.int64)
    last = first + accesses["bytes"] - 1
    return np.unique(np.concatenate([first // SECTOR, last // SECTOR]))  # an access is not longer than a sector


def count_global(line, requests):
    for accesses in requests:
        places = np.unique(np.stack([accesses["offset"].astype(np.int64), accesses["bytes"].astype(np.int64)], 1), axis=0)
        asked = int(places[:, 1].sum())
        line.requests += 1
        line.accesses += len(accesses)
        line.asked += asked
        line.sectors += len(sectors(accesses))
        line.least_sectors += -(-asked // SECTOR)


def passes(accesses):
    """(turns that the banks need for a request to shared memory, turns without conflicts)."""
    size = max(WORD, int(accesses["bytes"].max()))
    lanes_at_a_time = LANES * WORD // size
    turn = accesses["thread"] % LANES // lanes_at_a_time
    needed = 0
    for number in np.unique(turn):
        words = np.unique(np.concatenate([accesses["offset"][turn == number].astype(np.int64) // WORD + i for i in range(size // WORD)]))
        needed += int(np.bincount(words % BANKS).max())
    return needed, len(np.unique(turn))


def count_shared(line, requests):
    for accesses in requests:
        needed, least = passes(accesses)
        line.requests += 1
        line.accesses += len(accesses)
        line.asked += int(np.unique(accesses["offset"]).size * accesses["bytes"].max())
        line.passes += needed
        line.least_passes += least


# ---- as text

def table(trace):
    """For each kernel: its lines that use global memory, those that use shared memory, and what it does to each array."""
    parts = []
    for kernel in dict.fromkeys(line.kernel for line in trace.lines):
        lines = [line for line in trace.lines if line.kernel == kernel]
        rows = [(x.line, x.kind, x.memory, x.requests, *_each(x, x.sectors, x.least_sectors), _bytes(x.moved), _bytes(x.asked), f"{x.asked / x.moved:.0%}", x.text)
                for x in lines if x.memory != "shared"]
        if rows:
            rows.insert(0, ("line", "", "array", "requests", "sectors", "at best", "moved", "asked", "used", ""))
        banks = [(x.line, x.kind, "shared", x.requests, *_each(x, x.passes, x.least_passes), x.conflicts, "", "", x.text)
                 for x in lines if x.memory == "shared"]
        if banks:
            rows += [("",) * 10] * bool(rows) + [("line", "", "", "requests", "turns", "at best", "conflicts", "", "", ""), *banks]
        arrays = [f"{x.name}: {_bytes(x.moved)} moved, {_bytes(x.touched)} at least ({x.moved / x.touched:.1f} times)" for x in trace.arrays if x.kernel == kernel]
        parts.append("\n".join([kernel, *_aligned(rows), *arrays]))
    return "\n\n".join([*parts, LEGEND]) if parts else f"{trace.path.name}: no access to memory"


LEGEND = """A request is what a warp's 32 lanes want at once. sectors: of 32 bytes, touched by a request; turns: those that the 32 banks of shared memory need for it;
at best: if the same bytes lay side by side. moved: sectors times 32 bytes; asked: bytes that lanes wanted. An array's bytes "at least": every byte touched, once."""


def _each(line, count, least):
    """For one request."""
    return f"{count / line.requests:.1f}", f"{least / line.requests:.1f}"


def _aligned(rows):
    """Rows as lines, with columns of equal width; the last column is left as it is."""
    rows = [tuple(map(str, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)][:-1]
    aligned = ([cell.ljust(width) if i in (1, 2) else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))] for row in rows)
    return ["  ".join([*cells, row[-1]]).rstrip() for cells, row in zip(aligned, rows)]


def _bytes(count):
    return f"{count} B" if count < 10_000 else f"{count / 1024:.0f} KB" if count < 10_000_000 else f"{count / 1024**2:.0f} MB"


def to_json(trace):
    return json.dumps(trace.as_dict(), indent=2)
