"""Timing several functions against each other.

    round 1   A: pause, warm-up, calls    B: pause, warm-up, calls    C ...
    round 2   B ...    C ...    A ...            nobody is always the first

**Alternating**, because a machine changes: frequency, temperature, neighbours. What is compared was measured within seconds of each other, and ratios are taken
round by round.  **A pause** before each phase, because the worker threads of the library that ran before may still be spinning, on the cores that the next one needs.
**A warm-up** after it, of some calls if they are short: a core that slept so long is slow for its first milliseconds (on a virtual machine most of all), longer than
a small product takes.
**Medians**: of the calls of a phase, then over the rounds, with quartiles over the rounds. Their distance, relative to the median, is the spread: the noise.
A figure whose spread is above a limit is refused, not printed as if it were one.  **Other processes**: where the system tells how much time they took, a phase that
they disturbed is repeated, and the result says how often that happened.  **Cores far apart**: before each phase it is measured how fast cores exchange data
(machine.py); a result says between which figures that was.

Warm cache: the arrays were just used by the call before. Cold: between calls, memory larger than the last cache is written (outside the time).

A Timer says how calls are timed: here by the clock of the computer; on a GPU (gpu.py) by its own, since a call there only queues work.
"""
import os
import time
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np

ATTEMPTS = 3  # at an undisturbed phase
NOISE = ("too noisy", "other processes")  # how Sample.refusal begins


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    rounds: int = 7
    seconds: float = 0.2  # of calls in each phase; one call at least
    most_calls: int = 200  # in a phase
    pause: float = 0.03
    warm_up: float = 0.03  # seconds of calls that do not count, before those that do; one call at least
    cache: str = "warm"  # or "cold"
    most_spread: float = 0.15  # of a figure that is not refused
    most_disturbed: float = 0.06  # of the machine's time that other processes may take during a phase


@dataclass
class Sample:
    """What was measured of one function: seconds per call, one number (a median) for each round."""

    rounds: list = field(default_factory=list)
    calls: int = 0
    disturbed: int = 0  # rounds in which other processes took more than the plan allows, in spite of ATTEMPTS
    exchange: list = field(default_factory=list)  # GB/s from core to core, before each round

    @property
    def median(self):
        return float(np.median(self.rounds))

    @property
    def quartiles(self):
        return quartiles(self.rounds)

    @property
    def spread(self):
        """The distance of the quartiles, relative to the median."""
        low, high = self.quartiles
        return (high - low) / self.median if self.median else 0.0

    def refusal(self, plan):
        """Why this figure does not count, or None."""
        if self.spread > plan.most_spread:
            return f"too noisy: the quartiles are {self.spread:.0%} of the median apart, at most {plan.most_spread:.0%} count"
        if self.disturbed > len(self.rounds) // 2:
            return f"other processes took more than {plan.most_disturbed:.0%} of the machine in {self.disturbed} of {len(self.rounds)} rounds"
        return None


def quartiles(values):
    """(lower, upper)"""
    low, high = np.quantile(values, [0.25, 0.75])
    return float(low), float(high)


def ratio(ours, theirs):
    """(median, (lower, upper quartile)) of our time over theirs, round by round: below 1, we are faster."""
    ratios = np.asarray(ours.rounds) / np.asarray(theirs.rounds)
    return float(np.median(ratios)), quartiles(ratios)


class OtherProcesses:
    """How much processor time other processes take, as Linux counts it; nothing elsewhere."""

    def __init__(self):
        self.known = os.path.exists("/proc/stat")

    def start(self):
        if self.known:
            self.before = self._seconds()

    def share(self):
        """Of the machine's time since start(), the part that went to others."""
        if not self.known:
            return 0.0
        wall, busy, own = (now - before for now, before in zip(self._seconds(), self.before))
        tick = 1 / os.sysconf("SC_CLK_TCK")
        return max(0.0, busy - own - 2 * tick) / max(wall * os.cpu_count(), tick)  # the counters are only as fine as a tick

    def _seconds(self):
        with open("/proc/stat") as file:
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(ticks) for ticks in file.readline().split()[1:9])
        own = os.times()
        return time.perf_counter(), (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK"), own.user + own.system


def sweep_cache(size=96 << 20):
    """A function that drives everything else out of the caches."""
    memory = np.zeros(size // 8)
    return lambda: np.add(memory, 1, out=memory)


class Timer:
    """Times calls by a clock. cold: drive everything out of the caches between calls. exchange: a function that tells how fast cores exchange data, or None."""

    def __init__(self, cold=False, clock=time.perf_counter, exchange=None):
        self.clock, self.sweep, self.exchange = clock, sweep_cache() if cold else None, exchange

    def times(self, function, calls):
        """[seconds of each call]"""
        times = []
        for _ in range(calls):
            if self.sweep:
                self.sweep()
            start = self.clock()
            function()
            times.append(self.clock() - start)
        return times

    def warm_up(self, function, seconds):
        """Call it until so many seconds have passed, once at least."""
        start = self.clock()
        function()
        while self.clock() - start < seconds:
            function()


def timer_for(place, plan, back_to_back=True):
    """The Timer of a rivals.Place. back_to_back: on a GPU, leave out the time that it takes to queue calls."""
    if place.device == "cpu":
        from .machine import exchange
        return Timer(plan.cache == "cold", exchange=exchange)
    from .gpu import GpuTimer
    return GpuTimer(back_to_back)


def alternate(functions, plan=None, around=None, clock=time.perf_counter, sleep=time.sleep, others=None, timer=None):
    """{name: Sample} of functions {name: function without arguments}.

    around: {name: function that gives a context}, entered (outside the time) around each phase of that function. timer: how calls are timed, by `clock` if None.
    clock, sleep, others: for tests, which must not depend on the real ones.
    """
    plan, around, others = plan or Plan(), around or {}, others or OtherProcesses()
    timer = timer or Timer(plan.cache == "cold", clock)
    samples = {name: Sample() for name in functions}
    names = list(functions)
    calls = {}
    for name in names:
        with around.get(name, nullcontext)():
            functions[name]()  # whatever is done only once: compilation, the first allocation
            calls[name] = calls_that_fit(functions[name], plan, timer)
    for turn in range(plan.rounds):
        shift = turn % len(names) if names else 0
        for name in names[shift:] + names[:shift]:
            if timer.exchange:
                sleep(plan.pause)  # or the threads of the one before would be in the way here, too
                samples[name].exchange.append(timer.exchange())
            with around.get(name, nullcontext)():
                times, quiet = phase(functions[name], calls[name], plan, timer, sleep, others)
            samples[name].rounds.append(float(np.median(times)))
            samples[name].calls += len(times)
            samples[name].disturbed += not quiet
    return samples


def calls_that_fit(function, plan, timer):
    """How many calls fill plan.seconds."""
    once, = timer.times(function, 1)
    return max(1, min(plan.most_calls, round(plan.seconds / max(once, 1e-9))))


def phase(function, calls, plan, timer, sleep, others):
    """([seconds of each call], whether other processes kept quiet), of the last attempt."""
    for _ in range(ATTEMPTS):
        sleep(plan.pause)
        if calls > 1:  # a function that fills the whole phase warms itself up
            timer.warm_up(function, plan.warm_up)
        others.start()
        times = timer.times(function, calls)
        if others.share() <= plan.most_disturbed:
            return times, True
    return times, False
