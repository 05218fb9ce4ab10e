"""`tinycnn lecture`: what all claims share. The list, the memory of results, stopping and going on, what is an effect and what is noise, how answers are shown."""
import json
import math
from types import SimpleNamespace

import pytest
from cli_runs import failure

from tinycnn import lecture
from tinycnn.cli import main
from tinycnn.lecture import noise, relu, report, runner
from tinycnn.lecture.claim import DID_NOT_HOLD, HELD, IN_PART, NOT_SHOWN, CannotRun, Plan, Report
from tinycnn.train import Interrupted


def test_the_list(capsys):
    """Kills: a claim that is not listed or has no title, numbers that are not the slides'."""
    main(["lecture"])
    lines = capsys.readouterr().out.splitlines()
    for number, (name, line) in enumerate(zip(lecture.NAMES, lines), 1):
        assert line.split(maxsplit=2) == [f"{number}.", name, lecture.find(name).TITLE]


@pytest.mark.parametrize("name", lecture.NAMES)
def test_every_claim_has_its_parts(name):
    """Kills: a claim without quotation; cells that are computed anew each time, being no plain values; modes that are all the same; seeds that are ignored."""
    claim = lecture.find(name)
    assert claim.SLIDES and claim.PAPER and claim.__doc__.startswith(f"Claim {lecture.NAMES.index(name) + 1}: ")
    cells = {mode: claim.cells(Plan(mode)) for mode in ("quick", "default", "full")}
    for plan in cells.values():
        assert plan and json.loads(json.dumps(plan)) == plan
        assert len({runner.name(cell) for cell in plan}) == len(plan)
    if "seed" in cells["quick"][0]:
        assert cells["quick"] != cells["default"] != cells["full"]
        assert {cell["seed"] for cell in claim.cells(Plan("quick", seeds=4))} == {0, 1, 2, 3}
        assert all(cell["data"] == "somewhere" for cell in claim.cells(Plan("quick", "somewhere")))


def counting(cells, stop_at=None):
    """A claim that squares numbers and remembers which it was asked for; at `stop_at` somebody presses Ctrl-C."""
    def compute(cell, place):
        place.folder.mkdir(parents=True, exist_ok=True)
        asked.append(cell["number"])
        if cell["number"] == stop_at:
            raise KeyboardInterrupt
        return {"square": cell["number"] ** 2, "pair": (1, 2)}
    asked = []
    return SimpleNamespace(cells=lambda plan: [{"number": number} for number in cells], compute=compute, asked=asked)


def test_an_experiment_goes_on_where_it_stopped(tmp_path):
    """Kills: cells computed twice or never, results in another order, results that differ when read again, folders of finished cells that stay."""
    with pytest.raises(KeyboardInterrupt):
        runner.run(counting([3, 1, 4, 1.5], stop_at=4), Plan(), tmp_path, runner.Bars(quiet=True))
    again = counting([3, 1, 4, 1.5])
    rows = runner.run(again, Plan(), tmp_path, runner.Bars(quiet=True))
    assert again.asked == [4, 1.5] and rows == [{"number": n, "square": n ** 2, "pair": [1, 2]} for n in (3, 1, 4, 1.5)]
    assert [path.name for path in tmp_path.iterdir()] == ["results.jsonl"]
    assert runner.key({"a": 1, "b": 2}) == runner.key({"b": 2, "a": 1}) != runner.key({"a": 1, "b": 2.5})
    more = counting([1, 5, 3])
    assert [row["square"] for row in runner.run(more, Plan(), tmp_path, runner.Bars(quiet=True))] == [1, 25, 9] and more.asked == [5]


def test_half_a_line_is_forgotten(tmp_path):
    """What a killed program was writing. Kills: a file that cannot be read for ever after, a line appended to half a line."""
    runner.run(counting([1, 2]), Plan(), tmp_path, runner.Bars(quiet=True))
    path = tmp_path / "results.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    again = counting([1, 2])
    runner.run(again, Plan(), tmp_path, runner.Bars(quiet=True))
    assert again.asked == [2] and [json.loads(line)["cell"]["number"] for line in path.read_text().splitlines()] == [1, 2]


def test_what_cannot_be_computed_here(tmp_path, capsys):
    """Is left out with its reason, told once, and computed where it can be. Kills: a claim that fails for a cell, a cell without result that counts as computed."""
    def compute(cell, place):
        if cell["number"] > 1:
            raise CannotRun("it takes a larger machine")
        return {"square": 1}
    claim = counting([2, 1, 3])
    rows = runner.run(SimpleNamespace(cells=claim.cells, compute=compute), Plan(), tmp_path, runner.Bars())
    assert rows == [{"number": 1, "square": 1}] and capsys.readouterr().out == "left out: it takes a larger machine\n"
    assert [row["square"] for row in runner.run(claim, Plan(), tmp_path, runner.Bars(quiet=True))] == [4, 1, 9] and claim.asked == [2, 3]


def test_what_is_an_effect():
    """The margins of Student's t, by hand. Kills: the deviation of n instead of n - 1, one quantile for every n, an effect seen in one seed."""
    found = noise.difference([0.5, 0.7, 0.9], [0.4, 0.5, 0.6])  # 0.1, 0.2, 0.3
    assert (found.mean, found.margin) == (pytest.approx(0.2), pytest.approx(4.30 * 0.1 / math.sqrt(3)))
    assert found.verdict == NOT_SHOWN
    assert noise.difference([0.5, 0.6, 0.7], [0.4, 0.5, 0.6]).verdict == HELD
    assert noise.difference([0.4, 0.5, 0.6], [0.5, 0.6, 0.7]).verdict == DID_NOT_HOLD
    assert noise.difference([9.0], [0.0]).verdict == noise.difference([], []).verdict == noise.scatter([0.0, 0.0]).verdict == NOT_SHOWN
    assert noise.scatter([1.0, 2.0] * 50).margin < noise.scatter([1.0, 2.0]).margin / 10
    assert [noise.together(verdicts) for verdicts in ([HELD, HELD], [HELD, NOT_SHOWN], [NOT_SHOWN, DID_NOT_HOLD], [DID_NOT_HOLD])] == [
        HELD, IN_PART, NOT_SHOWN, DID_NOT_HOLD]


def test_epochs_until():
    """Kills: whole epochs only, a target that counts as reached before it is, a network that never gets there counted as one that does."""
    assert relu.epochs_until([0.6, 0.2, 0.1], 0.4) == pytest.approx(1.5)
    assert relu.epochs_until([0.5], 0.75) == pytest.approx(0.5) and relu.epochs_until([0.5, 0.3], 0.3) == pytest.approx(2)
    assert relu.epochs_until([0.5, 0.3], 0.2) == relu.epochs_until([], 0.2) == math.inf


@pytest.mark.parametrize("slower, verdict", [([5.0, 6.0, 7.0], HELD), ([1.5, 1.6, 1.7], IN_PART), ([0.5, 1.0, 2.0], NOT_SHOWN), ([0.5, 0.4, 0.45], DID_NOT_HOLD)])
def test_relu_is_judged_by_its_results(slower, verdict):
    """Kills: a verdict that does not look; the slowest rate taken for the best."""
    def row(activation, lr, seed, epochs):
        return {"activation": activation, "lr": lr, "seed": seed, "epochs": 99, "data": "bundled",
                "train_error": [1 - 0.99 * min(1, epoch / epochs) for epoch in range(1, 100)]}
    rows = [row(activation, lr, seed, factor * (2 * slow if activation == "tanh" else 2)) for seed, slow in enumerate(slower)
            for lr, factor in ((0.1, 3), (0.2, 1), (0.3, 2)) for activation in ("relu", "tanh")]
    answer = relu.report(rows)
    assert answer.verdict == verdict and answer.table[-1][2] == answer.table[-1][4] == "0.2" and len(answer.table) == 9
    assert relu.report([{**row, "train_error": row["train_error"][:1]} for row in rows[:2]]).verdict == NOT_SHOWN


def test_how_it_is_shown(tmp_path):
    """Kills: text that HTML reads as markup, numbers missing from the page."""
    claim = SimpleNamespace(TITLE="a < b & c", SLIDES="s<1>", PAPER="p<2>", draw=lambda figure, rows: figure.subplots().plot(rows))
    answer = Report(("<x>", "y"), [("long name", "1"), ("n", "23,456")], HELD, "It is <so>.", ("Another <world>.",), (("z", "<v>"), [("m", "<7>")]))
    report.write(tmp_path, 7, "name", claim, [1, 2], answer)
    page = (tmp_path / "report.html").read_text()
    for text in ("7. a &lt; b &amp; c", "s&lt;1&gt;", "p&lt;2&gt;", "<th>&lt;x&gt;</th>", "<td>23,456</td>", "It is &lt;so&gt;.", "Another &lt;world&gt;",
                 "<th>&lt;v&gt;</th>", "<td>&lt;7&gt;</td>"):
        assert text in page
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert page.count("<table>") == page.count("</table>") == 2
    assert report.conclusion(answer).splitlines()[:8] == ["<x>             y", "-----------------", "long name       1", "n          23,456", "",
                                                          "z  <v>", "------", "m  <7>"]
    assert report.conclusion(answer._replace(second=None)).splitlines()[5] == "verdict: it holds. It is <so>."


def test_a_claim_from_the_command_line(capsys, tmp_path, monkeypatch, digits, reference_kernels):
    """On a few tiny images. Kills: results computed again, --fresh or --seeds ignored, a report that is not written."""
    monkeypatch.chdir(tmp_path)
    computed = []
    monkeypatch.setattr(relu, "curves", lambda *place, seed, **asked: computed.append(seed) or {"train_error": [0.5, 0.1]})
    command = ["lecture", "relu", "--quick", "--data", digits, "-q"]
    main([*command, "--seeds", "1"])
    output, folder = capsys.readouterr().out, tmp_path / "runs" / "lecture" / "relu-quick"
    assert output.startswith(f"3. relu: {relu.TITLE}") and "verdict: not shown here" in output
    assert sorted(path.name for path in folder.iterdir()) == ["plot.png", "report.html", "results.jsonl"]
    main([*command, "--seeds", "2"])
    assert computed == [0] * 6 + [1] * 6
    main([*command, "--seeds", "2"])
    assert len(computed) == 12
    main([*command, "--seeds", "1", "--fresh"])
    assert len(computed) == 18
    assert "did you mean 'relu'? (`tinycnn lecture` lists all of them)" in failure(capsys, ["lecture", "rely"], 2)
    assert "several claims have a folder each" in failure(capsys, ["lecture", "relu", "conv1", "--out", "x"], 2)


def test_ctrl_c_within_a_training_run(tmp_path, monkeypatch, digits, reference_kernels):
    """The stopped and resumed claim has the results of the one that never stopped. Kills: a run that begins anew, that is lost, or that has another's folder."""
    plan, stopped = Plan("quick", digits, seeds=1), Stopping(quiet=True)
    cells = relu.cells(plan)[:2]
    monkeypatch.setattr(relu, "cells", lambda plan: cells)
    with pytest.raises(Interrupted):
        runner.run(relu, plan, tmp_path / "stopped", stopped)
    kept = list((tmp_path / "stopped" / "under-way").iterdir())
    assert len(kept) == 1 and (kept[0] / "last.safetensors").exists()
    steps = Stopping(quiet=True, after=None)
    rows = runner.run(relu, plan, tmp_path / "stopped", steps)
    assert rows == runner.run(relu, plan, tmp_path / "whole", runner.Bars(quiet=True))
    assert all(len(row["train_error"]) == 5 for row in rows) and steps.steps + stopped.steps == 2 * 5


def test_to_forget(tmp_path):
    """Kills: a stopped run that is gone on with although a fresh one was asked for; other files deleted."""
    with pytest.raises(KeyboardInterrupt):
        runner.run(counting([3, 1], stop_at=1), Plan(), tmp_path, runner.Bars(quiet=True))
    (tmp_path / "mine").mkdir()
    assert (tmp_path / "under-way").exists() and (tmp_path / "results.jsonl").exists()
    runner.forget(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


class Stopping(runner.Bars):
    """Presses Ctrl-C after so many steps."""

    def __init__(self, quiet, after=7):
        super().__init__(quiet)
        self.after, self.steps = after, 0

    def step(self, trainer, images):
        super().step(trainer, images)
        self.steps += 1
        trainer.stop.requested |= self.steps == self.after
