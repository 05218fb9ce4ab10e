"""What notebooks show of tensors, modules, summaries and reports; and the notebook in docs/ as it is run anew."""
import re
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import tinycnn
from tinycnn import models, nn
from tinycnn.nn import functional as F

NOTEBOOK = Path(__file__).parents[2] / "docs/notebooks/convolution.ipynb"


class Balanced(HTMLParser):
    """Whether every tag that opens closes in its place."""

    def __init__(self):
        super().__init__()
        self.open, self.text = [], ""

    def handle_starttag(self, tag, _):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += f" {data}"


def words(thing):
    """The text of what a notebook would show, whose tags must balance."""
    parser = Balanced()
    parser.feed(thing._repr_html_())
    assert not parser.open
    return " ".join(parser.text.split())


def test_a_tensor():
    """Kills: other axes than the last two, numbers left out without saying so, strengths of colour relative to something else, an error for NaN."""
    x = tinycnn.tensor([[1.0, -2.0], [0.0, 4.0]], requires_grad=True)
    assert words(x) == "Tensor 2 × 2, float32, requires grad, from -2 to 4, mean 0.75 1 -2 0 4"
    assert re.findall(r"rgba\((\d+).*?, ([\d.]+)\)", x._repr_html_()) == [("240", "0.17"), ("91", "0.35"), ("240", "0.70")]
    assert words(x * 2).startswith("Tensor 2 × 2, float32, made by Mul")
    images = tinycnn.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2)
    assert words(images) == "Tensor 2 × 3 × 2 × 2, int64, from 0 to 23, mean 11.5 [0, 0] 0 1 2 3 [0, 1] 4 5 6 7 [0, 2] 8 9 10 11 [1, 0] 12 13 14 15 … 2 more"
    long = tinycnn.arange(30)
    assert words(long).endswith("0 1 2 3 4 5 6 7 … 29")
    assert "1 not finite" in words(tinycnn.tensor([1.0, float("nan")]))
    assert words(tinycnn.tensor(3.5)).endswith("3.5") and words(tinycnn.zeros(0, 3)) == "Tensor 0 × 3, float32"
    assert words(tinycnn.tensor([True, False])) == "Tensor 2, bool True False"
    assert words(nn.Linear(2, 1).weight).startswith("Parameter 1 × 2")


def test_a_module():
    """Kills: parameters counted twice, layers left out, names that are not escaped."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.ReLU(), nn.Conv2d(2, 2, 1, bias=False)))
    assert words(model) == ("Sequential () 24 parameters 0: Conv2d (1, 2, kernel_size=(3, 3), stride=(1, 1)) 20 parameters "
                            "1: Sequential () 4 parameters 0: ReLU () 1: Conv2d (2, 2, kernel_size=(1, 1), stride=(1, 1), bias=False) 4 parameters")

    class Odd(nn.Module):
        def extra_repr(self):
            return "<b>"
    assert words(Odd()) == "Odd (<b>)"


def test_a_summary_and_a_report():
    """Kills: a total left out, a report without its text."""
    text = words(tinycnn.summary(models.lenet5(init=None), (1, 32, 32)))
    assert "features.3 Conv2d 16 x 10 x 10 2,416 240,000" in text and "total FeaturesThenClassifier 61,706 416,520" in text and "(32 - 5)/1 + 1 = 28" in text
    report = tinycnn.gradcheck(F.relu, tinycnn.tensor(np.array([1.0, -2.0])), progress=False)
    assert "RIGHT" in words(report)


@pytest.mark.skipif(find_spec("nbclient") is None or find_spec("ipykernel") is None, reason="nbclient and ipykernel are not installed (pip install -e '.[notebook]')")
def test_the_notebook_runs_and_says_the_same(tmp_path):
    """Every cell without an error; cells tagged "exact" print what they printed. Kills: a notebook that an edit of the engine has left behind."""
    import nbformat
    from nbclient import NotebookClient
    notebook = nbformat.read(NOTEBOOK, 4)
    before = [printed(cell) for cell in notebook.cells]
    assert any(before), "the notebook is committed with its results"
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    for cell, text in zip(notebook.cells, before):
        if "exact" in cell.metadata.get("tags", ()):
            assert printed(cell) == text, cell.source
    last = next(cell for cell in reversed(notebook.cells) if cell.cell_type == "code")
    assert float(re.search(r"([\d.]+)% of the test images", printed(last))[1]) > 75


def printed(cell):
    """All text that a cell printed."""
    return "".join(output.text for output in cell.get("outputs", ()) if output.output_type == "stream" and output.name == "stdout")
