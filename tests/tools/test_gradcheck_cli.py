"""`tinycnn gradcheck` and `tinycnn museum`: the engine's table, a user's file, exit statuses, JSON, pictures, exercises."""
import json
import textwrap

import numpy as np
import pytest
from cli_runs import failure
from PIL import Image

import tinycnn
from tinycnn import museum, nn
from tinycnn.checker import gradcheck
from tinycnn.checker.cases import all_cases
from tinycnn.cli import main

CONV = """
    import numpy as np
    from tinycnn.museum.tools import conv, conv_case, pad, taps

    def inputs(rng):
        return conv_case(rng)

    def forward(x, w, stride, padding, dilation):
        return conv(x, w, stride, padding, dilation)

    def backward(dy, x, w, stride, padding, dilation):
        P, Q = dy.shape[2:]
        dx, dw = np.zeros_like(pad(x, padding)), np.zeros_like(w)
        for r, s, part in taps(dx, w.shape, P, Q, STRIDE, dilation):
            part += np.einsum("kc,nkpq->ncpq", w[:, :, r, s], dy)
        for r, s, part in taps(pad(x, padding), w.shape, P, Q, stride, dilation):
            dw[:, :, r, s] = np.einsum("nkpq,ncpq->kc", dy, part)
        H, W = x.shape[2:]
        return dx[:, :, padding:padding + H, padding:padding + W], dw
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="my_layer.py"):
        (tmp_path / name).write_text(textwrap.dedent(text))
        return str(tmp_path / name)
    return write


def run(capsys, *arguments):
    """(exit status, what was printed)"""
    try:
        main(list(arguments))
        status = 0
    except SystemExit as stop:
        status = stop.code or 0
    return status, capsys.readouterr().out


# ---- the engine

def test_a_table_of_some_operations(capsys):
    status, text = run(capsys, "gradcheck", "avg_pool2d, ceil", "conv2d: groups")
    assert status == 0 and "networks: avg_pool2d, ceil" in text and "conv2d: groups" in text and "3 checked: 3 right" in text
    assert "\x1b" not in text  # colours are for terminals
    status, text = run(capsys, "gradcheck", "relu_", "--json")
    rows = json.loads(text)
    assert status == 0 and rows and all(row["verdict"] == "right" and row["order"] in (1, 2) for row in rows)
    assert len(run(capsys, "gradcheck", "--list")[1].splitlines()) == len(all_cases())
    assert "nothing has 'poool' in its name; did you mean" in failure(capsys, ["gradcheck", "poool"], 2)


def test_a_wrong_gradient_of_the_engine_is_status_1(capsys, monkeypatch):
    """Kills: an exit status that is always 0."""
    from tinycnn.ops.arithmetic import Tanh
    monkeypatch.setattr(Tanh, "backward", lambda ctx, dy: dy * (1 + ctx.saved_tensors[0] * ctx.saved_tensors[0]))
    status, text = run(capsys, "gradcheck", "operations: tanh")
    assert status == 1 and "wrong" in text and "1 checked: 1 wrong" in text


# ---- a file

def test_a_right_file(capsys, write):
    status, text = run(capsys, "gradcheck", write(CONV.replace("STRIDE", "stride")))
    assert status == 0 and "my_layer" in text and "10 checked: 10 right" in text


def test_a_wrong_file_is_explained(capsys, write, tmp_path):
    """What, where, under which option, and pictures. Kills: options that are not compared; a report about the largest inputs."""
    status, text = run(capsys, "gradcheck", write(CONV.replace("STRIDE", "1")), "--plot", str(tmp_path / "plots"))
    assert status == 1
    assert "x only where stride is more than 1 (wrong: 2; right: 1)" in text
    assert "likely bug: stride [gradient of x]" in text and "error over x" in text
    pictures = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert pictures == ["coordinate.png", "error-x.png", "steps.png"]
    for name in pictures:
        assert np.ptp(np.asarray(Image.open(tmp_path / "plots" / name).convert("L"))) > 100


def test_a_file_as_json(capsys, write):
    status, text = run(capsys, "gradcheck", write(CONV.replace("STRIDE", "1")), "--json", "--shapes", "4")
    rows = json.loads(text)
    assert status == 1 and len(rows) == 4 and {row["verdict"] for row in rows} == {"right", "wrong"}
    assert all(row["findings"][0]["family"] == "stride" for row in rows if row["verdict"] == "wrong")


def test_several_functions_cases_and_the_engine_in_one_file(capsys, write):
    """Kills: a suffix mixed up; cases that are not told apart; fixed inputs checked ten times."""
    status, text = run(capsys, "gradcheck", write("""
        import numpy as np
        import tinycnn

        def inputs_square(rng):
            return {"small": np.array([0.5]), "large": np.array([5.0, 6.0])}
        def forward_square(x): return x * x
        def backward_square(dy, x): return np.where(x > 1, x, 2 * x) * dy

        def inputs_cached(rng): return rng.standard_normal(3)
        def forward_cached(x): return x ** 3, x
        def backward_cached(dy, x): return 3 * x * x * dy
        CACHE_cached = True

        def inputs_ours(rng): return tinycnn.tensor([0.5, 0.25])
        def forward_ours(x): return x.sin()
    """))
    assert status == 1 and "square: wrong at 1 of 2 sets of inputs" in text
    assert "13 checked: 12 right, 1 wrong" in text and text.count("at 10 sets of inputs") == 1


def test_what_cannot_be_told_is_status_3(capsys, write):
    status, text = run(capsys, "gradcheck", write("""
        import numpy as np
        hidden = np.random.default_rng()
        def inputs(rng): return rng.standard_normal(3)
        def forward(x): return x * hidden.random()
        def backward(dy, x): return dy
    """))
    assert status == 3 and "not deterministic" in text


INPUTS = "def inputs(rng): return rng.standard_normal((2, 3)), rng.standard_normal((4, 3))\n"
FILES = {
    "no forward": ("x = 1", "it has no function called forward"),
    "no inputs": ("def forward(x): return x", "no inputs(rng)"),
    "not Python": ("x = 1\ndef forward(x: return x", "my_layer.py, line 2: SyntaxError: invalid syntax\n    def forward(x: return x\n"),
    "a library that is not there": ("import nupmy", "my_layer.py, line 1: ModuleNotFoundError: No module named 'nupmy'\n    import nupmy\n"),
    "in inputs": ("def inputs(rng): return rng.nothing\ndef forward(x): return x", "my_layer.py, line 1, in inputs: AttributeError:"),
    "in forward": (f"{INPUTS}def forward(x, w):\n    return x @ w", "my_layer.py, line 3, in forward: ValueError: matmul"),
    "in backward": (f"{INPUTS}def forward(x, w): return x @ w.T\ndef backward(dy, x, w): return dyy @ w, dy.T @ x",
                    "my_layer.py, line 3, in backward: NameError: name 'dyy' is not defined\n    def backward(dy, x, w): return dyy @ w, dy.T @ x\n"),
}


@pytest.mark.parametrize("case", FILES)
def test_what_is_wrong_in_a_file_is_told_with_its_place(capsys, write, case):
    """Kills: a traceback through the checker's own functions; an error's text without the line that it is about."""
    text, message = FILES[case]
    assert message in failure(capsys, ["gradcheck", write(text)], 1)


# ---- pictures

def test_pictures_of_a_kink_and_of_a_number(tmp_path):
    """Kills: pictures that need a wrong gradient, a matrix, or an index."""
    report = gradcheck(lambda x: np.maximum(x, 0), np.array([0.0, 1.0]), lambda dy, x: dy * (x > 0), mode="full")
    assert [path.name for path in report.plot(tmp_path / "kink")] == ["steps.png", "coordinate.png"]
    report = gradcheck(lambda x: x * x, np.array(3.0), lambda dy, x: dy * x)
    assert len(report.plot(tmp_path / "number")) == 3 and "the number" in str(report)
    report = gradcheck(nn.Linear(3, 2), tinycnn.randn(2, 3))
    assert report.plot(tmp_path / "engine")


# ---- the museum

def test_the_museum_as_exercises(capsys, tmp_path, monkeypatch):
    """List, show, take, fail, repair, pass. Kills: an exercise that cannot be passed, or that passes as it is."""
    monkeypatch.chdir(tmp_path)
    status, text = run(capsys, "museum")
    assert status == 0 and all(name in text for name in museum.names())
    assert "Seen in" in run(capsys, "museum", "show", "index_adds_once")[1]
    assert run(capsys, "museum", "take", "index_adds_once")[0] == 0
    file = tmp_path / "index_adds_once.py"
    assert "--force" in failure(capsys, ["museum", "take", "index_adds_once"], 1)
    status, text = run(capsys, "museum", "check", str(file))
    assert status == 1 and "likely bug: overwritten" in text and "not right yet" in text
    file.write_text(file.read_text().replace("dw[index] += dy", "np.add.at(dw, index, dy)"))
    status, text = run(capsys, "museum", "check", str(file))
    assert status == 0 and "repaired, right at 10 random shapes" in text
    assert "np.add.at" in run(capsys, "museum", "solution", "index_adds_once")[1]
    file.write_text(file.read_text().replace("# exhibit", "# "))
    assert "which exhibit this is" in failure(capsys, ["museum", "check", str(file)], 1)
    assert "did you mean 'index_adds_once'" in failure(capsys, ["museum", "show", "index_add_once"], 2)


def test_the_rates_as_a_command(capsys):
    status, text = run(capsys, "museum", "rates", "relu6", "mse_sign", "--shapes", "3")
    assert status == 0 and "2 exhibits, 3 random shapes each: 100.0% of the wrong gradients caught, 100.0% named" in text
