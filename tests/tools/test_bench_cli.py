"""`tinycnn bench` as a user calls it."""
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tinycnn.bench import run, validate
from tinycnn.bench.results import Results, Row
from tinycnn.cli import cli

BYOK = Path(__file__).parents[2] / "benchmarks" / "byok"


def bench(*arguments):
    return CliRunner().invoke(cli, ["bench", *map(str, arguments)])


@pytest.fixture
def quickly(monkeypatch):
    """No measurement of the machine."""
    monkeypatch.setattr(run, "peak", lambda threads: {"threads": threads, "gflops": 100.0, "gbps": 10.0})


@pytest.fixture
def layer(tmp_path):
    path = tmp_path / "small.json"
    shape = {"N": 2, "C": 3, "H": 6, "W": 5, "K": 4}
    path.write_text(json.dumps({"layers": [{"name": "one", **shape, "R": 3, "S": 3}, {"name": "two", **shape, "R": 1, "S": 1}]}))
    return path


RUN = ("--rivals", "numpy", "--rounds", 2, "--seconds", 0, "--most-spread", 1e9, "--most-disturbed", 1, "--threads", 1)


def test_a_run_from_beginning_to_end(quickly, layer, tmp_path):
    """Kills: options that are not passed on, files that are not written, rows lost on the way to the file, results that `show` cannot read."""
    files = tmp_path / "r.json", tmp_path / "r.md", tmp_path / "plots"
    done = bench("conv", layer, "--pass", "forward", "--layer", "one", *RUN, "--json", files[0], "--markdown", files[1], "--plot", files[2])
    assert done.exit_code == 0, done.output
    results = Results.from_json(files[0].read_text())
    assert [(row.case, row.what, row.contestant, row.batch, row.threads, row.counts) for row in results.rows] == [
        ("one", "forward", "tinycnn", 2, 1, True), ("one", "forward", "numpy", 2, 1, True)]
    assert len(results.rows[0].rounds) == 2 == results.settings["rounds"] and results.rows[1].ratio > 0
    assert set(results.contestants) == {"tinycnn", "numpy"} and results.environment["libraries"]["numpy"]
    assert "Convolutions of small" in done.output and "one, forward, batch 2, 1 thread" in done.output and "| numpy |" in files[1].read_text()
    assert sorted(path.name for path in files[2].iterdir()) == ["bars-conv-small-forward-b2-t1.png", "roofline-conv-small-forward-b2-t1.png"]
    again = bench("show", files[0], "--markdown", tmp_path / "again.md")
    assert again.exit_code == 0 and (tmp_path / "again.md").read_text() == files[1].read_text()


def test_who_measures_on_a_busy_machine_is_told_what_to_do(quickly, layer, tmp_path):
    """Kills: a table of refusals that leaves its reader alone; the same advice where nothing was refused."""
    arguments = ("conv", layer, "--pass", "forward", "--layer", "one", "--rivals", "none", "--rounds", 3, "--seconds", 0, "--threads", 1, "--most-disturbed", 1)
    refused = bench(*arguments, "--most-spread", 0)
    assert "refused: too noisy" in refused.output and "--most-disturbed 1 --most-spread 1" in refused.output
    assert "--most-spread" not in bench(*arguments, "--most-spread", 1e9).output


def test_own_kernels_are_tried_before_they_are_timed(quickly, layer, tmp_path):
    """Kills: a wrong kernel that is timed, one that is right and is not, an exit code of 0 for wrong."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import numpy as np\n\n\ndef forward(x, w, bias, stride, padding, dilation, groups):\n    return np.zeros((1, 2, 3, 4), np.float32)\n")
    done = bench("conv", layer, "--kernel", wrong, *RUN)
    assert done.exit_code == 1 and "it must be (2, 4, 5, 4)" in done.output and "is not right yet: nothing was timed" in done.output and "..." not in done.output
    right = bench("conv", layer, "--kernel", BYOK / "im2col.py", *RUN, "--json", tmp_path / "r.json")
    assert right.exit_code == 0, right.output
    rows = json.loads((tmp_path / "r.json").read_text())["rows"]
    assert [row["what"] for row in rows if row["contestant"] == "im2col" and row["value"]] == ["forward", "input_grad", "weight_grad"] * 2
    nothing = tmp_path / "nothing.py"
    nothing.write_text("x = 1\n")
    assert "defines no forward" in str(bench("conv", layer, "--kernel", nothing).exception)


@pytest.mark.parametrize("name, forms, left_out", [("loops", 3, set()), ("im2col", 3, set()), ("tiled", 1, {"two groups", "depthwise"})])
def test_the_worked_examples_are_right(name, forms, left_out):
    """Kills: an example that is wrong, or claims more than it does."""
    from tinycnn.bench.rivals.own import OwnKernel
    findings = validate.check(OwnKernel(BYOK / f"{name}.py", 2))
    assert len({finding.form for finding in findings}) == forms
    assert {finding.case.name for finding in findings if finding.fault} == left_out == {finding.case.name for finding in findings if finding.unsupported}


def test_what_the_machine_is(quickly, tmp_path):
    """Kills: facts that are printed twice, a library that is neither here nor left out, nothing kept."""
    done = bench("machine", "--rivals", "numpy,standin", "--threads", 1, "--json", tmp_path / "m.json")
    assert done.exit_code == 1 and "unknown rival 'standin'" in str(done.exception)
    done = bench("machine", "--rivals", "numpy", "--threads", 1, "--json", tmp_path / "m.json")
    assert done.exit_code == 0 and "1 thread: peak 100 GFLOP/s" in done.output and "\nnumpy  " in done.output and done.output.count("GFLOP/s") == 1
    assert Results.from_json((tmp_path / "m.json").read_text()).peaks[0]["gbps"] == 10


def test_listing_layers_measures_nothing():
    """Kills: --list that begins a run, a cut batch that is not told."""
    done = bench("conv", "--list", "convnet_benchmarks", "resnet50", "--batch", 4)
    assert done.exit_code == 0 and "L2                       batch 8 (published: 128): 64x64x64 -> 128, 9x9" in done.output
    assert "layer4.0.conv1" in done.output and "batch 4: " in done.output and "..." not in done.output


def test_networks_take_their_options(quickly, monkeypatch):
    """Kills: quick, batch, threads, image size or options of networks not passed on; the wrong default networks."""
    seen = []
    monkeypatch.setattr(run.networks, "measure_network", lambda everybody, name, level, batch, results, plan, threads, options, tell:
                        seen.append((name, level, batch, threads, options, plan.rounds)))
    assert bench("inference", "lenet5", "--rivals", "none", "--batch", 1, "--batch", 4, "--threads", 1, "--image-size", 28, "-o", "width=0.5").exit_code == 0
    assert seen == [("lenet5", "inference", batch, 1, {"width": 0.5, "image_size": 28}, 7) for batch in (1, 4)]
    seen.clear()
    assert bench("training", "--rivals", "none", "--quick", "--threads", 1).exit_code == 0
    assert seen == [(name, "training", 1, 1, {}, 3) for name in ("alexnet_owt", "googlenet_torchvision", "resnet50", "vgg16")]


def test_default_malloc_is_measured_in_a_process_of_its_own(monkeypatch):
    """Kills: the variable not set, the flag passed on (and so on for ever), values put beside other rows."""
    results = Results({}, [], {}, rows=[Row("conv", "g", "c", "forward", name, name, value=1.0) for name in ("a", "b", "c")])

    def child(command, check, stdout, env):
        assert env["TINYCNN_MALLOC"] == "default" and command[3:6] == ["bench", "conv", "--json"]
        other = Results({}, [], {}, rows=[Row("conv", "g", "c", "forward", "b", "b", value=3.0), Row("conv", "g", "c", "forward", "a", "a", value=2.0, refused="noisy")])
        Path(command[-1]).write_text(other.to_json())
    monkeypatch.setattr(run.subprocess, "run", child)
    run.with_default_malloc(results, ["bench", "conv", "--default-malloc"])
    assert [row.default_malloc for row in results.rows] == [None, 3.0, None]


def test_mistakes_are_explained(tmp_path):
    """Kills: tracebacks for a wrong name or a file of another kind."""
    assert "unknown model 'resnet51'" in bench("inference", "resnet51").output
    for arguments, message in ((["resnet5"], "no set of layers 'resnet5'; did you mean 'resnet50'?"),
                               (["--layer", "conv9"], "no layer of alexnet has 'conv9' in its name"),
                               (["--rivals", "pytroch"], "unknown rival 'pytroch' on cpu; did you mean 'pytorch'?")):
        done = bench("conv", *arguments)
        assert message in str(done.exception) and "peaks" not in done.output  # told before anything is measured
    (tmp_path / "other.json").write_text("{}")
    done = bench("show", tmp_path / "other.json")
    assert done.exit_code == 1 and "not the results of a benchmark of schema 1" in done.output
