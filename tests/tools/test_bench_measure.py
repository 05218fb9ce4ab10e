"""The measurement itself, on a clock that does what the test says."""
from contextlib import contextmanager

import pytest

from tinycnn.bench import measure
from tinycnn.bench.measure import Plan, Sample, alternate, ratio


class Laboratory:
    """A clock that only moves when somebody works, and a log of what happened."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.log.append("pause")
        self.now += round(seconds * 64) / 64  # so that times are exact

    def worker(self, name, durations):
        """A function whose calls take these seconds: a number, or a function of the number of the call."""
        calls = iter(range(10**6))

        def work():
            self.log.append(name)
            call = next(calls)
            self.now += durations(call) if callable(durations) else durations
        return work

    def run(self, functions, plan, others=None, around=None):
        return alternate(functions, plan, around, self.clock, self.sleep, others or Others())


class Others:
    """Other processes, which take these shares of the machine in turn, and then nothing."""

    def __init__(self, *shares):
        self.shares = list(shares)

    def start(self):
        pass

    def share(self):
        return self.shares.pop(0) if self.shares else 0.0


def test_medians_and_ratio_of_steady_functions():
    """Kills: seconds per phase for seconds per call, ours and theirs exchanged, warm-up calls counted."""
    lab = Laboratory()
    samples = lab.run({"ours": lab.worker("ours", 0.25), "theirs": lab.worker("theirs", 0.5)}, Plan(rounds=4, seconds=1.0))
    assert samples["ours"].rounds == [0.25] * 4 and samples["theirs"].rounds == [0.5] * 4
    assert (samples["ours"].median, samples["ours"].quartiles, samples["ours"].spread) == (0.25, (0.25, 0.25), 0)
    assert (samples["ours"].calls, samples["theirs"].calls) == (16, 8)  # four and two fill a second
    assert ratio(samples["ours"], samples["theirs"]) == (0.5, (0.5, 0.5))


def test_how_fast_cores_exchange_is_asked_before_every_phase():
    """Kills: asked once for all, or while something is timed; figures given to another contestant."""
    lab, figures = Laboratory(), iter([8.0, 3.0, 7.0, 2.0])

    def exchange():
        lab.now += 100
        return next(figures)
    timer = measure.Timer(clock=lab.clock, exchange=exchange)
    samples = alternate({"a": lab.worker("a", 1), "b": lab.worker("b", 2)}, Plan(rounds=2, seconds=1), {}, lab.clock, lab.sleep, Others(), timer)
    assert (samples["a"].exchange, samples["b"].exchange) == ([8.0, 2.0], [3.0, 7.0])  # in the second round b is first
    assert (samples["a"].rounds, samples["b"].rounds) == ([1, 1], [2, 2])


def test_contestants_take_turns_after_pauses_and_nobody_is_always_first():
    """Kills: all rounds of one before the next, no pause between them, the same order in every round."""
    lab = Laboratory()
    lab.run({"a": lab.worker("a", 1.0), "b": lab.worker("b", 1.0), "c": lab.worker("c", 1.0)}, Plan(rounds=3, seconds=1.0))
    assert "".join(lab.log[6:]).replace("pause", "-") == "-a-b-c" "-b-c-a" "-c-a-b"  # before: two calls of each to get ready


def test_the_first_call_of_a_phase_is_not_counted():
    """It finds cold caches and sleeping threads. Kills: no warm-up call, the warm-up inside the time."""
    lab = Laboratory()
    slow_after_pause = lab.worker("f", lambda call: 9.0 if lab.log[-2:-1] == ["pause"] else 0.125)
    assert lab.run({"f": slow_after_pause}, Plan(rounds=3, seconds=0.25))["f"].rounds == [0.125] * 3


def test_short_calls_are_repeated_until_the_machine_is_awake():
    """After a pause everything is slow for a while. Kills: a single warm-up call, however short; a warm-up by the number of calls; its time not given up."""
    lab = Laboratory()
    awake = [0.0]

    def slow_for_a_while():
        awake[0] = lab.now + 0.0625 if lab.log and lab.log[-1] == "pause" else awake[0]
        lab.log.append("f")
        lab.now += 1 / 64 if lab.now < awake[0] else 1 / 256
    assert lab.run({"f": slow_for_a_while}, Plan(rounds=3, seconds=0.125, warm_up=0.0625))["f"].rounds == [1 / 256] * 3
    phases = "".join(lab.log).split("pause")[1:]
    assert {len(calls) for calls in phases} == {4 + 32}  # a sixteenth of a second of slow calls, then an eighth of fast ones


def test_one_slow_call_does_not_make_a_slow_phase():
    """Kills: the mean of the calls of a phase, or the slowest."""
    lab = Laboratory()
    one_in_four = lab.worker("f", lambda call: 3.0 if (call - 2) % 5 == 2 else 0.125)  # two to get ready, then a warm-up and four calls in each phase
    assert lab.run({"f": one_in_four}, Plan(rounds=3, seconds=0.5))["f"].rounds == [0.125] * 3


def test_a_call_longer_than_the_phase_is_called_once_and_not_warmed_up():
    """Kills: at least two calls of a training step that takes ten seconds."""
    lab = Laboratory()
    sample = lab.run({"step": lab.worker("step", 10.0)}, Plan(rounds=3, seconds=0.2))["step"]
    assert lab.log.count("step") == 2 + 3 and sample.calls == 3


def test_the_median_ignores_an_outlier_and_the_quartiles_show_it():
    """Kills: means, the minimum, the last round."""
    sample = Sample([1.0, 1.0, 1.0, 9.0, 1.0])
    assert sample.median == 1.0 and sample.spread == 0.0
    assert Sample([1.0, 2.0, 3.0, 4.0, 5.0]).quartiles == (2.0, 4.0) and Sample([1.0, 2.0, 3.0, 4.0, 5.0]).spread == pytest.approx(2 / 3)


def test_noisy_figures_are_refused():
    """Kills: a refusal that never comes, or always; the range for the quartiles."""
    plan = Plan(most_spread=0.15)
    assert Sample([1.0, 1.01, 0.99, 1.02, 1.0]).refusal(plan) is None
    assert Sample([1.0, 1.0, 1.0, 1.0, 7.0]).refusal(plan) is None  # one bad round in five
    assert "too noisy: the quartiles are 40% of the median apart, at most 15% count" == Sample([0.8, 0.8, 1.0, 1.2, 1.2]).refusal(plan)


def test_rounds_that_others_disturb_are_repeated_and_in_the_end_refused():
    """Kills: disturbed times kept although a quiet attempt followed, no limit on attempts, a refusal for a single disturbed round."""
    lab = Laboratory()
    speeds = iter([1.0, 1.0] + [5.0, 1.0] + [1.0] * 10)  # two calls to get ready; then the first attempt is disturbed, and slow
    plan = Plan(rounds=3, seconds=1.0)
    sample = lab.run({"f": lab.worker("f", lambda call: next(speeds))}, plan, Others(0.5, 0.01))["f"]
    assert sample.rounds == [1.0, 1.0, 1.0] and sample.disturbed == 0 and sample.refusal(plan) is None
    lab = Laboratory()
    sample = lab.run({"f": lab.worker("f", 1.0)}, plan, Others(*[0.5] * 100))["f"]
    assert sample.disturbed == 3 and lab.log.count("f") == 2 + 3 * measure.ATTEMPTS
    assert sample.refusal(plan) == "other processes took more than 6% of the machine in 3 of 3 rounds"
    assert Sample([1.0, 1.0, 1.0], disturbed=1).refusal(plan) is None


def test_ratios_are_taken_round_by_round():
    """The machine slows down between rounds; the ratio does not. Kills: the ratio of medians with the quartiles of either."""
    lab = Laboratory()
    ours, theirs = Sample([1.0, 2.0, 4.0]), Sample([2.0, 4.0, 8.0])
    assert ratio(ours, theirs) == (0.5, (0.5, 0.5)) and ours.spread > 0.5
    assert ratio(Sample([1.0, 2.0, 3.0]), Sample([1.0, 1.0, 1.0]))[1] == (1.5, 2.5)
    assert not lab.log


def test_a_cold_cache_is_swept_between_calls_outside_the_time(monkeypatch):
    """Kills: a sweep inside the time, once per phase, or in a warm run."""
    lab = Laboratory()
    monkeypatch.setattr(measure, "sweep_cache", lambda: lab.worker("sweep", 100.0))
    assert lab.run({"f": lab.worker("f", 0.5)}, Plan(rounds=2, seconds=1.0, cache="cold"))["f"].rounds == [0.5, 0.5]
    assert lab.log[3:] == ["pause", "f", "sweep", "f", "sweep", "f"] * 2
    lab.log.clear()
    lab.run({"f": lab.worker("f", 0.5)}, Plan(rounds=2, seconds=1.0))
    assert "sweep" not in lab.log


def test_each_runs_in_its_own_surroundings():
    """Kills: the number of threads of one left to the next."""
    lab, inside = Laboratory(), []

    def surroundings(name):
        @contextmanager
        def enter():
            inside.append(name)
            yield
            inside.remove(name)
        return enter

    def expects(name):
        return lambda: [inside] == [[name]] or pytest.fail(f"{name} ran in {inside}")
    lab.run({"a": expects("a"), "b": expects("b")}, Plan(rounds=2, seconds=0), around={"a": surroundings("a"), "b": surroundings("b")})
    assert not inside


def test_other_processes_are_what_the_machine_did_beyond_us(monkeypatch):
    """Kills: idle time counted as busy, our own time counted as theirs, one core's share for the machine's."""
    readings = iter([(10.0, 50.0, 20.0), (12.0, 53.0, 21.5)])  # wall, all processors' busy seconds, our own
    others = measure.OtherProcesses()
    others.known = True
    monkeypatch.setattr(others, "_seconds", lambda: next(readings))
    monkeypatch.setattr(measure.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(measure.os, "sysconf", lambda name: 100)
    others.start()
    assert others.share() == pytest.approx((3.0 - 1.5 - 0.02) / (2.0 * 4))
