"""tensor.graph(): what was recorded, by module; and its page."""
import re

import numpy as np
import pytest
from browsers import chromium, console

import tinycnn
from tinycnn import models, nn
from tinycnn.nn import functional as F


class Block(nn.Module):
    """Two paths that are added, one layer used twice, an operation of the block itself."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1, bias=False)
        self.body = nn.Sequential(nn.ReLU(), nn.Conv2d(2, 2, 1))

    def forward(self, x):
        return self.body(self.conv(self.conv(x))) + x


def of_block():
    x = tinycnn.randn(1, 2, 4, 4, requires_grad=True)
    return x, nn.Sequential(Block(), nn.Flatten())


def test_nodes_by_module():
    """Kills: paths of modules that only happen to be around, parameters of another layer, inputs in another order, saved tensors left out."""
    x, model = of_block()
    y = model(x)
    graph = y.sum().graph()
    assert [(node.op, node.path) for node in graph.nodes] == [
        ("input", ()), ("Conv2d", ("0", "conv")), ("Conv2d", ("0", "conv")), ("ReLU", ("0", "body", "0")), ("Conv2d", ("0", "body", "1")), ("Add", ("0",)),
        ("Reshape", ("1",)), ("Sum", ())]
    assert [node.inputs for node in graph.nodes] == [(), (0,), (1,), (2,), (3,), (4, 0), (5,), (6,)]
    assert [leaf.name for leaf in graph.nodes[4].parameters] == ["weight", "bias"]
    assert graph.nodes[4].shapes == ((1, 2, 4, 4),)
    assert graph.nodes[1].saved == (((1, 2, 4, 4), 128), ((2, 2, 3, 3), 144))
    assert graph.kinds == {("0",): "Block", ("0", "conv"): "Conv2d", ("0", "body"): "Sequential", ("0", "body", "0"): "ReLU", ("0", "body", "1"): "Conv2d",
                           ("1",): "Flatten"}
    assert "  body: Sequential\n    0: ReLU\n      ReLU (1, 2, 4, 4) saves" in str(graph)


def test_norms_are_those_of_the_backward_pass():
    """Kills: norms of another operation's gradient, a .grad that changes, a graph that is freed by looking at it."""
    x, model = of_block()
    y = model(x)
    y.retain_grad()
    loss = (y * y).sum()
    graph = loss.graph()
    assert x.grad is None and y.grad is None and model[0].conv.weight.grad is None
    loss.backward(retain_graph=True)
    norm = {node.op: node.grad_norm for node in graph.nodes}
    assert norm["Reshape"] == pytest.approx(np.linalg.norm(y.grad.numpy()), rel=1e-5) and norm["Sum"] == 1
    after = loss.graph()
    assert after.nodes[0].grad_norm == pytest.approx(np.linalg.norm(x.grad.numpy()), rel=1e-5)
    assert after.nodes[1].parameters[0].grad_norm == pytest.approx(np.linalg.norm(model[0].conv.weight.grad.numpy()), rel=1e-5)
    assert y.graph().nodes[-1].grad_norm is None  # of many elements: nothing to start from
    assert y.graph(tinycnn.ones_like(y)).nodes[-1].grad_norm == pytest.approx(32**0.5)
    loss.backward()
    freed = loss.graph()
    assert freed.nodes[1].saved is None and freed.nodes[1].grad_norm is None and "freed" in freed.to_html()


def test_without_modules_or_without_a_graph():
    """Kills: a module that is still "being called" after an error."""
    with pytest.raises(ValueError):
        nn.Conv2d(1, 1, 9)(tinycnn.zeros(1, 1, 2, 2))
    x = tinycnn.ones(3, requires_grad=True)
    graph = (x * 2).sum().graph()
    assert [(node.op, node.path) for node in graph.nodes] == [("input", ()), ("Mul", ()), ("Sum", ())]
    with pytest.raises(ValueError, match="made by no recorded operation"):
        x.graph()


@pytest.fixture(scope="module")
def resnet50():
    """The graph of a thin ResNet-50's loss."""
    with tinycnn.use_kernels("reference"):
        model = models.resnet50(num_classes=3, width=0.05, image_size=32)
        return F.cross_entropy(model(tinycnn.randn(2, 3, 32, 32)), tinycnn.tensor([0, 2])).graph()


def test_resnet50_stays_readable(resnet50, tmp_path):
    """Folded, it is a dozen boxes. Kills: a module for each operation, a part that is drawn twice or not at all, a file that fetches something."""
    text = resnet50.save(tmp_path / "graph.html").read_text(encoding="utf-8")
    assert len(re.findall('class="operation"', text)) == len(resnet50.nodes) > 100
    outside = re.sub(r"<details.*</details>", "", text, flags=re.DOTALL)
    assert outside.count('class="operation"') <= 9
    assert re.findall(r"<summary><b>(layer\d)</b> Sequential <small>(\d+) operations", text) == [("layer1", "20"), ("layer2", "26"), ("layer3", "38"), ("layer4", "20")]
    assert not re.search(r"https?://|@import|\bsrc=", text) and len(text) < 200_000
    assert resnet50._repr_html_().startswith("<iframe srcdoc=")


@pytest.mark.browser
def test_opening_and_closing(resnet50, tmp_path):
    """Kills: arrows to what is folded away, or that are not drawn anew."""
    path = resnet50.save(tmp_path / "graph.html")
    with chromium(tmp_path / "profile") as browser:
        browser.get(path.as_uri())

        def arrows():
            return browser.execute_script("return Number(document.querySelector('#graph > svg').dataset.arrows)")
        folded = arrows()
        assert folded == len(browser.find_elements("css selector", "#graph > .row")) - 1  # a chain
        browser.find_element("id", "open").click()
        every = sum(len(node.inputs) for node in resnet50.nodes)
        browser.execute_async_script("setTimeout(arguments[0], 300)")
        assert arrows() == every
        browser.find_element("id", "close").click()
        browser.execute_async_script("setTimeout(arguments[0], 300)")
        assert arrows() == folded
        assert console(browser) == []
