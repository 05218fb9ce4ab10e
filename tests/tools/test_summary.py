"""tinycnn.summary: what it counts, and that it changes nothing."""
import json

import numpy as np
import pytest

import tinycnn
from tinycnn import models, nn
from tinycnn.nn import functional as F
from tinycnn.nn import init
from tinycnn.tools.shapes import only_shapes


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    monkeypatch.setattr(init, "uniform_", lambda tensor, *_, **__: tensor)


def layers(model, input_size):
    return {layer.name: layer for layer in tinycnn.summary(model, input_size).layers}


def test_lenet_row_by_row():
    """Numbers that can be counted by hand. Kills: MACs of all groups, of the bias or of the input's size; memory of an in-place ReLU; a field that forgets strides."""
    summary = tinycnn.summary(models.lenet5(init=None), (1, 32, 32))
    rows = [(layer.name, layer.kind, layer.output_shape, layer.params, layer.macs, layer.receptive_field[0], layer.activation_bytes) for layer in summary.layers]
    assert rows == [
        ("features.0", "Conv2d", (6, 28, 28), 156, 6 * 25 * 28 * 28, 5, 4 * 6 * 28 * 28),
        ("features.1", "ReLU", (6, 28, 28), 0, 0, 5, 0),
        ("features.2", "MaxPool2d", (6, 14, 14), 0, 0, 6, 4 * 6 * 14 * 14),
        ("features.3", "Conv2d", (16, 10, 10), 2416, 16 * 150 * 100, 14, 4 * 1600),
        ("features.4", "ReLU", (16, 10, 10), 0, 0, 14, 0),
        ("features.5", "MaxPool2d", (16, 5, 5), 0, 0, 16, 4 * 400),
        ("classifier.0", "Linear", (120,), 48_120, 48_000, 32, 480),
        ("classifier.1", "ReLU", (120,), 0, 0, 32, 0),
        ("classifier.2", "Linear", (84,), 10_164, 10_080, 32, 336),
        ("classifier.3", "ReLU", (84,), 0, 0, 32, 0),
        ("classifier.4", "Linear", (10,), 850, 840, 32, 40),
    ]
    assert (summary.params, summary.trainable, summary.macs) == (61_706, 61_706, 416_520)
    assert summary.activation_bytes == sum(row[-1] for row in rows)


def test_receptive_fields_of_known_networks():
    """Published values (Araujo, Norris, Sim 2019: AlexNet's and VGG-16's last pool 195 and 212, ResNet-50's last block 483,
    ResNet-101's 1027; strides in the 1x1). Kills: the stride applied before the window, the shorter of two paths, an inception module's first branch
    instead of its widest."""
    assert layers(models.alexnet(init=None), (3, 227, 227))["features.14"].receptive_field == (195, 195)
    assert layers(models.vgg16(init=None), (3, 224, 224))["features.30"].receptive_field == (212, 212)
    assert layers(models.resnet50(init=None, stride_in="1x1"), (3, 224, 224))["layer4.2.bn3"].receptive_field == (483, 483)
    assert layers(models.resnet101(init=None, stride_in="1x1"), (3, 224, 224))["layer4.2.bn3"].receptive_field == (1027, 1027)
    google = layers(models.googlenet(init=None), (3, 224, 224))
    assert google["inception3a"].receptive_field == (27 + 4 * 8,) * 2  # 5x5 on maps whose neighbours are 8 pixels apart
    assert google["inception3b.branch1.conv"].receptive_field == google["inception3b.branch3.0.conv"].receptive_field == (59, 59)
    assert google["inception5b"].receptive_field == (715, 715)
    three_by_three = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(3)))
    assert layers(three_by_three, (1, 9, 9))["2"].receptive_field == (7, 7)  # "three 3x3 layers see 7x7"
    assert layers(nn.Sequential(nn.Conv2d(1, 1, (3, 1), stride=(2, 1), dilation=(2, 1)), nn.Conv2d(1, 1, 2)), (1, 9, 9))["1"].receptive_field == (7, 2)


class Unusual(nn.Module):
    """Work outside of layers, one layer used twice, shared weights, a layer that does not run, two outputs."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1, bias=False)
        self.twin = nn.Conv2d(2, 2, 3, padding=1, bias=False)
        self.twin.weight = self.conv.weight
        self.idle = nn.Linear(3, 4)
        self.norm = nn.BatchNorm2d(2)
        self.dropout = nn.Dropout(0.5)
        self.scale = nn.Parameter(tinycnn.ones(4, 2, 1, 1))

    def forward(self, x):
        x = self.dropout(self.norm(self.twin(self.conv(self.conv(x)))))
        x = tinycnn.cat([x, x.mean((2, 3), keepdim=True).expand(x.shape)], 1)
        return F.conv2d(x, self.scale.expand(4, 4, 1, 1) if self.scale.shape[1] == 4 else tinycnn.cat([self.scale, self.scale], 1)), x


def test_what_is_outside_of_layers_counts_too():
    """Kills: parameters counted twice, or not at all if their layer does not run; multiply-adds of functions lost, or given to a layer as well."""
    model = Unusual()
    summary = tinycnn.summary(model, (2, 8, 8))
    conv = 2 * 2 * 9 * 64
    assert [(layer.name, layer.params, layer.macs) for layer in summary.layers] == [
        ("conv", 36, conv), ("conv", 0, conv), ("twin", 0, conv), ("norm", 4, 0), ("dropout", 0, 0), ("(itself)", 8, 4 * 4 * 64)]
    assert summary.macs == 3 * conv + 4 * 4 * 64
    assert summary.params == 36 + 16 + 4 + 8
    assert "16 of the parameters are in layers that do not run" in repr(summary) == str(summary)  # at the prompt, too
    model.conv.weight.requires_grad = False
    assert tinycnn.summary(model, (2, 8, 8)).trainable == summary.params - 36


def test_transposed_convolution_counts_each_input_once_per_tap():
    """Kills: counting it by the size of its output."""
    assert tinycnn.summary(nn.ConvTranspose2d(3, 5, 4, stride=2), (3, 6, 6)).macs == 6 * 6 * 3 * 5 * 16


def test_nothing_changes_in_the_model():
    """Kills: statistics updated, random numbers drawn, a mode, hook or kernel table left behind, also after an error."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(72, 3))
    model[1].eval()
    before = {key: tensor.numpy().copy() for key, tensor in model.state_dict().items()}
    kernels, numbers = tinycnn.device("cpu").kernels, tinycnn.get_rng_state()
    tinycnn.summary(model, (1, 8, 8))
    with pytest.raises(ValueError):
        tinycnn.summary(model, (1, 9, 9))
    for key, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[key])
    assert [module.training for module in model.modules()] == [True, True, False, True, True, True]
    assert tinycnn.device("cpu").kernels is kernels and tinycnn.get_rng_state() == numbers
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_training_mode_shows_what_runs_only_then():
    """Kills: evaluating everything, so that GoogLeNet's heads never count."""
    model = models.googlenet(init=None)
    training = tinycnn.summary(model, (3, 224, 224))
    evaluation = tinycnn.summary(model.eval(), (3, 224, 224))
    assert (training.macs, evaluation.macs) == (1_591_044_096, 1_582_671_872)
    assert training.params == evaluation.params == 13_378_280
    assert {layer.name.split(".")[0] for layer in training.layers} - {layer.name.split(".")[0] for layer in evaluation.layers} == {"aux1", "aux2"}


@pytest.mark.parametrize("name", ["lenet5", "lenet5_1998", "googlenet", "resnet20"])
def test_shapes_without_arithmetic_are_the_real_shapes(name):
    """Each layer's output as the reference kernels really make it. Kills: a shape rule that is wrong, or missing for an argument (ceil_mode, padding)."""
    model = models.build(name, in_channels=1, image_size=31, width=0.1 if name == "googlenet" else 1.0).eval()
    leaves = [module for module in model.modules() if not list(module.children()) and not isinstance(module, nn.Identity)]
    kinds, real = {type(module).__name__ for module in leaves}, []
    handles = [module.register_forward_hook(lambda module, inputs, y: real.append(y.shape[1:])) for module in leaves]
    with tinycnn.use_kernels("reference"), tinycnn.no_grad():
        for parameter in model.parameters():
            parameter.zero_()  # nothing was drawn
        model(tinycnn.zeros(1, 1, 31, 31))
    for handle in handles:
        handle.remove()
    assert [layer.output_shape for layer in tinycnn.summary(model, (1, 31, 31)).layers if layer.kind in kinds] == real


def test_operations_without_a_rule_run_as_the_reference():
    """Kills: a table that fails on what no network here does, and a field lost on the way."""
    with only_shapes() as shapes, tinycnn.no_grad():
        x = F.conv2d(tinycnn.zeros(1, 2, 9, 9), tinycnn.zeros(2, 2, 3, 3), stride=2)
        y = F.sigmoid(tinycnn.exp(x) + 1).clamp(0.5, 0.9) * x.reshape(1, 2, 4, 4)
        assert y.shape == (1, 2, 4, 4) and shapes.field(y.array) == ((3, 3), (2, 2))
        assert shapes.field(y.mean((2, 3)).array).size == (9, 9)
        assert shapes.field((x @ x).array).size == (3, 3)
        assert F.softmax(y.flatten(1), 1).shape == (1, 32)


def test_json_and_table():
    """Kills: missing totals, JSON that does not parse, a table whose columns do not line up."""
    summary = tinycnn.summary(models.alexnet(init=None), (3, 227, 227))
    data = json.loads(summary.to_json())
    assert (data["params"], data["macs"], data["input_size"]) == (60_965_224, 724_406_816, [3, 227, 227])
    assert data["layers"][0] == {"name": "features.0", "kind": "Conv2d", "output_shape": [96, 55, 55], "params": 34_944, "macs": 105_415_200,
                                 "receptive_field": [11, 11], "activation_bytes": 4 * 96 * 55 * 55}
    assert sum(layer["params"] for layer in data["layers"]) == data["params"]
    lines = str(summary).splitlines()
    assert len(lines) == len(summary.layers) + 4
    assert "96 x 55 x 55" in lines[2] and "34,944" in lines[2] and "105,415,200" in lines[2] and "1.108 MiB" in lines[2]
    assert lines[-1].startswith("total") and "60,965,224" in lines[-1] and "724,406,816" in lines[-1]
    assert lines[0].index("parameters") + len("parameters") == lines[-1].index("60,965,224") + len("60,965,224")


def test_wrong_input_size():
    """Kills: an error from deep within the model."""
    with pytest.raises(ValueError, match=r"input_size is \(224, 224\); it must be \(C, H, W\)"):
        tinycnn.summary(models.lenet5(init=None), (224, 224))
