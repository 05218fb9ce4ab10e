"""The optimisation ladder (benchmarks/ladder): every step is right, and one that is not is caught before it is timed."""
import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from tolerance import close

from tinycnn.bench.layers import FORMS, Layer
from tinycnn.bench.measure import Plan
from tinycnn.bench.validate import draw
from tinycnn.kernels.conv import reference

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "ladder"))  # its files import each other by name, as scripts do
ladder = import_module("run")

#   no multiple of any tile; rows unlike columns; more than a tile of everything; padding beyond the filter; one pixel
LAYERS = [Layer("", 2, 3, 7, 6, 5, 3, 3, padding=(1, 1)), Layer("", 1, 19, 5, 23, 70, 3, 3, padding=(1, 1)), Layer("", 2, 4, 9, 8, 3, 2, 4, padding=(1, 1)),
          Layer("", 1, 5, 6, 9, 4, 5, 5), Layer("", 2, 2, 4, 5, 3, 3, 3, padding=(4, 4)), Layer("", 1, 33, 3, 3, 34, 1, 1), Layer("", 1, 1, 1, 1, 1, 1, 1)]


@pytest.mark.parametrize("name", ladder.STEPS)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_every_step(layer, name):
    """All three forms against the reference. Kills: a border one off, rows for columns, a filter not turned, leftovers of a tile."""
    module = import_module(name)
    if not getattr(module, "can", lambda layer: True)(layer):
        pytest.skip("this step is not for this layer")
    arrays = x, w, _, dy = draw(layer)
    wide = [array.astype(np.float64) for array in (x, w, dy)]
    expected = {"forward": reference.forward(wide[0], wide[1], None, layer.geometry), "input_grad": reference.input_grad(wide[2], wide[1], x.shape, layer.geometry),
                "weight_grad": reference.weight_grad(wide[2], wide[0], w.shape, layer.geometry)}
    for form, function in ladder.functions(module, layer, arrays).items():
        answer = ladder.logical(function(), module, form)
        assert answer.dtype == np.float32
        close(answer, expected[form], layer.length(form))


def test_bias_and_relu():
    """Together and in passes of their own. Kills: one of them forgotten or in the other order."""
    fused = import_module("step9_fused")
    for layer in (LAYERS[1], LAYERS[2]):
        x, w, bias, _ = draw(layer._replace(bias=True))
        expected = np.maximum(reference.forward(*(array.astype(np.float64) for array in (x, w, bias)), layer.geometry), 0)
        for function in (fused.separate, fused.fused):
            close(function(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), w, bias, 1).transpose(0, 3, 1, 2), expected, w[0].size)


TINY = ("--quick", "--channels", "5", "--filters", "6", "--size", "8", "--batch", "2")


def test_the_runner(tmp_path, capsys, monkeypatch):
    """Kills: a step or form left out of the table, a share or speed-up of something else, a file that is written unasked."""
    monkeypatch.setattr(ladder.machine, "peak", lambda threads: {"threads": threads, "gflops": 100.0, "gbps": 10.0, "disturbed": 0.0})
    monkeypatch.setattr(ladder, "RESULTS", tmp_path / "unasked.json")
    monkeypatch.setattr(ladder, "DOCS", tmp_path / "unasked")
    ladder.main([*TINY, "--json", str(tmp_path / "r.json"), "--plot", str(tmp_path / "p.png")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.png", "r.json"] and (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    result, text = json.loads((tmp_path / "r.json").read_text()), capsys.readouterr().out
    assert [row["step"] for row in result["steps"]] == list(ladder.STEPS) and set(result["epilogue"]) == {"separate", "fused"}
    assert all(row["step"] in text and row["idea"] in text for row in result["steps"])
    assert [row["part"] is not None for row in result["steps"]] == [True] + [False] * 8
    for row, before in zip(result["steps"], [None, *result["steps"]]):
        for form in FORMS:
            found = row["forms"][form]
            flops = 2 * 4 * 4 * 8 * 8 * 9 if row["part"] else result["flops"]
            assert found["gflops"] == pytest.approx(flops / found["milliseconds"] / 1e6) and found["share_of_peak"] == pytest.approx(found["gflops"] / 100)
            assert found["speed_up"] == (pytest.approx(found["gflops"] / before["forms"][form]["gflops"]) if before else None)
            assert 0 <= found["error"] < 1e-5


@pytest.mark.parametrize("noisy", [False, True])
def test_only_undisturbed_figures_of_the_usual_layer_are_kept(noisy, tmp_path, capsys, monkeypatch):
    """Kills: a disturbed figure among the results."""
    result = ladder.ladder(LAYERS[0], Plan(rounds=1, seconds=0, pause=0, most_disturbed=2), 1)
    result["steps"][3]["forms"]["input_grad"]["noise"] = "too noisy" if noisy else None
    monkeypatch.setattr(ladder, "ladder", lambda *arguments: result)
    monkeypatch.setattr(ladder, "RESULTS", tmp_path / "r.json")
    monkeypatch.setattr(ladder, "DOCS", tmp_path)
    (tmp_path / "images").mkdir()
    ladder.main([])
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ([] if noisy else ["ladder.md", "ladder.png", "r.json"])
    text = capsys.readouterr().out
    assert ("step3_channels_last, input_grad: too noisy" in text) == ("Not kept" in text) == noisy


def test_the_page():
    """Kills: a step without its figures or its explanation."""
    result = ladder.ladder(LAYERS[0], Plan(rounds=1, seconds=0, pause=0, most_disturbed=2), 1)
    text = ladder.page(result)
    for row in result["steps"]:
        assert f"| {row['idea']} | {row['forms']['forward']['gflops']:.3g}" in text and f"(../benchmarks/ladder/{row['step']}.py)" in text
    assert "## 0. The definition, and nothing else\n\nSeven loops in pure Python.\n" in text and "## 9. What follows a convolution" in text


def test_a_layer_that_winograd_cannot_do():
    """Kills: a table that needs all steps."""
    result = ladder.ladder(Layer("", 1, 3, 6, 6, 4, 1, 1), Plan(rounds=1, seconds=0, pause=0), 1)
    assert [row["step"] for row in result["steps"]] == [name for name in ladder.STEPS if name != "step8_winograd"]
    assert "1x1" in ladder.table(result)


@pytest.mark.parametrize("form", FORMS)
def test_a_wrong_step_is_not_timed(form, monkeypatch):
    """Kills: a check that looks at some forms or steps only, or that lets a single wrong product pass."""
    module = import_module("step4_tiled")
    right = getattr(module, form)

    def planted(*arguments):
        result = right(*arguments)
        result[-1, -1, -1, -1] *= 1.01
        return result
    monkeypatch.setattr(module, form, planted)
    monkeypatch.setattr(ladder, "measure", lambda *arguments: pytest.fail("it was timed"))
    with pytest.raises(ValueError, match=f"step4_tiled, {form}, is wrong by .* sigma"):
        ladder.main([*TINY])
    monkeypatch.setattr(module, form, lambda *arguments: right(*arguments)[1:])
    with pytest.raises(ValueError, match="the result has shape"):
        ladder.main([*TINY])


def test_lines_of_code(tmp_path):
    """Kills: comments, docstrings or empty lines counted; a statement of two lines counted once."""
    file = tmp_path / "f.py"
    file.write_text('"""A docstring\nof two lines."""\nimport os  # one\n\n# nothing\nx = ["s",\n     os]\n\n\ndef f():\n    """Nothing."""\n    return "five"\n')
    assert ladder.count_lines(file) == 5
