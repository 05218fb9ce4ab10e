"""Choosing convolution's algorithm by trying, on algorithms whose times are known."""
import json
import os
import subprocess
import sys
from math import inf
from types import SimpleNamespace

import numpy as np
import pytest

import tinycnn
from tinycnn.kernels import backend
from tinycnn.kernels.conv import algorithms, autotune
from tinycnn.kernels.conv.geometry import Geometry

PROBLEM = ((2, 3, 6, 5), (4, 3, 3, 3), Geometry(padding=(1, 1)), np.dtype(np.float32))


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """A file of its own, nothing known yet, and a clock that only the algorithms below advance."""
    now = [0.0]
    monkeypatch.setattr(autotune, "path", lambda: tmp_path / "cache" / "found.json")
    monkeypatch.setattr(autotune, "_chosen", {})
    monkeypatch.setattr(autotune, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.delenv("TINYCNN_CONV", raising=False)
    yield now
    autotune.set_autotune(False)


class Algorithm:
    """Takes as long as `seconds` says, one call after the other (then the last again), and expects to take `expects`."""

    def __init__(self, name, now, seconds, expects=1.0):
        self.NAME, self.now, self.seconds, self.expects, self.calls = name, now, list(seconds), expects, []

    def cost(self, form, n, geometry, dtype):
        return self.expects

    def pack(self, w, x_shape, geometry, once=False):
        return w

    def run(self, form, shapes):
        self.calls.append((form, *shapes))
        self.now[0] += self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]

    def forward(self, x, packed, w_shape, bias, geometry):
        self.run("forward", (x.shape, packed.shape, w_shape))

    def input_grad(self, dy, w, x_shape, geometry):
        self.run("input_grad", (dy.shape, w.shape, x_shape))

    def weight_grad(self, dy, x, w_shape, geometry):
        self.run("weight_grad", (dy.shape, x.shape, w_shape))


def test_the_fastest_is_taken(alone):
    """Whatever the model thinks. Kills: the first call timed, which compiles; the mean, or the last round; the slowest; one that cannot, or would
    take for ever, tried."""
    compiles_long = Algorithm("compiles long", alone, [100, 5, 2, 5, 5, 5], expects=5)
    others = [Algorithm("steady", alone, [3], expects=1), Algorithm("noisy", alone, [1, 9, 9, 2.5, 9, 9], expects=2)]
    never = [Algorithm("cannot", alone, [0], expects=inf), Algorithm("hopeless", alone, [0], expects=8.1)]
    assert autotune.fastest("forward", *PROBLEM, iter([*never, *others, compiles_long])) == "compiles long"
    assert not any(algorithm.calls for algorithm in never)
    assert {len(algorithm.calls) for algorithm in (*others, compiles_long)} == {1 + autotune.ROUNDS}
    known = json.loads(autotune.path().read_text())
    assert [found["seconds"] for found in known.values()] == [{"steady": 3, "noisy": 2.5, "compiles long": 2}]


def test_each_problem_once(alone, monkeypatch):
    """Kills: one choice for all forms, shapes, dtypes or numbers of threads; trying again, in this process or the next; findings of others
    overwritten; half-written files."""
    def trying():
        algorithm = Algorithm("only", alone, [1])
        x_shape, w_shape, geometry, dtype = PROBLEM
        for problem in (PROBLEM, PROBLEM, ((1, 3, 6, 5), *PROBLEM[1:]), (x_shape, w_shape, Geometry(), dtype), (x_shape, w_shape, geometry, np.dtype(np.float64))):
            for form in ("forward", "input_grad", "weight_grad"):
                autotune.fastest(form, *problem, [algorithm])
        with monkeypatch.context() as patch:
            patch.setattr(autotune.numba, "get_num_threads", lambda: 17)
            autotune.fastest("forward", *PROBLEM, [algorithm])
        return algorithm.calls
    calls = trying()
    assert len(calls) == 2 * (4 * 3 + 1)
    dy_shape = (2, 4, 6, 5)
    assert calls[:6:2] == [("forward", *PROBLEM[:2], PROBLEM[1]), ("input_grad", dy_shape, PROBLEM[1], PROBLEM[0]), ("weight_grad", dy_shape, *PROBLEM[:2])]
    autotune._chosen.clear()  # as in another process
    assert not trying()
    file = autotune.path()
    assert len(json.loads(file.read_text())) == 13 and list(file.parent.iterdir()) == [file]


def test_files_that_are_broken_or_cannot_be_written(alone, monkeypatch, tmp_path):
    """Kills: a convolution that fails because of its cache; no choice where nothing could be written."""
    autotune.path().parent.mkdir()
    autotune.path().write_text('{"forward')
    assert autotune.fastest("forward", *PROBLEM, [Algorithm("one", alone, [2]), Algorithm("two", alone, [1])]) == "two"
    assert len(json.loads(autotune.path().read_text())) == 1
    (tmp_path / "a file").write_text("")
    monkeypatch.setattr(autotune, "path", lambda: tmp_path / "a file" / "found.json")
    assert autotune.fastest("input_grad", *PROBLEM, [Algorithm("one", alone, [2]), Algorithm("two", alone, [1])]) == "two"


def test_nothing_to_try():
    """Kills: timing an empty batch."""
    assert autotune.fastest("forward", (0, 3, 6, 5), *PROBLEM[1:], [None]) is None


def test_only_when_asked_for(monkeypatch):
    """Kills: trying by default, or where a user or caller has named the algorithm; results that are wrong because another algorithm's packed filters are read."""
    monkeypatch.setattr(autotune, "fastest", lambda *problem: "direct")
    x_shape, w_shape, geometry, dtype = PROBLEM
    usual = min(algorithms.ALGORITHMS, key=lambda name: algorithms.algorithm_module(name).cost("forward", algorithms.sizes(x_shape, w_shape, geometry), geometry, dtype))
    assert algorithms.choose("forward", *PROBLEM).NAME == usual != "direct"
    tinycnn.set_autotune(True)
    assert algorithms.choose("forward", *PROBLEM).NAME == "direct"
    assert algorithms.choose("forward", *PROBLEM, "im2col").NAME == "im2col"
    monkeypatch.setenv("TINYCNN_CONV", "im2col")
    assert algorithms.choose("forward", *PROBLEM).NAME == "im2col"


def test_real_algorithms():
    """Kills: arguments that they do not take."""
    tinycnn.set_autotune(True)
    rng = np.random.default_rng(0)
    x_shape, w_shape, geometry, dtype = PROBLEM
    x, w = rng.standard_normal(x_shape).astype(dtype), rng.standard_normal(w_shape).astype(dtype)
    conv, reference = backend("cpu").conv, backend("reference").conv
    y = conv.forward(x, w, None, geometry)
    np.testing.assert_allclose(y, reference.forward(x, w, None, geometry), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(conv.input_grad(y, w, x_shape, geometry), reference.input_grad(y, w, x_shape, geometry), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(conv.weight_grad(y, x, w_shape, geometry), reference.weight_grad(y, x, w_shape, geometry), rtol=1e-4, atol=1e-3)
    assert len(json.loads(autotune.path().read_text())) == 3
    np.testing.assert_array_equal(conv.forward(x, conv.pack(w, x_shape, geometry), None, geometry), y)


@pytest.mark.parametrize("value, on", [("1", True), ("0", False), ("", False)])
def test_the_environment(value, on):
    """Kills: TINYCNN_AUTOTUNE=0 that switches it on."""
    code = "from tinycnn.kernels.conv.autotune import autotune_enabled; print(autotune_enabled())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "TINYCNN_AUTOTUNE": value})
    assert done.stdout.strip() == str(on)
