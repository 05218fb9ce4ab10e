"""Pages of `tinycnn explain`: the numbers and words that are put in them. What a browser makes of them is in test_explain_browser.py."""
import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from cli_runs import failure
from PIL import Image

import tinycnn
from tinycnn.cli import main
from tinycnn.kernels.conv import reference
from tinycnn.kernels.conv.geometry import Geometry
from tinycnn.kernels.lrn import reference as lrn_reference
from tinycnn.kernels.pool import reference as pool_reference
from tinycnn.kernels.pool.windows import counts
from tinycnn.kernels.window import Window, pad
from tinycnn.nn import functional as F
from tinycnn.pages import conv, page
from tinycnn.pages.loops import source_of

UNEVEN = "--input 7x6 --kernel 3x2 --stride 2 --padding 1x0 --dilation 1x2 --channels 4 --filters 6 --groups 2 --batch 2".split()


def written(path):
    """The data in a page."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)[1])


def arrays(data):
    return {name: np.frombuffer(base64.b64decode(array["base64"]), "<f4").reshape(array["shape"]) for name, array in data["arrays"].items()}


@pytest.fixture
def explained(tmp_path):
    """A function: the data of the page that `tinycnn explain` writes with these arguments."""
    def run(*arguments):
        main(["explain", *arguments, "-o", str(tmp_path / "page.html")])
        return written(tmp_path / "page.html")
    return run


def test_the_numbers_are_the_references(explained):
    """Kills: gradients of other arrays, options that go to another extent, vertical and horizontal exchanged, a bias lost."""
    data = explained("conv", *UNEVEN, "--numbers", "normal")
    a, geometry = arrays(data), Geometry((2, 2), (1, 0), (1, 2), 2)
    assert a["x"].shape == (2, 4, 7, 6) and a["w"].shape == (6, 2, 3, 2) and a["y"].shape == (2, 6, 4, 2)
    exact = {name: array.astype(np.float64) for name, array in a.items()}
    expected = {"y": reference.forward(exact["x"], exact["w"], exact["bias"], geometry), "dx": reference.input_grad(exact["dy"], exact["w"], a["x"].shape, geometry),
                "dw": reference.weight_grad(exact["dy"], exact["x"], a["w"].shape, geometry), "db": exact["dy"].sum((0, 2, 3))}
    for name, array in expected.items():
        np.testing.assert_allclose(a[name], array, rtol=1e-5, atol=1e-5, err_msg=name)
    assert data["geometry"] == {"N": 2, "C": 4, "H": 7, "W": 6, "K": 6, "R": 3, "S": 2, "P": 4, "Q": 2, "G": 2, "stride": [2, 2], "padding": [1, 0], "dilation": [1, 2]}


def test_how_often_everything_is_used(explained):
    """Counted by hand for six inputs, a filter of three and stride 2. Kills: counts over all filters, left-over inputs that count, padding that is met."""
    a = arrays(explained("conv", "--input", "1x6", "--kernel", "1x3", "--stride", "1x2", "--channels", "3", "--filters", "2"))
    assert a["used"][0, 0].tolist() == [[1, 1, 2, 1, 1, 0]] and a["met"][0, 0].tolist() == [[2, 2, 2]]
    padded = arrays(explained("conv", "--input", "1x4", "--kernel", "1x3", "--padding", "0x1"))
    assert padded["used"][0, 0].tolist() == [[2, 3, 3, 2]] and padded["met"][0, 0].tolist() == [[3, 4, 3]]


def test_whole_numbers_can_be_added_up_in_the_head(explained):
    """Kills: default numbers that are not whole, or the same for every seed."""
    first, second = (arrays(explained("conv", "--seed", seed)) for seed in "01")
    assert all((array == array.round()).all() for array in first.values())
    assert any((first[name] != second[name]).any() for name in ("x", "w", "dy"))


def test_a_picture(tmp_path, explained):
    """Kills: channels last, colours of 0 to 255, height and width exchanged."""
    pixels = np.zeros((8, 4, 3), np.uint8)
    pixels[4:, :, 1] = 255  # green below
    Image.fromarray(pixels).save(tmp_path / "green.png")
    x = arrays(explained("conv", "--input", "4x2", "--kernel", "1", "--channels", "3", "--image", str(tmp_path / "green.png")))["x"]
    assert x.shape == (1, 3, 4, 2) and (x[0, [0, 2]] == 0).all()
    assert (x[0, 1, 0] == 0).all() and (x[0, 1, 3] == 1).all()


def test_a_tensor(tmp_path):
    """Of a convolution in a network: its own numbers, with and without a bias, y.grad where it is kept.

    Kills: a bias of zeros, gradients that are drawn although there are some.
    """
    x, w = tinycnn.randn(2, 4, 6, 5), tinycnn.randn(6, 2, 3, 3, requires_grad=True)
    bias = tinycnn.randn(6)
    y = F.conv2d(x, w, bias, stride=2, padding=1, groups=2)
    y.retain_grad()
    (y * y).sum().backward(retain_graph=True)
    a = arrays(written(tinycnn.explain(y, path=tmp_path / "p.html")))
    for name, array in {"x": x.numpy(), "w": w.detach().numpy(), "dy": y.grad.numpy(), "dw": w.grad.numpy(), "bias": bias.numpy()}.items():
        np.testing.assert_allclose(a[name], array, rtol=1e-4, atol=1e-4, err_msg=name)
    dy = np.ones(y.shape, np.float32)
    without = arrays(written(tinycnn.explain(F.conv2d(x, w, stride=2, padding=1, groups=2), dy, tmp_path / "p.html")))
    assert "bias" not in without and (without["dy"] == 1).all()


POOLS = {"--kernel 3 --stride 2 --ceil-mode": Window((3, 3), (2, 2), ceil_mode=True), "--kernel 3x2 --padding 1x0": Window((3, 2), (3, 2), (1, 0)),
         "--kernel 2 --stride 1x3": Window((2, 2), (1, 3))}


@pytest.mark.parametrize("options", POOLS)
def test_pools(explained, options):
    """Kills: options that go elsewhere, winners of another window, a divisor that counts padding although it shall not."""
    given, window = ["--input", "6x7", "--channels", "2", *options.split()], POOLS[options]
    a = arrays(explained("maxpool", *given))
    y, winners = pool_reference.max_forward(a["x"], window)
    np.testing.assert_array_equal(a["y"], y)
    np.testing.assert_array_equal(a["places"], pool_reference.max_indices(winners, (6, 7), window))
    np.testing.assert_array_equal(a["dx"], pool_reference.max_backward(a["dy"], winners, a["x"].shape, window))
    for more, count in ((), True), (("--no-count-pad",), False):
        a = arrays(explained("avgpool", *given, *more))
        np.testing.assert_allclose(a["y"], pool_reference.avg_forward(a["x"], window, count), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(a["dx"], pool_reference.avg_backward(a["dy"], a["x"].shape, window, count), rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(a["divisors"], counts((6, 7), window, count))


def test_lrn_and_relu(explained):
    """Kills: alpha of the other convention, channels that are not neighbours."""
    a = arrays(explained("lrn", "--channels", "6", "--size", "4", "--alpha", "0.5", "--beta", "0.6", "--k", "1.5"))
    y, base = lrn_reference.forward(a["x"].astype(np.float64), 4, 0.5, 0.6, 1.5)
    for name, expected in {"y": y, "base": base, "dx": lrn_reference.backward(a["dy"], a["x"], base, 4, 0.5, 0.6)}.items():
        np.testing.assert_allclose(a[name], expected, rtol=1e-5, atol=1e-5)
    a = arrays(explained("relu", "--input", "8x9"))
    np.testing.assert_array_equal(a["dx"], np.where(a["x"] > 0, a["dy"], 0))
    assert (a["x"] == 0).any() and (a["x"] < 0).any()


def test_tensors_of_other_operations(tmp_path):
    """Whatever keeps its input or has a leaf for it is explained as it is; otherwise the input can be given. Kills: a page of other numbers than the tensor's."""
    x = tinycnn.randn(1, 6, 5, 5, requires_grad=True)
    for y in (F.max_pool2d(x, 3, 2), F.avg_pool2d(x, 2, padding=1, count_include_pad=False), F.relu(x), F.local_response_norm(x, 3, alpha=0.3)):
        a = arrays(written(tinycnn.explain(y, path=tmp_path / "p.html")))
        np.testing.assert_allclose(a["y"], y.detach().numpy(), rtol=1e-6, atol=1e-6)
        dx, = tinycnn.autograd.grad(y, x, tinycnn.from_numpy(a["dy"].copy()))
        np.testing.assert_allclose(a["dx"], dx.numpy(), rtol=1e-5, atol=1e-5)
    double = x * 2
    y = F.relu(double)
    with pytest.raises(ValueError, match="ReLU does not keep its input, which Mul computed: give it as x="):
        tinycnn.explain(y, path=tmp_path / "p.html")
    np.testing.assert_array_equal(arrays(written(tinycnn.explain(y, x=double, path=tmp_path / "p.html")))["x"], double.detach().numpy())
    with pytest.raises(ValueError, match=r"x has the shape \(3,\)"):
        tinycnn.explain(y, x=np.ones(3), path=tmp_path / "p.html")


def test_what_cannot_be_explained(tmp_path):
    """Kills: an error from deep within, a page that is half written."""
    x = tinycnn.randn(1, 1, 4, 4, requires_grad=True)
    w = tinycnn.randn(1, 1, 3, 3)
    y = F.conv2d(x, w)
    with pytest.raises(ValueError, match=r"dy has the shape \(3,\); that of y is \(1, 1, 2, 2\)"):
        tinycnn.explain(y, np.ones(3))
    with pytest.raises(FileNotFoundError, match="no folder"):
        tinycnn.explain(y, path=tmp_path / "nowhere" / "p.html")
    y.sum().backward()
    with pytest.raises(RuntimeError, match="a second time"):
        tinycnn.explain(y, path=tmp_path / "p.html")
    with pytest.raises(ValueError, match="made by no recorded operation"):
        tinycnn.explain(x)
    with pytest.raises(ValueError, match="no page for Sum; there are pages for Conv2d, MaxPool2d"):
        tinycnn.explain(x.sum())
    with pytest.raises(ValueError, match=r"y has the shape \(3,\); pages show images"):
        tinycnn.explain(F.relu(tinycnn.randn(3, requires_grad=True)))
    with pytest.raises(TypeError, match="expected a tensor"):
        tinycnn.explain(np.ones(3))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments, code, message", [
    (["--kernel", "7"], 1, "a window of 7"),
    (["--groups", "2", "--channels", "3"], 2, "--groups 2 must divide the 3 channels"),
    (["--stride", "0"], 2, "'0' should be 2 numbers of at least 1"),
    (["--image", "README.md"], 1, "is not an image"),
    (["--image", "README.md", "--channels", "2"], 1, "1 channel (grey) or 3 (colours), not 2"),
    (["--input", "2000x2000"], 1, "too many for a page"),
])
def test_wrong_usage(capsys, tmp_path, arguments, code, message):
    """Kills: an error that does not say what is wrong; a file left behind."""
    assert message in " ".join(failure(capsys, ["explain", "conv", *arguments, "-o", str(tmp_path / "p.html")], code).split())
    assert not list(tmp_path.iterdir())


def test_no_page_of_numbers_that_are_none(capsys, tmp_path):
    """Kills: a page of NaN, from the power of what is negative."""
    assert "k -100, alpha 0.1 and beta 0.75 give numbers that are not finite" in failure(capsys, ["explain", "lrn", "--k", "-100", "-o", str(tmp_path / "p.html")], 1)
    assert not list(tmp_path.iterdir())


class Outside(HTMLParser):
    """Everything that a page would fetch."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name in ("src", "href", "action") and not value.startswith(("#", "data:"))]


def test_one_file_that_needs_no_other(tmp_path):
    """Kills: a link to a style, script or font; an import that is left; more than 2 MB for 32 x 32 x 16; text that ends the data."""
    path = tmp_path / "p.html"
    main(["explain", "conv", "--input", "32", "--channels", "16", "--filters", "16", "--padding", "1", "--numbers", "normal", "-o", str(path)])
    text = path.read_text(encoding="utf-8")
    outside = Outside()
    outside.feed(text)
    assert not outside.found and not re.search(r"\bfrom \"|@import|url\((?!#)|https?://|\{\{\w+\}\}", text)
    assert len(text.encode()) < 2_000_000
    data = written(path)
    assert "</script><b>" not in page.render({"kind": "conv", "title": "</script><b>", "formula": "", "facts": ((), ()), "source": ("p", 1, "</pre>"), **data})


def test_links_lead_to_the_lines_that_do_it():
    """Kills: a line number that a change of the reference made stale, and one that counts from the function."""
    lines = conv.loops({"N": 1, "C": 1, "H": 5, "W": 5, "K": 1, "R": 3, "S": 3, "P": 3, "Q": 3, "G": 1}, Geometry())
    path, first, source = source_of(reference)
    at = {name: source.splitlines()[line["line"] - first].strip() for name, nest in lines.items() for line in nest if line["line"]}
    assert path == "kernels/conv/reference.py" and first == 1
    assert at["y"].startswith("y += np.einsum") and at["dx"].startswith("part += np.einsum") and at["dw"].startswith("dw[..., r, s] = np.einsum")


@pytest.mark.parametrize("geometry", [Geometry(), Geometry((2, 1), (1, 0), (1, 2), 2), Geometry((1, 3), (2, 2), (2, 1), 4)])
def test_the_loop_nests_compute_what_they_say(geometry):
    """They look like Python, so they are run. Kills: stride and dilation exchanged in an index, a padding or group forgotten."""
    rng = np.random.default_rng(0)
    x, w, bias = rng.standard_normal((2, 4, 6, 7)), rng.standard_normal((8, 4 // geometry.groups, 3, 2)), rng.standard_normal(8)
    y = reference.forward(x, w, bias, geometry)
    dy = rng.standard_normal(y.shape)
    expected = {"y": y, "dx": reference.input_grad(dy, w, x.shape, geometry), "dw": reference.weight_grad(dy, x, w.shape, geometry), "db": dy.sum((0, 2, 3))}
    spread = np.zeros((2, 8, 6 + geometry.dilation[0] * 2, 7 + geometry.dilation[1]))
    for p in range(y.shape[2]):
        for q in range(y.shape[3]):
            i, j = (place * s + d * (size - 1) - pad for place, s, d, size, pad in zip((p, q), geometry.stride, geometry.dilation, (3, 2), geometry.padding))
            if 0 <= i < spread.shape[2] and 0 <= j < spread.shape[3]:  # others lie over padding alone
                spread[:, :, i, j] = dy[:, :, p, q]
    nests = conv.loops(dict(zip("NCHWKRSPQG", (2, 4, 6, 7, 8, 3, 2, *y.shape[2:], geometry.groups))), geometry)
    for nest, name in {"y": "y", "dx": "dx", "dw": "dw", "db": "db", "dxCorrelation": "dx", "dwCorrelation": "dw"}.items():
        found = np.zeros_like(expected[name])
        names = {"x": x, "w": w, "bias": bias, "dy": dy, "padded": pad(x, geometry.padding), "spread": spread, name: found}
        exec("\n".join(line["text"] for line in nests[nest]), names)
        np.testing.assert_allclose(found, expected[name], rtol=1e-12, atol=1e-12, err_msg=nest)


def test_the_scripts_can_be_read(tmp_path):
    """Kills: a typing error in a script, an import of what is not exported (where Node.js is installed; the browser tests see it too)."""
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    (tmp_path / "all.mjs").write_text(page.script(), encoding="utf-8")
    assert subprocess.run(["node", "--check", tmp_path / "all.mjs"], capture_output=True, text=True).stderr == ""
