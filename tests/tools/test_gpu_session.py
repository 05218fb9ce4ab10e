"""The session on a GPU: that nothing that happens to a step stops it, on steps that fail in all ways; and what its steps are."""
import json
import sys
import time

import pytest

from tinycnn.bench import session
from tinycnn.bench.session import Step


def python(program, name="step", seconds=60, **more):
    return Step(name, [sys.executable, "-c", program], seconds, **more)


def test_whatever_happens_to_a_step_is_recorded_and_the_next_one_runs(tmp_path):
    """Kills: an exception for a crash, a time-out that waits for a child of the child, a missing program that counts as a failure, a log that is lost."""
    hangs = "import subprocess, sys, time; print('begun', flush=True); subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); time.sleep(600)"
    todo = [python("print('fine')", "good"), python("print('no such chip'); raise SystemExit(3)", "bad"), python("import os; os.abort()", "crash"),
            python(hangs, "hangs", 3), python("", "absent", needs="no-such-program"), Step("nowhere", ["/no/such/file"], 5), python("print('last')", "last")]
    said, began = [], time.monotonic()
    records = session.run(todo, tmp_path, 3600, None, said.append)
    assert [record["status"] for record in records] == ["passed", "failed", "failed", "timed out", "skipped", "failed", "passed"]
    assert records[1]["why"] == "ended with 3: no such chip" and records[2]["why"].startswith("ended with -6") and records[3]["why"] == "after 3 s: begun"
    assert records[4]["why"] == "there is no no-such-program here" and "No such file" in records[5]["why"]
    assert (tmp_path / "00-good.log").read_text() == "fine\n" and time.monotonic() - began < 600
    assert json.loads((tmp_path / "session.json").read_text())["steps"] == records
    assert "| hangs | timed out | " in (tmp_path / "README.md").read_text() and "  bad: failed (ended with 3: no such chip)" in said


def test_results_are_there_after_each_step(tmp_path):
    """Kills: records that are written at the end only."""
    program = f"import json; print([step['name'] for step in json.load(open({str(tmp_path / 'session.json')!r}))['steps']])"
    session.run([python("", "first"), python(program, "second")], tmp_path, 3600, None, lambda text: None)
    assert (tmp_path / "01-second.log").read_text() == "['first']\n"


def test_time_is_kept_for_the_last_step(tmp_path, monkeypatch):
    """By a clock of the test. Kills: a costly step that takes the time of the tables, a limit that ignores what is left, a step begun with no time."""
    now, limits = [0.0], []

    def attempt(command, seconds, log, environment):
        limits.append(seconds)
        now[0] += 100
        return {"status": "passed", "seconds": 100.0, "why": ""}
    monkeypatch.setattr(session, "attempt", attempt)
    todo = [Step("a", [], 90), Step("b", [], 500), Step("c", [], 500), Step("d", [], 10), Step("end", [], 60, goes=True)]
    records = session.run(todo, tmp_path, 260, None, lambda text: None, clock=lambda: now[0])
    assert limits == [90, 260 - 100 - session.RESERVED, 60] and [record["status"] for record in records] == ["passed", "passed", "skipped", "skipped", "passed"]
    assert records[2]["why"] == "no time was left"


def test_what_is_not_timed_goes_on_at_once(tmp_path):
    """Each of two steps waits for the other. Kills: one after the other, a step that is timed and begins before they are done."""
    meets = ("import pathlib, time\npathlib.Path({0!r}).touch()\nwhile not pathlib.Path({1!r}).exists(): time.sleep(0.05)\n"
             "time.sleep(0.5)\npathlib.Path({0!r}).write_text('done')")
    here, there = str(tmp_path / "here"), str(tmp_path / "there")
    todo = [python(meets.format(here, there), "a", beside=True), python(meets.format(there, here), "b", beside=True),
            python(f"print(open({here!r}).read(), open({there!r}).read())", "timed")]
    assert [record["status"] for record in session.run(todo, tmp_path, 3600, None, lambda text: None)] == ["passed"] * 3
    assert (tmp_path / "02-timed.log").read_text() == "done done\n"


@pytest.mark.parametrize("rows, ending, status, why", [
    ([1.0, 2.0], "", "passed", ""),
    ([1.0, None], "", "passed", "1 of 2 rows have a figure"),
    ([None, None], "", "failed", "0 of 2 rows have a figure"),
    (None, "", "failed", "0 of 0 rows have a figure"),
    ([1.0], "import time; time.sleep(600)", "timed out", "after 5 s: it said nothing; 1 of 1 rows have a figure"),
    ([1.0], "raise SystemExit(2)", "failed", "ended with 2: it said nothing"),
])
def test_a_step_is_judged_by_its_figures(tmp_path, rows, ending, status, why):
    """Kills: a benchmark that measured nothing and counts as passed; one whose time was up, of which nobody is told that it left something."""
    path = tmp_path / "figures.json"
    text = json.dumps({"rows": [{"value": value, "refused": "" if value else "too noisy"} for value in rows or ()]})
    write = "" if rows is None else f"open({str(path)!r}, 'w').write({text!r}); "
    step = Step("measures", [sys.executable, "-c", write + ending, "--json", str(path)], 5)
    record, = session.run([step], tmp_path, 3600, None, lambda text: None)
    assert (record["status"], record["why"]) == (status, why)


@pytest.mark.parametrize("minutes", [10, 30])
def test_what_a_session_does(tmp_path, minutes):
    """Kills: a step whose command is not one, costly steps first, two steps that write the same file, limits that leave no time for most."""
    from tinycnn.cli import cli
    todo = session.steps(tmp_path, minutes)
    assert len({step.name for step in todo}) == len(todo) and todo[-1].goes and not any(step.goes for step in todo[:-1])
    names = [step.name for step in todo]
    assert todo[0].needs == "nvidia-smi" and names.index("conv-one") < names.index("training") < names.index("conv-vgg16")
    assert max(names.index(step.name) for step in todo if step.beside) < names.index("conv-one")
    for step in todo:
        if "bench" in step.command and "tinycnn.cli" in step.command:  # click reads the options, and measures nothing
            level, *arguments = step.command[4:]
            command = cli.commands["bench"].commands[level]
            with command.make_context(level, list(arguments)) as context:
                assert context.params["device"] == "cuda" and context.params["json_file"] == (None if step.beside else str(tmp_path / f"{step.name}.json"))
                assert not step.beside or (context.params["rivals"], context.params["rounds"]) == ("none", 1)
        if "pytest" in step.command:
            assert all((session.ROOT / argument).exists() for argument in step.command if argument.startswith("tests/"))
    assert len(todo) == len(session.steps(tmp_path, minutes, rehearse=True))


def test_some_of_the_steps(tmp_path, capsys):
    """Kills: a benchmark that nothing makes ready, or whose time makes others ready too; a session that does not say on what it ran, or draws nothing; another order; a
    wrong name that nobody is told of."""
    todo = session.steps(tmp_path, 10)
    chosen = session.chosen_steps(todo, ["inference", "kernels"])
    assert [step.name for step in chosen] == ["device", "software", "packages", "kernels", "inference-ready", "inference", "tables-and-plots"]
    assert all(step in todo for step in chosen)
    with pytest.raises(SystemExit, match="no step inferense, trainings; there are device, software, .*inference-others, .*tables-and-plots"):
        session.chosen_steps(todo, ["trainings", "inference", "inferense"])
    assert session.main(["--list", "--only", "memcheck,conv-one", "--out", str(tmp_path)]) is None
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["device", "software", "packages", "memcheck", "conv-one", "tables-and-plots"]


def test_what_is_drawn_at_the_end(tmp_path, capsys):
    """Kills: one broken file that hides all others, tables that come only after all plots."""
    from tinycnn.bench.results import Results, Row
    rows = [Row("conv", "net", "3x3", "forward", name, name, value=value, math="fp32", quartiles=(value, value), rounds=(value,), flops=1e6, bytes=1e3, gflops=1.0,
                choice=choice, ratio=ratio) for name, value, choice, ratio in (("tinycnn", 2.0, "", None), ("cudnn", 1.0, "WINOGRAD, of WINOGRAD 1 ms", 2.0))]
    facts = {"gpu": {"device": "a chip", "simulated": False, "multiprocessors": 7}}
    peaks = [{"threads": 1, "math": "fp32", "gflops": 10.0, "gbps": 5.0, "by": "own kernels", "by_properties": {"fp32_gflops": 12.0}}]
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "b.json").write_text(Results(facts, peaks, {}, rows=rows).to_json())
    with pytest.raises(SystemExit, match="a.json: ValueError"):
        session.finish(tmp_path)
    text = (tmp_path / "tables.md").read_text()
    assert "| cudnn (WINOGRAD) | 1 ms | 1-1 | 2 |  | 50 |" in text and "**3x3, forward, batch 1, on the GPU, fp32**" in text and "GPU: a chip; multiprocessors 7" in text
    assert "fp32: peak 10 GFLOP/s, 5 GB/s copying, measured by own kernels; by the device's properties 12 fp32 gflops" in text
    assert sorted(path.name for path in (tmp_path / "plots" / "b").iterdir()) == ["bars-conv-net-forward-b1-fp32.png", "roofline-conv-net-forward-b1-fp32.png"]
