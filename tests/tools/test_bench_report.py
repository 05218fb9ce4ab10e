"""From answers to verdicts, tables, files and pictures."""
import json

import numpy as np
import pytest

import tinycnn
from tinycnn import models
from tinycnn.bench import kernels, networks, plots, processes, report, truth
from tinycnn.bench.layers import Layer
from tinycnn.bench.measure import Plan, Sample
from tinycnn.bench.results import Results, Row, best_of, compare, timed
from tinycnn.bench.rivals.base import Contestant, Unsupported

PEAK = {"threads": 1, "gflops": 100.0, "gbps": 10.0}
PLAN = Plan(rounds=2, seconds=0, pause=0, most_spread=1e9, most_disturbed=1)


def empty():
    return Results({"processor": "P", "cores": 2}, [PEAK], {"rounds": 7, "seconds": 0.2, "pause": 0.03, "cache": "warm"})


class Fake(Contestant):
    """A library whose answers are the truth times something."""

    levels = ("conv",)

    def __init__(self, library, factor=1.0, later=None):
        super().__init__("default", 1)
        self.library, self.factor, self.later, self.calls = library, factor, later, 0

    def conv(self, layer, x, w, bias, dy):
        if self.library == "picky":
            raise Unsupported("not on Mondays")
        if self.library == "broken":
            raise OSError("no such chip")

        def forward():
            self.calls += 1
            factor = self.later if self.later is not None and self.calls > 2 else self.factor
            return truth.forward(x, w, bias, layer) * np.float32(factor)
        return {"forward": forward}


def test_only_right_answers_are_timed_and_everybody_else_is_named():
    """Kills: a wrong answer with a time, an answer that is checked only before (or only after) the timing, one failure that stops all, a ratio with a refused row."""
    layer, results = Layer("small", 2, 3, 5, 5, 4, 3, 3, bias=True, count=3), empty()
    contestants = [Fake("tinycnn"), Fake("right"), Fake("wrong", 1.01), Fake("spoils", 1.0, later=1.01), Fake("picky"), Fake("broken")]
    kernels.measure_layers(contestants, "set", [layer], results, ("forward", "input_grad"), PLAN, 1)
    rows = {row.contestant: row for row in results.rows}
    assert set(rows) == {"tinycnn", "right", "wrong", "spoils"} and all(row.what == "forward" for row in results.rows)
    assert rows["right"].counts and rows["right"].ratio > 0 and rows["right"].error < 1e-5 > rows["right"].error_after and rows["right"].count == 3
    assert rows["wrong"].refused.startswith("wrong: off by 0.0") and rows["wrong"].value is None and contestants[2].calls == 1
    assert rows["spoils"].refused.startswith("wrong after the timing") and rows["spoils"].ratio is None
    assert results.skipped == {"picky on small": "not on Mondays", "broken on small": "OSError: no such chip"}


def test_speeds_and_roofline_by_hand():
    """Kills: nanoseconds for milliseconds, bytes for bits, the roofline upside down, the slower bound forgotten."""
    row = timed(Row("conv", "g", "c", "forward", "a", "a"), Sample([0.5, 0.5, 0.5]), PEAK, Plan(), flops=10e9, moved=4e9)
    assert (row.value, row.gflops, row.gbps, row.bound) == (500, 20, 8, "memory") and row.roofline == pytest.approx(100 * 0.4 / 0.5)
    row = timed(Row("conv", "g", "c", "forward", "a", "a"), Sample([0.5]), PEAK, Plan(), flops=40e9, moved=1e9)
    assert row.bound == "arithmetic" and row.roofline == pytest.approx(80)
    assert timed(row, Sample([0.5]), PEAK, Plan(), flops=40e9, moved=1e9, least=0.1).roofline == pytest.approx(20)
    assert timed(Row("conv", "g", "c", "forward", "a", "a", refused="wrong"), Sample([1.0]), PEAK, Plan()).refused == "wrong"
    assert "too noisy" in timed(Row("conv", "g", "c", "forward", "a", "a"), Sample([1.0, 2.0, 3.0]), PEAK, Plan()).refused


def some_results():
    """Two layers of a set, four contestants; one refused figure."""
    results = empty()
    times = {"tinycnn": (2.0, 1.0), "fast nchw": (8.0, 1.5), "fast nhwc": (4.0, 2.0), "slow": (9.0, 9.0)}
    for i, (case, count) in enumerate((("a", 1), ("b", 10))):
        samples, rows = {}, []
        for name, seconds in times.items():
            samples[name] = Sample([1e-3 * seconds[i]] * 3)
            row = Row("conv", "net", case, "forward", name, name.split()[0], 16, 1, count=count, error=1e-6)
            rows.append(timed(row, samples[name], PEAK, Plan(), flops=1e6 * (i + 1), moved=1e5))
        if case == "b":
            rows[3].refused = "too noisy: it shook"
        compare(rows, samples)
        results.rows += rows
    results.skipped["absent"] = "cannot be imported"
    return results


def test_the_best_of_a_rivals_settings_counts_and_sums_count_layers_as_often_as_they_occur():
    """Kills: the first setting, the sum of minima over different tasks for ours, a refused row in a sum, counts ignored."""
    results = some_results()
    first, second = results.tasks().values()
    assert {library: row.contestant for library, row in best_of(first).items()} == {"tinycnn": "tinycnn", "fast": "fast nhwc", "slow": "slow"}
    assert set(best_of(second)) == {"tinycnn", "fast"} and best_of(second)["fast"].contestant == "fast nchw"
    sums = report.sums(results)[("conv", "net", "forward", 16, 1, "")]
    assert sums["fast"] == pytest.approx([2 + 10 * 1, 4 + 10 * 1.5, 2]) and sums["slow"] == pytest.approx([2, 9, 1])
    assert sums["the fastest of them"] == pytest.approx([12, 19, 2])
    assert [row.ratio for row in first] == [None, 0.25, 0.5, pytest.approx(2 / 9)] and second[3].ratio is None


def test_the_table_says_what_it_must():
    """Kills: a refused row with a figure, a row without its error, nobody told who is missing, headings without the machine."""
    results = some_results()
    results.rows[1].default_malloc = 9.9
    results.rows[0].note = "batch 16 of 128"
    text = report.table(results)
    assert "a, forward, batch 16 (batch 16 of 128), 1 thread" in text and "b (x10), forward" in text
    line = next(line for line in text.splitlines() if line.startswith("  fast nhwc"))
    assert line.split() == ["fast", "nhwc", "4", "ms", "4-4", "0.5", "0.5-0.5", "0.25", "0.025", "0", "1.0e-06"]
    assert "8 ms (default malloc 9.9)" in text
    assert [line for line in text.splitlines() if "refused" in line] == ["  slow       refused: too noisy: it shook"]
    assert "absent: cannot be imported" in text and "peak 100 GFLOP/s in registers, 10 GB/s copying" in text
    assert "net, forward, batch 16, 1 threads: tinycnn 12 ms, fast 19 ms: 0.63  (2 layers)" in text
    markdown = report.table(results, markdown=True)
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert table[1] == "|---|" + "---:|" * 8 and table[2].startswith("| tinycnn | 2 ms |")


def test_it_is_said_where_cores_were_far_apart():
    """Kills: nothing said where they were far all the time, something said of figures that differ by noise, or of runs that have none."""
    results = some_results()
    assert "far apart" not in report.table(results)
    rows = list(results.tasks().values())
    for task, figures in zip(rows, ((7.0, 8.0), (2.0, 7.5))):
        for row in task:
            row.exchange = figures
    for markdown in (False, True):
        lines = [line.strip() for line in report.table(results, markdown).splitlines() if "far apart" in line]
        assert lines == ["cores far apart some of the time: they exchanged 2 to 7.5 GB/s, at most 8 in this run"]
    for row in rows[1]:
        row.exchange = (2.0, 3.0)
    assert "cores far apart all the time: they exchanged 2 to 3 GB/s, at most 8 in this run" in report.table(results)


def test_results_survive_a_file():
    """Kills: a field that is not written, or comes back as something else; a file of another kind that is taken for results."""
    results = some_results()
    text = results.to_json()
    assert Results.from_json(text) == results
    data = json.loads(text)
    assert set(data) == {"schema", "environment", "peaks", "settings", "contestants", "skipped", "rows"} and data["schema"] == 1
    assert {"level", "group", "case", "what", "contestant", "library", "batch", "threads", "cache", "value", "unit", "quartiles", "rounds", "gflops", "gbps", "roofline",
            "error", "error_after", "ratio", "ratio_quartiles", "refused", "disturbed", "exchange", "default_malloc"} <= set(data["rows"][0])
    for other in ("[]", '{"schema": 0}', '{"rows": []}'):
        with pytest.raises(ValueError, match="schema"):
            Results.from_json(other)


def test_pictures(tmp_path):
    """Kills: a refused figure in a picture, the wrong setting, a picture that is no file, scaling drawn from one point."""
    results = some_results()
    results.rows += [Row("conv", "noise", "a", "forward", "tinycnn", "tinycnn", batch, value=1.0, refused="too noisy") for batch in (1, 2)]
    found = plots.draw(results, tmp_path / "new" / "folder")
    assert sorted(path.name for path in found) == ["bars-conv-net-forward-b16-t1.png", "roofline-conv-net-forward-b16-t1.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in found)
    heights = [patch.get_height() for patch in plots.bars([row for row in results.rows if row.counts], "").axes[0].patches]
    assert sorted(heights) == pytest.approx([1, 1, 1.5, 2, 4.5])
    results.rows += [Row("inference", "net", "net", "inference", "tinycnn", "tinycnn", batch, value=batch * 2.0 + 1) for batch in (1, 16)]
    found = plots.draw(results, tmp_path)
    assert [path.name for path in found if path.name.startswith(("batch", "threads", "size"))] == ["batch-inference-net-net-inference-1-0.png"]
    lines = plots.scaling(results.rows[-2:], "batch", "").axes[0].lines
    assert [line.get_xydata().tolist() for line in lines] == [[[1, 3], [16, 33 / 16]]]


class FakeStep:
    """A step of training with gradients of the reference, times something."""

    def __init__(self, model, x, target, factor):
        from tinycnn.bench.rivals.ours import Step
        self.step, self.factor, self.switched = Step(model, tinycnn.from_numpy(x), tinycnn.from_numpy(target)), factor, []

    def dropout(self, on):
        self.switched.append(on)
        self.step.dropout(on)

    def __call__(self):
        with tinycnn.use_kernels("reference"):
            self.step()

    def gradients(self):
        loss, gradients = self.step.gradients()
        return loss, {name: gradient * self.factor for name, gradient in gradients.items()}


class FakeTrainer(Contestant):
    levels = ("inference", "training")

    def __init__(self, library, factor):
        super().__init__("default", 1)
        self.library, self.factor = library, factor

    def inference(self, model, graph, x):
        from tinycnn.bench.rivals.ours import Ours
        run = Ours("default", 1).inference(model, graph, x)

        def scores():
            with tinycnn.use_kernels("reference"):
                return run().array * np.float32(self.factor)
        return scores

    def training(self, model, graph, x, target):
        model = models.alexnet(**OPTIONS, init="he") if self.library == "other weights" else networks.build("alexnet", OPTIONS)
        self.step = FakeStep(model, x, target, self.factor)
        return self.step


OPTIONS = {"width": 0.05, "image_size": 16, "num_classes": 5}


def test_networks_are_judged_by_float64_gradients_and_scores():
    """AlexNet, whose dropout must be off when gradients are compared and on when they are timed. Kills: gradients or scores that are not looked at, dropout on in the
    comparison, a truth with other weights than the contestants have."""
    results = empty()
    tinycnn.manual_seed(99)
    contestants = [FakeTrainer("tinycnn", 1.0), FakeTrainer("double", 2.0), FakeTrainer("other weights", 1.0)]
    networks.measure_network(contestants, "alexnet", "training", 2, results, PLAN, 1, OPTIONS)
    networks.measure_network(contestants[:2], "alexnet", "inference", 2, results, PLAN, 1, OPTIONS)
    training, inference = ({row.contestant: row for row in results.rows if row.what == what} for what in ("training", "inference"))
    assert training["tinycnn"].counts and training["tinycnn"].error < 1e-5 and training["tinycnn"].error_after < 1e-5
    assert training["double"].refused.startswith("wrong: off by 1") and training["other weights"].refused.startswith("wrong")
    assert inference["tinycnn"].counts and inference["double"].refused.startswith("wrong")
    assert contestants[0].step.switched == [False, True, False, True]  # off to compare, on while it is timed
    assert training["tinycnn"].flops > 2 * inference["tinycnn"].flops > 0


def test_layers_of_a_network_one_by_one():
    """Kills: the same layer measured twice, counts lost, gradients of weights not looked at, dropout measured at inference."""
    results = empty()

    class Layers(FakeTrainer):
        def layer(self, model, graph, x, dy):
            from tinycnn.bench.rivals.ours import Ours
            run = Ours("default", 1).layer(model, graph, x, dy)

            def gradients():
                with tinycnn.use_kernels("reference"):
                    dx, *weights = run()
                return dx.array, *(weight.array * np.float32(self.factor) for weight in weights)
            return gradients
    networks.measure_network_layers([Layers("tinycnn", 1.0), Layers("double", 2.0)], "lenet5", 2, results, PLAN, 1, {"init": None})
    cases = list(dict.fromkeys((row.case, row.count) for row in results.rows))
    assert [case for case, _ in cases] == ["conv 5x5 1x32x32 -> 6", "relu 6x28x28", "max_pool 2x2 6x28x28 stride 2", "conv 5x5 6x14x14 -> 16", "relu 16x10x10",
                                           "max_pool 2x2 16x10x10 stride 2", "linear 400 -> 120", "relu 120", "linear 120 -> 84", "relu 84", "linear 84 -> 10"]
    ours = [row for row in results.rows if row.contestant == "tinycnn"]
    assert all(row.counts and row.error < 1e-5 for row in ours) and {row.what for row in ours} == {"forward", "training"}
    wrong = {(row.case, row.what) for row in results.rows if row.contestant == "double" and row.refused}
    assert ("conv 5x5 6x14x14 -> 16", "training") in wrong and ("linear 120 -> 84", "training") in wrong and ("relu 120", "training") not in wrong


def test_memory_and_startup_rows_come_from_processes(monkeypatch):
    """Kills: memory in all for memory above, seconds for milliseconds, a failing child that ends the run."""
    def child(task, environment=None):
        if task["contestant"].startswith("dead"):
            raise RuntimeError("no such library")
        factor = 2 if task["contestant"].startswith("tinycnn") else 4
        return {"above": 100.0 * factor, "in all": 1000.0 * factor, "first": 0.5 * factor if environment else None, "later": 0.1}
    monkeypatch.setattr(processes, "run_child", child)
    monkeypatch.setattr(processes, "last_line", lambda command: 0.25)
    monkeypatch.setattr(processes, "IMPORTS", {"tinycnn": "a", "other": "b", "dead": "c"})
    results, contestants = empty(), [FakeTrainer("tinycnn", 1), FakeTrainer("other", 1), FakeTrainer("dead", 1)]
    processes.measure_memory(contestants, "vgg16", "training", 16, results, PLAN, 1)
    values = {(row.what, row.contestant): (row.value, row.unit, row.ratio) for row in results.rows if not row.refused}
    assert values[("training, peak above the prepared network", "other")] == (400, "MiB", 0.5) and values[("training, peak in all", "tinycnn")] == (2000, "MiB", None)
    assert [row.refused for row in results.rows if row.contestant == "dead"] == ["fails: no such library"] * 2
    results.rows.clear()
    processes.measure_startup(contestants, "vgg16", "inference", 1, results, PLAN, 1)
    assert {(row.what, row.contestant): row.value for row in results.rows if row.counts} == {
        ("import", "tinycnn"): 250, ("import", "other"): 250, ("import", "dead"): 250, ("nothing compiled", "tinycnn"): 1000, ("compiled before", "tinycnn"): 1000,
        ("nothing compiled", "other"): 2000, ("compiled before", "other"): 2000}
