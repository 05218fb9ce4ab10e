"""`tinycnn explain-algo`: every algorithm for a convolution, expected and measured."""
import json
from math import inf

import numpy as np
import pytest
from click.testing import CliRunner
from cuda_device import needs_simulator

from tinycnn.bench import algorithms
from tinycnn.bench.layers import FORMS, Layer
from tinycnn.bench.measure import Plan
from tinycnn.cli import cli
from tinycnn.kernels.conv import im2col
from tinycnn.kernels.conv.algorithms import ALGORITHMS, choose

SPEC = ("--input", "6x9x8", "--filters", 4, "--kernel", "3x2", "--stride", "2x1", "--padding", "1x0", "--groups", 2, "--dilation", "1x2")
LAYER = Layer("", 3, 6, 9, 8, 4, 3, 2, (2, 1), (1, 0), (1, 2), 2)
QUICK = ("--rounds", 2, "--seconds", 0)


def explained(*arguments):
    return CliRunner().invoke(cli, ["explain-algo", *map(str, arguments)])


@pytest.fixture(autouse=True)
def no_preference(monkeypatch):
    monkeypatch.delenv("TINYCNN_CONV", raising=False)


def test_a_layer_from_options():
    """Kills: options that go to another extent, vertical and horizontal exchanged, an algorithm or form left out, another one
    starred than is taken, times in other units."""
    done = explained(*SPEC, "--batch", 3, *QUICK, "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.output)
    assert Layer(**{name: tuple(value) if isinstance(value, list) else value for name, value in result["layer"].items()}) == LAYER
    assert result["flops"] == LAYER.flops and result["threads"] >= 1
    rows = result["candidates"]
    assert {(row["form"], row["algorithm"]) for row in rows} == {(form, name) for form in FORMS for name in ALGORITHMS}
    for form in FORMS:
        chosen, = (row for row in rows if row["form"] == form and row["chosen"])
        assert chosen["algorithm"] == choose(form, LAYER.x_shape, LAYER.w_shape, LAYER.geometry, np.dtype(np.float32)).NAME
        assert chosen["predicted"] == min(row["predicted"] for row in rows if row["form"] == form and row["predicted"])
    for row in rows:
        if row["predicted"] is None:
            assert row["median"] is row["error"] is None and row["why"] == "cannot do this layer"
        else:
            assert 0 <= row["error"] < 1e-5 and 0 < row["quartiles"][0] <= row["median"] <= row["quartiles"][1] < 10
            assert row["gflops"] == pytest.approx(LAYER.flops / row["median"] / 1e9)


def test_the_table():
    """Kills: milliseconds that are seconds, a star at the wrong line, no reason."""
    rows = algorithms.candidates(LAYER)
    for row in rows:
        if row.predicted < inf:
            row.median, row.quartiles, row.gflops, row.error, row.scratch, row.noise = 0.002, (0.001, 0.003), 12.34, 4.5e-7, 3 << 19, "too noisy"
            row.terms = {"products": 0.0005}
    lines = algorithms.table(LAYER, rows, 2).splitlines()
    assert lines[0].startswith("6x9x8 -> 4, 3x2 stride (2, 1) padding (1, 0) dilation (1, 2) groups 2, batch 3, 2 threads:")
    starred = [line.split() for line in lines if line.startswith("* ")]
    chosen = [row for row in rows if row.chosen]
    assert [line[1] for line in starred] == [row.algorithm for row in chosen] and len(starred) == 3
    assert starred[0][2:] == [f"{1e3 * chosen[0].predicted:.4g}", "2", "1", "-", "3", "12.3", "1.50", "MiB", "4.5e-07"]
    assert sum("expected to be fastest" in line and "(products 0.5 ms); too noisy" in line for line in lines) == 3
    assert "winograd: cannot do this layer" in "\n".join(lines)


def test_a_layer_of_a_network():
    """Kills: the first layer for the one that was named, the batch or the size of the images forgotten; measuring although not asked to."""
    done = explained("lenet5.features.3", "--batch", 2, "--no-measure", "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.output)
    assert [result["layer"][name] for name in ("N", "C", "H", "W", "K", "R", "S", "bias")] == [2, 6, 14, 14, 16, 5, 5, True]
    assert all(row["median"] is None and row["scratch"] >= 0 for row in result["candidates"])
    assert "6x18x18 -> 16" in explained("lenet5.features.3", "--image-size", 40, "--no-measure").output


def test_a_wrong_answer_shows(monkeypatch):
    """Kills: an error that is not that of this algorithm."""
    monkeypatch.setattr(im2col, "forward", lambda x, packed, w_shape, bias, geometry: np.zeros(LAYER.y_shape, np.float32))
    rows = json.loads(explained(*SPEC, "--batch", 3, *QUICK, "--json").output)["candidates"]
    wrong = {(row["form"], row["algorithm"]) for row in rows if row["error"] is not None and row["error"] > 1e-3}
    assert wrong == {("forward", "im2col")}


def test_who_overrules_the_model(monkeypatch):
    """Kills: a star at what the model would take, reasons that are not those."""
    monkeypatch.setenv("TINYCNN_CONV", "direct")
    rows = algorithms.candidates(Layer("", 4, 64, 28, 28, 64, 3, 3))  # for which it would be the last choice
    assert {row.algorithm for row in rows if row.chosen} == {"direct"}
    assert all("asked for (TINYCNN_CONV" in row.why for row in rows if row.chosen)
    assert all("overruled in favour of direct" in row.why for row in rows if not row.chosen and row.predicted < inf)


def test_cuda(monkeypatch):
    """Kills: the CPU's algorithms or choice for the GPU's; one that rounds its factors starred; times of the simulator shown as if they meant something."""
    from tinycnn.kernels.conv import cuda_algorithms
    monkeypatch.setenv("TINYCNN_CUDA", "simulate")
    monkeypatch.delenv("TINYCNN_CONV_CUDA", raising=False)
    spec = ("--input", "64x28x28", "--filters", 64, "--kernel", 3, "--batch", 64, "--device", "cuda")
    rows = json.loads(explained(*spec, "--no-measure", "--json").output)["candidates"]
    assert {(row["form"], row["algorithm"]) for row in rows} == {(form, name) for form in FORMS for name in cuda_algorithms.ALGORITHMS}
    for row in rows:
        assert row["median"] is None and row["predicted"] == pytest.approx(sum(stage["seconds"] for stage in row["stages"]))
        assert sum(stage["flops"] for stage in row["stages"]) >= Layer("", 64, 64, 28, 28, 64, 3, 3).flops / (4 if row["algorithm"] == "winograd" else 1)
        assert row["chosen"] == (row["algorithm"] == "winograd")
    done = explained(*spec)
    assert "Not measured: this is the simulator" in done.output
    assert any(line.startswith("      products ") and "blocks of multiply_" in line for line in done.output.splitlines())
    assert "implicit_tf32: rounds its factors, so only if asked for" in done.output
    monkeypatch.setenv("TINYCNN_CONV_CUDA", "implicit_tf32")
    assert "asked for (TINYCNN_CONV_CUDA" in explained(*spec, "--no-measure").output


@needs_simulator
def test_measuring_on_a_device(monkeypatch):
    """What would happen on a GPU, on the simulator. Kills: an answer that is another form's; an array of the host given to the device."""
    monkeypatch.setenv("TINYCNN_CUDA", "simulate")
    rows = algorithms.measured(LAYER, algorithms.candidates(LAYER, device="cuda"), Plan(rounds=2, seconds=0), device="cuda")
    assert all(row.median > 0 and row.error < (1e-2 if "_" in row.algorithm else 1e-5) for row in rows if row.predicted < inf)
    assert {row.algorithm for row in rows if row.predicted < inf} == {"im2col", "implicit", "implicit_tf32", "implicit_fp16"}


@pytest.mark.parametrize("arguments, message", [
    ((), "name a layer (MODEL.LAYER, such as resnet50.layer1.0.conv2), or describe one with --input, --filters and --kernel"),
    (("--input", "3x4x5"), "--filters, --kernel is missing"),
    (("lenet5.features.0", "--filters", "3"), "name a layer"),
    (("--input", "3x4", "--filters", 2, "--kernel", 1), "'3x4' should be 3 numbers of at least 1, like 3x5x7"),
    (("--input", "3x4x5", "--filters", 2, "--kernel", 0), "'0' should be 2 numbers of at least 1, like 3x5, or one for both"),
    (("lenet5.features.1",), "lenet5 has no convolution 'features.1'; it has features.0, features.3"),
    (("lenet.features.1",), "unknown network 'lenet'; did you mean 'lenet5'"),
    (("--input", "3x4x5", "--filters", 2, "--kernel", 5), "a window of 5"),
    (("--input", "3x4x5", "--filters", 2, "--kernel", 1, "--groups", 2), "--groups 2 must divide the 3 channels and the 2 filters"),
])
def test_wrong_usage(arguments, message):
    """Kills: an error that does not say what is wrong."""
    done = explained(*arguments, "--no-measure")
    assert done.exit_code != 0 and message in done.output + str(done.exception)
