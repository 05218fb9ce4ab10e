"""What a benchmark run gives: rows, and what is needed to judge them. One shape for all levels, so that one table, one file format and one set of plots serve all.

A Row is one contestant at one task. Rows of the same task stand together; `ratio` compares tinycnn with the row's contestant.
"""
import json
from dataclasses import asdict, dataclass, field, fields

SCHEMA = 1


@dataclass
class Row:
    """One contestant at one task."""

    level: str  # conv, operation, layer, inference, training, memory, startup
    group: str  # the set of layers, or the network
    case: str  # the layer, or again the network
    what: str  # forward, input_grad, weight_grad, inference, training, ...
    contestant: str
    library: str
    batch: int = 1
    threads: int = 1
    cache: str = "warm"
    size: int = 0  # of the images, where a network was given another than its own
    count: int = 1  # how often the case occurs in its group
    note: str = ""
    value: float | None = None  # the median
    unit: str = "ms"
    quartiles: tuple = ()
    rounds: tuple = ()
    flops: float | None = None
    bytes: float | None = None
    gflops: float | None = None  # per second
    gbps: float | None = None
    roofline: float | None = None  # of the attainable speed, in percent
    bound: str = ""  # what the roofline of this task is: arithmetic or memory
    error: float | None = None  # against float64, in sigma
    error_after: float | None = None  # the same, after all the timing
    ratio: float | None = None  # time of tinycnn / time of this contestant, the median over the rounds
    ratio_quartiles: tuple = ()
    refused: str = ""  # why this figure does not count
    disturbed: int = 0  # rounds in which other processes were busy
    exchange: tuple = ()  # GB/s at which cores exchanged data before the rounds: the least, and the most
    default_malloc: float | None = None  # the value when malloc is left as it is
    math: str = ""  # on a GPU: fp32, or tf32 where factors may be rounded
    choice: str = ""  # which of its algorithms a library took, and what the others needed
    clocks: dict = field(default_factory=dict)  # of the GPU, right after the timing

    @property
    def task(self):
        """What all contestants of a task have in common."""
        return self.level, self.group, self.case, self.what, self.batch, self.threads, self.cache, self.size, self.math

    @property
    def counts(self):
        return self.value is not None and not self.refused


@dataclass
class Results:
    """A whole run."""

    environment: dict
    peaks: list  # of machine.peak, one for each number of threads
    settings: dict  # of the run: rounds, seconds, ...
    contestants: dict = field(default_factory=dict)  # name: details
    skipped: dict = field(default_factory=dict)  # name: why
    rows: list = field(default_factory=list)

    def peak(self, threads, math=""):
        return next(peak for peak in self.peaks if (peak["threads"], peak.get("math", "")) == (threads, math))

    def tasks(self):
        """{task: [Row]} in order."""
        found = {}
        for row in self.rows:
            found.setdefault(row.task, []).append(row)
        return found

    def to_json(self):
        return json.dumps({"schema": SCHEMA, **{f.name: getattr(self, f.name) for f in fields(self) if f.name != "rows"},
                           "rows": [asdict(row) for row in self.rows]}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text):
        """The Results that were written. Raises ValueError where the text is something else."""
        data = json.loads(text)
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise ValueError(f"not the results of a benchmark of schema {SCHEMA}")
        rows = [Row(**{name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}) for row in data["rows"]]
        return cls(**{f.name: data[f.name] for f in fields(cls) if f.name != "rows"}, rows=rows)


def timed(row, sample, peak, plan, flops=None, moved=None, least=None):
    """Fill a Row with what a Sample says. least: the seconds of its roofline, where that is more than one number of FLOPs and bytes tells."""
    from .machine import attainable
    row.value, row.quartiles = 1e3 * sample.median, tuple(1e3 * q for q in sample.quartiles)
    row.rounds, row.disturbed = tuple(1e3 * seconds for seconds in sample.rounds), sample.disturbed
    row.exchange = (min(sample.exchange), max(sample.exchange)) if sample.exchange else ()
    row.refused = row.refused or sample.refusal(plan) or ""
    if flops is not None:
        seconds, row.bound = attainable(flops, moved, peak)
        row.flops, row.bytes = flops, moved
        row.gflops, row.gbps = flops / sample.median / 1e9, moved / sample.median / 1e9
        row.roofline = 100 * (least or seconds) / sample.median
    return row


def compare(rows, samples):
    """Set `ratio` in the rows of one task: tinycnn's time over each contestant's. samples: {contestant: Sample}."""
    from .measure import ratio
    ours = next((row for row in rows if row.contestant == "tinycnn"), None)
    for row in rows:
        if ours is not None and row is not ours and row.counts and ours.counts:
            row.ratio, row.ratio_quartiles = ratio(samples["tinycnn"], samples[row.contestant])


def best_of(rows):
    """{library: its fastest Row that counts}, of the rows of one task: the best of a library's settings counts."""
    best = {}
    for row in rows:
        if row.counts and (row.library not in best or row.value < best[row.library].value):
            best[row.library] = row
    return best
