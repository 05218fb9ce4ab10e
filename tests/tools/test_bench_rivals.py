"""One network for everybody: the graph that is traced from ours, and what each library makes of it."""
import numpy as np
import pytest

import tinycnn
from tinycnn import cat, models, nn
from tinycnn.autograd import Function
from tinycnn.bench import rivals
from tinycnn.bench.graph import trace
from tinycnn.bench.layers import Layer
from tinycnn.bench.networks import drawn
from tinycnn.bench.rivals.base import Unsupported
from tinycnn.bench.validate import draw


@pytest.fixture(autouse=True)
def reference_kernels():
    with tinycnn.use_kernels("reference"):
        yield


class Everything(nn.Module):
    """Every operation that the networks have, on maps so small that each detail shows: odd sizes, ceil pools, groups, a branch, a residual."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, (5, 3), stride=(2, 1), padding=(2, 0), bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.lrn = nn.LocalResponseNorm(5, alpha=0.5, beta=0.75, k=2.0, alpha_convention="paper")
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.grouped = nn.Conv2d(8, 12, 3, padding=1, groups=2)
        self.side = nn.Conv2d(8, 12, 1)
        self.mean = nn.AvgPool2d(3, 2, padding=1)
        self.late = nn.BatchNorm2d(24)
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.same = nn.AdaptiveAvgPool2d((2, 3))
        self.dropout = nn.Dropout(0.5)
        self.scores = nn.Linear(24, 7)

    def forward(self, x):
        x = self.pool(self.lrn(self.relu(self.norm(self.first(x)))))
        y = self.relu(self.grouped(x))
        both = cat((y + self.side(x), y), 1)
        x = self.relu(self.late(self.mean(both)))
        return self.scores(self.dropout(tinycnn.flatten(self.gap(self.same(x)), 1)))


class TwoReaders(nn.Module):
    """ReLUs that must leave what they read as it is."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)

    def forward(self, x):
        y = self.conv(nn.functional.relu(x))
        return nn.functional.relu(y) + y


@pytest.fixture
def everything():
    tinycnn.manual_seed(3)
    model = drawn(Everything())
    x = np.random.default_rng(4).standard_normal((2, 3, 13, 12)).astype(np.float32)
    return model, x


def scores(model, x):
    with tinycnn.no_grad():
        return model.eval()(tinycnn.from_numpy(x)).array


def test_the_graph_lists_what_happens(everything):
    """Kills: operations that nobody needs (moving statistics) or that do nothing in the list, a pool's identity kept, an in-place result mistaken for its input, both
    branches taken from the same tensor, weights under other names."""
    model, x = everything
    graph = trace(model.train(), x.shape)
    assert [node.op for node in graph.nodes] == ["conv", "batch_norm", "relu", "lrn", "max_pool", "conv", "relu", "conv", "add", "cat", "avg_pool", "batch_norm", "relu",
                                                 "avg_pool", "flatten", "dropout", "linear"]
    by_name = {node.name: node for node in graph.nodes}
    add = next(node for node in graph.nodes if node.op == "add")
    joined = next(node for node in graph.nodes if node.op == "cat")
    assert [by_name[name].op for name in add.inputs] == ["relu", "conv"] and joined.inputs == (add.name, add.inputs[0])
    assert graph.nodes[0].inputs == ("image",) and graph.outputs == [graph.nodes[-1].name]
    assert graph.nodes[0].weights == {"weight": "first.weight"} and graph.nodes[5].weights == {"weight": "grouped.weight", "bias": "grouped.bias"}
    assert graph.shape(graph.nodes[4].name) == (8, 3, 5)  # 13 x 12 -> 7 x 10 -> pools that round up
    assert set(graph.values) == {name for name, _ in model.named_parameters()}
    assert set(trace(model.eval(), x.shape).values) > set(graph.values)  # and the statistics


def test_a_trace_changes_nothing(everything):
    """Kills: running statistics moved by a trace in training mode, and a patched engine left behind."""
    model, x = everything
    before = {name: tensor.array.copy() for name, tensor in [*model.named_buffers(), *model.named_parameters()]}
    apply = Function.__dict__["apply"]
    trace(model.train(), x.shape)
    assert Function.__dict__["apply"] is apply
    for name, tensor in [*model.named_buffers(), *model.named_parameters()]:
        np.testing.assert_array_equal(tensor.array, before[name])


@pytest.mark.parametrize("name", ["alexnet", "googlenet", "resnet18"])
def test_work_of_a_graph_is_that_of_the_summary(name):
    """Kills: multiply-adds per batch for per image, groups forgotten, the gradient of the images counted in training."""
    C, H, W = models.default_input(name)
    model = models.build(name, init=None, width=0.125).eval()
    graph, macs = trace(model, (1, C, H, W)), tinycnn.summary(model, (C, H, W)).macs
    assert graph.flops(batch=3) == 3 * 2 * macs
    first = graph.macs(graph.nodes[0])
    assert graph.nodes[0].op == "conv" and graph.flops(batch=3, training=True) == 3 * 2 * (3 * macs - first)


def test_bytes_and_roofline_of_a_graph():
    """Kills: weights counted once per image, ReLU as a pass over memory, the faster of two bounds for the slower."""
    graph = trace(nn.Sequential(nn.Conv2d(2, 3, 1, bias=False), nn.ReLU()).eval(), (1, 2, 4, 4))
    conv, relu = graph.nodes
    assert graph.bytes(conv, batch=5) == 4 * (5 * (2 * 16 + 3 * 16) + 6) and graph.bytes(relu, batch=5) == 0
    slow_memory, slow_arithmetic = {"gflops": 1e9, "gbps": 1e-9}, {"gflops": 1e-9, "gbps": 1e9}
    assert graph.least_seconds(5, slow_memory) == pytest.approx(graph.bytes(conv, 5)) and graph.moved(5) == graph.bytes(conv, 5)
    assert graph.least_seconds(5, slow_arithmetic) == pytest.approx(2 * 5 * 6 * 16) == pytest.approx(graph.least_seconds(5, slow_arithmetic, training=True) / 2)


def test_what_others_have_no_form_of_is_named():
    """Kills: an operation silently skipped."""
    with pytest.raises(ValueError, match=r"Sequential: the operation Tanh has no translation .*in 1 \(Tanh\)"):
        trace(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Tanh()), (1, 1, 3, 3))


def contestant(library, setting="default"):
    """One of the libraries, which must be installed."""
    found, skipped = rivals.contestants([f"{library}:{setting}"], "conv", 1)
    if not found:
        pytest.skip(skipped[library])
    return found[0]


PYTORCH = [pytest.param("pytorch", setting, marks=pytest.mark.torch) for setting in ("nchw", "channels_last")]
EVERYBODY = [("tinycnn", "default"), *PYTORCH, ("onnxruntime", "default"), ("openvino", "default"), ("mnn", "default"), ("ncnn", "default")]


@pytest.mark.parametrize("library, setting", EVERYBODY)
def test_torch_and_all_others_compute_the_same_scores(everything, library, setting):
    """Kills, in each library's form of the network: alpha of LRN times the window's size, floor for ceil, rows for columns, groups, the wrong branch, BatchNorm folded
    wrongly or into a layer that others read, Split outputs mixed up, a transposed linear layer, results of the first image for all."""
    model, x = everything
    rival = contestant(library, setting)
    given = x.copy()
    with rival.running():
        run = rival.inference(model.eval(), trace(model.eval(), x.shape), given)
        found = [np.array(rival.array(run())) for _ in range(2)]
    expected = scores(model, x)
    for result in found:
        np.testing.assert_allclose(result, expected, atol=2e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(given, x)


@pytest.mark.parametrize("library, setting", EVERYBODY[1:])
def test_torch_and_all_others_compute_the_same_convolution(library, setting):
    """The gradients too, where there are any. Kills: dgrad for wgrad, a bias forgotten, vertical and horizontal exchanged."""
    layer = Layer("", 2, 4, 9, 7, 6, 3, 2, stride=(2, 1), padding=(2, 1), groups=2, bias=True)
    x, w, bias, dy = draw(layer)
    rival = contestant(library, setting)
    reference = tinycnn.kernels.backend("reference").conv
    expected = {"forward": reference.forward(x, w, bias, layer.geometry), "input_grad": reference.input_grad(dy, w, layer.x_shape, layer.geometry),
                "weight_grad": reference.weight_grad(dy, x, layer.w_shape, layer.geometry)}
    with rival.running():
        runs = rival.conv(layer, x, w, bias, dy)
        assert set(runs) == (set(expected) if library == "pytorch" else {"forward"})
        for form, run in runs.items():
            np.testing.assert_allclose(rival.array(run()), expected[form], rtol=1e-4, atol=2e-5)


@pytest.mark.torch
@pytest.mark.parametrize("setting", ["nchw", "channels_last"])
def test_a_step_of_torch_has_the_same_gradients(everything, setting):
    """Also those of auxiliary classifiers. Kills: other names of parameters, momentum or a learning rate that changes the weights between steps, the auxiliary losses
    with another weight, dropout left on."""
    rival = contestant("pytorch", setting)
    ours = contestant("tinycnn")
    target = np.array([1, 4])
    google = models.googlenet(num_classes=7, width=0.1, image_size=32, init="he")
    for model, x in (everything, (google, np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32))):
        graph = trace(model.train(), x.shape)
        steps = [each.training(model, graph, x, target) for each in (rival, ours)]
        for step in steps:
            step.dropout(False)
            step()
            step()
        (torch_loss, torch_gradients), (loss, gradients) = (step.gradients() for step in steps)
        assert torch_loss == pytest.approx(loss, rel=1e-5) and set(torch_gradients) == set(gradients)
        for name, gradient in gradients.items():
            np.testing.assert_allclose(torch_gradients[name], gradient, atol=1e-4 * np.abs(gradient).max() + 1e-7, err_msg=name)
        steps[0].dropout(True)
        steps[0]()
        assert steps[0].gradients()[0] != torch_loss


@pytest.mark.torch
def test_a_relu_that_others_still_need_is_not_done_in_place():
    """Kills: torch's modules overwriting the image, or a result with two readers."""
    from tinycnn.bench.rivals.pytorch import build
    built = build(trace(TwoReaders().eval(), (1, 2, 3, 3)))
    assert [module.inplace for module in built.modules() if type(module).__name__ == "ReLU"] == [False, False]
    built = build(trace(nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU()).eval(), (1, 2, 3, 3)))
    assert [module.inplace for module in built.modules() if type(module).__name__ == "ReLU"] == [True]


def test_ncnns_text_folds_and_splits(everything):
    """Kills: BatchNorm or ReLU folded into a result that two layers read, a missing Split, a count of blobs that is wrong."""
    from tinycnn.bench.rivals.ncnn_model import ncnn_model
    model, x = everything
    text, weights = ncnn_model(trace(model.eval(), x.shape))
    magic, counts, *lines = text.splitlines()
    fields = [line.split() for line in lines]
    kinds = [line[0] for line in fields]
    assert magic == "7767517" and counts == f"{len(lines)} {sum(int(line[3]) for line in fields)}"
    assert kinds.count("BatchNorm") == 1 and kinds.count("Split") == 2  # behind a pool; the first pool and the ReLU before the addition have two readers
    assert "9=1" in lines[1] and "5=1" in lines[1]  # the first convolution has taken BatchNorm's bias and the ReLU
    made = [name for line in fields for name in line[4 + int(line[2]):4 + int(line[2]) + int(line[3])]]
    read = [name for line in fields for name in line[4:4 + int(line[2])]]
    assert sorted(set(read)) == sorted(read) and set(made) - set(read) == {"scores"}
    floats = sum(parameter.numel() for parameter in model.parameters()) - 8 + 2 * 24  # folding turns weight and bias into one bias; the other keeps its statistics
    assert len(weights) == 4 * (floats + 4)  # and a tag for each of three convolutions and a linear layer
    text, _ = ncnn_model(trace(TwoReaders().eval(), (1, 2, 3, 3)))
    assert [line.split()[0] for line in text.splitlines()[2:]] == ["Input", "ReLU", "Convolution", "Split", "ReLU", "BinaryOp", "Noop"]


def test_who_is_missing_is_left_out_with_the_reason(monkeypatch):
    """Kills: one library that cannot be imported taking the others along, or vanishing without a word; settings and names that are taken for something else."""
    monkeypatch.setitem(rivals.LIBRARIES, "absent", ("no_such_file", None))
    found, skipped = rivals.contestants(["absent", "numpy"], "conv", 2)
    assert [rival.name for rival in found] == ["numpy"] and skipped["absent"].startswith("cannot be imported: ModuleNotFoundError")
    found, skipped = rivals.contestants(["numpy"], "training", 2)
    assert not found and skipped == {"numpy": "takes no part in 'training', only in conv"}
    assert [rival.name for rival in rivals.contestants(["tinycnn", "tinycnn:direct"], "conv", 1)[0]] == ["tinycnn", "tinycnn direct"]
    with pytest.raises(ValueError, match="unknown rival 'caffe' on cpu .there are pytorch, onnxruntime"):
        rivals.contestants(["caffe"], "conv", 2)
    with pytest.raises(ValueError, match="numpy has no setting 'fast': there are default"):
        rivals.contestants(["numpy:fast"], "conv", 2)


def test_what_a_library_has_no_form_of_is_unsupported():
    """Kills: an adaptive pool with windows of several sizes turned into some other pool."""
    pytest.importorskip("onnx")
    from tinycnn.bench.rivals.onnx_model import onnx_model
    with pytest.raises(Unsupported, match="adaptive_avg_pool has no form in ONNX"):
        onnx_model(trace(nn.Sequential(nn.AdaptiveAvgPool2d(2)).eval(), (1, 1, 5, 5)), 1)
