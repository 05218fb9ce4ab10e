"""What the networks compute: against PyTorch, which runs our own model files on its own layers, and against what the papers say in words.

All on the reference kernels, in float64, with networks that are a few channels wide.
"""
import importlib.util
import sys
from types import ModuleType

import numpy as np
import pytest
from tolerance import close

import tinycnn
from tinycnn import models, names, nn
from tinycnn.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from tinycnn.models import lenet

# name: (options, (C, H, W)); the narrowest at which every layer still has more than one channel
TINY = {
    "lenet5": ({"image_size": 28}, (1, 28, 28)),
    "lenet5_1998": ({"image_size": 28}, (1, 28, 28)),
    "alexnet": ({"width": 0.05, "image_size": 67, "num_classes": 5}, (3, 67, 67)),
    "alexnet_owt": ({"width": 0.05, "image_size": 32, "num_classes": 5}, (3, 40, 40)),
    "zfnet": ({"width": 0.05, "image_size": 64, "num_classes": 5}, (3, 64, 64)),
    "vgg11_lrn": ({"width": 0.05, "image_size": 16, "num_classes": 5}, (3, 16, 16)),
    "vgg16c": ({"width": 0.05, "image_size": 16, "num_classes": 5}, (3, 16, 16)),
    "googlenet": ({"width": 0.05, "image_size": 32, "num_classes": 5}, (3, 32, 32)),
    "googlenet_torchvision": ({"width": 0.05, "image_size": 32, "num_classes": 5, "transform_input": True}, (3, 32, 32)),
    "resnet18": ({"width": 0.05, "image_size": 32, "num_classes": 5, "shortcut": "C"}, (3, 32, 32)),
    "resnet50": ({"width": 0.05, "image_size": 32, "num_classes": 5, "stride_in": "1x1"}, (3, 32, 32)),
    "resnet20": ({"width": 0.25, "num_classes": 5, "image_size": 16}, (3, 16, 16)),
    "plain20": ({"width": 0.25, "num_classes": 5, "image_size": 16}, (3, 16, 16)),
}


@pytest.fixture(autouse=True)
def reference_kernels():
    tinycnn.manual_seed(0)
    with tinycnn.use_kernels("reference"):
        yield


def without_dropout(model):
    for module in model.modules():
        if type(module).__name__ == "Dropout":
            module.p = 0.0
    return model


def as_tuple(output):
    return output if isinstance(output, tuple) else (output,)


@pytest.fixture(scope="module")
def models_on_torch():
    """tinycnn/models, imported a second time into a package whose `nn` is PyTorch's."""
    import torch
    threads = torch.get_num_threads()

    class LocalResponseNorm(torch.nn.LocalResponseNorm):
        def __init__(self, size, alpha, beta, k, alpha_convention="torch"):
            super().__init__(size, alpha * size if alpha_convention == "paper" else alpha, beta, k)

    class ScaledTanh(torch.nn.Module):
        def forward(self, x):
            return 1.7159 * torch.tanh(2 / 3 * x)

    layers = ModuleType("on_torch.nn")
    layers.__dict__.update({name: value for name, value in vars(torch.nn).items() if not name.startswith("__")})
    layers.__dict__.update(LocalResponseNorm=LocalResponseNorm, ScaledTanh=ScaledTanh)
    package = ModuleType("on_torch")
    package.__path__ = []
    package.__dict__.update(nn=layers, **{name: getattr(torch, name) for name in ("cat", "flatten", "is_grad_enabled", "no_grad", "tensor")})
    kernels = ModuleType("on_torch.kernels")
    kernels.__path__ = list(tinycnn.kernels.__path__)
    sys.modules.update({"on_torch": package, "on_torch.nn": layers, "on_torch.nn.init": torch.nn.init, "on_torch.nn.functional": torch.nn.functional,
                        "on_torch.kernels": kernels, "on_torch.names": names})
    try:
        spec = importlib.util.spec_from_file_location("on_torch.models", models.__file__, submodule_search_locations=list(models.__path__))
        module = sys.modules["on_torch.models"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        torch.set_num_threads(1)  # on maps this small its threads wait for each other
        yield module
    finally:
        torch.set_num_threads(threads)
        for name in [name for name in sys.modules if name.split(".")[0] == "on_torch"]:
            del sys.modules[name]


@pytest.mark.torch
@pytest.mark.parametrize("name, training", [*((name, True) for name in TINY), ("googlenet", False), ("resnet20", False)])
def test_as_pytorch_computes_it(name, training, models_on_torch):
    """Outputs and the gradient of every parameter. Kills: an in-place layer that overwrites what a backward needs, a wrong operation under a right shape, a buffer
    that is not in the state dict, anything in our layers that is not as in PyTorch's."""
    import torch
    options, shape = TINY[name]
    ours = without_dropout(models.build(name, init="he" if name != "lenet5_1998" else "paper", **options)).double().train(training)
    theirs = without_dropout(models_on_torch.build(name, **options)).double().train(training)
    theirs.load_state_dict({key: torch.tensor(tensor.numpy()) for key, tensor in ours.state_dict().items()})
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, *shape))
    y, expected = as_tuple(ours(tinycnn.tensor(x))), as_tuple(theirs(torch.tensor(x)))
    assert len(y) == len(expected)
    cotangents = [rng.standard_normal(tuple(out.shape)) for out in expected]
    sum((out * tinycnn.tensor(dy)).sum() for out, dy in zip(y, cotangents)).backward()
    sum((out * torch.tensor(dy)).sum() for out, dy in zip(expected, cotangents)).backward()
    for out, expected_out in zip(y, expected):
        close(out.detach().numpy(), expected_out.detach().numpy(), length=2**20)  # errors of up to 50 layers
    for (key, parameter), their_parameter in zip(ours.named_parameters(), theirs.parameters()):
        if their_parameter.grad is None:  # auxiliary classifiers, in evaluation
            assert parameter.grad is None, key
        else:
            close(parameter.grad.numpy(), their_parameter.grad.numpy(), length=2**24)


def test_googlenet_gives_its_auxiliary_logits_only_in_training():
    """Kills: heads in the wrong order or at the wrong modules; heads in evaluation; a tuple where there are no heads."""
    options = TINY["googlenet"][0]
    model = models.googlenet(**options)
    x = tinycnn.randn(2, 3, 32, 32)
    output = model(x)
    assert type(output) is models.GoogLeNetOutputs and output._fields == ("logits", "aux_logits2", "aux_logits1")
    output.aux_logits1.sum().backward()
    assert model.inception4a.branch1.conv.weight.grad is not None and model.inception4b.branch1.conv.weight.grad is None
    model(x).aux_logits2.sum().backward()
    assert model.inception4d.branch1.conv.weight.grad is not None and model.inception4e.branch1.conv.weight.grad is None
    assert isinstance(model.eval()(x), tinycnn.Tensor)
    assert isinstance(models.googlenet(aux_logits=False, **options)(x), tinycnn.Tensor)


def test_transform_input_undoes_imagenets_normalisation():
    """(pixel - mean) / deviation becomes (pixel - 0.5) / 0.5, colour by colour. Kills: colours mixed up, mean and deviation mixed up, the option ignored."""
    model = models.googlenet_torchvision(width=0.05, image_size=32, num_classes=5, init="he", transform_input=True).double().eval()
    pixels = np.random.default_rng(0).random((2, 3, 32, 32))
    mean, deviation = (np.array(values).reshape(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    y = model(tinycnn.tensor((pixels - mean) / deviation)).detach().numpy()
    model.transform_input = False
    close(y, model(tinycnn.tensor((pixels - 0.5) / 0.5)).detach().numpy(), length=2**20)


def test_a_residual_block_adds_its_input_and_a_plain_one_does_not():
    """With BatchNorm's last scale at zero a block is relu(x), a plain one 0. Kills: plain networks with shortcuts, residual ones without."""
    x = tinycnn.randn(1, 4, 5, 5)
    for kind, expected in (("resnet20", np.maximum(x.numpy(), 0)), ("plain20", np.zeros(x.shape))):
        block = models.build(kind, width=0.25).layer1[0].eval()
        nn.init.zeros_(block.bn2.weight)
        close(block(x).detach().numpy(), expected)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "googlenet_torchvision", "plain20"])
def test_normalisation_and_rectifier_as_one_operation(name):
    """The same outputs, gradients and statistics as layer by layer, which is how it is computed where somebody listens. Kills: a residual forgotten or rectified;
    a batch that is not counted; a hook that is passed over."""
    options, image = TINY[name]
    model = without_dropout(models.build(name, **options)).double()
    state = {path: tensor.clone() for path, tensor in model.state_dict().items()}
    heard, x, answers = [], tinycnn.tensor(np.random.default_rng(0).standard_normal((3, *image))), []
    for listens in (False, True):
        model.load_state_dict(state)
        model.zero_grad()
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        handles = [module.register_forward_hook(lambda module, *_: heard.append(module)) for module in norms if listens]
        out = as_tuple(model(x))
        sum((y * y).sum() for y in out).backward()
        answers.append([tensor.detach().numpy().copy() for tensor in (*out, *model.state_dict().values(), *(p.grad for p in model.parameters()))])
        for handle in handles:
            handle.remove()
    assert set(heard) == set(norms)
    for fused, apart in zip(*answers):
        close(fused, apart, 10_000, np.float64)


def test_shortcut_a_takes_every_second_pixel_and_adds_maps_of_zeros():
    """Kills: averaging, an offset, zeros before the maps instead of behind."""
    x = np.arange(1.0, 33.0).reshape(1, 2, 4, 4)
    y = models.resnet20(width=0.25).layer2[0].downsample(tinycnn.tensor(x)).numpy()
    assert y.shape == (1, 6, 2, 2)
    np.testing.assert_array_equal(y[:, :2], x[:, :, ::2, ::2])
    assert not y[:, 2:].any()


# ---- LeNet-5 as published

def test_c3_reads_what_table_1_says():
    """Output map k of C3 depends on the maps of S2 in row k of the table, and on no others. Kills: a transposed or shifted table, wrong numbers of connections."""
    c3 = lenet.LeNet1998(10, 1, 1.0, 32, "paper").c3
    reads = []
    for k in range(16):
        x = tinycnn.randn(1, 6, 14, 14, requires_grad=True)
        c3(x)[0, k].sum().backward()
        reads.append(tuple(np.flatnonzero(abs(x.grad.numpy()).sum((0, 2, 3)))))
    assert reads == list(lenet.C3_READS)
    assert sorted(map(len, reads)) == [3] * 6 + [4] * 9 + [6]
    assert [sum(c in row for row in reads) for c in range(6)] == [10] * 6  # every map is read equally often
    assert c3.weight.shape == (60, 25)


def test_subsampling_adds_four_scales_and_shifts():
    """Kills: the mean instead of the sum, a coefficient per map mixed up."""
    s2 = lenet.Subsampling(2)
    with tinycnn.no_grad():
        s2.weight.copy_(tinycnn.tensor([2.0, 3.0]))
        s2.bias.copy_(tinycnn.tensor([1.0, -1.0]))
    x = tinycnn.tensor(np.arange(8.0, dtype=np.float32).reshape(1, 2, 2, 2))
    np.testing.assert_array_equal(s2(x).detach().numpy().ravel(), [2 * 6 + 1, 3 * 22 - 1])


def test_radial_basis_scores_a_digits_own_drawing_highest():
    """The score is minus the squared distance: 0 for the drawing itself. Kills: the sign, drawings read by columns, two equal drawings."""
    output = lenet.RadialBasis(84, 10)
    scores = output(output.codes).numpy()
    assert np.array_equal(scores.argmax(1), np.arange(10)) and not scores.diagonal().any()
    a, b = output.codes.numpy()[2], output.codes.numpy()[7]
    assert scores[2, 7] == -4 * (a != b).sum()
    rows = output.codes.numpy()[1].reshape(12, 7)  # "1": a vertical stroke over a foot
    assert (rows[2:10, 3] == 1).all() and (rows[10, 1:] == 1).all() and (rows[0] == -1).all()
    assert set(lenet.RadialBasis(20, 4).codes.numpy().ravel()) == {-1.0, 1.0}


# ---- initial weights

def statistics(layer):
    weight = layer.weight.detach().numpy()
    return weight.mean(), weight.std(), weight.size


def assert_deviation(layer, std, bias=0.0):
    mean, actual, size = statistics(layer)
    assert abs(mean) < 5 * std / size**0.5
    assert abs(actual / std - 1) < 5 / size**0.5  # five deviations of the estimate of a deviation, and more
    if layer.bias is not None:
        assert (layer.bias.detach().numpy() == np.float32(bias)).all()


def layers_of(model):
    return [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]


def test_initialisation_of_the_papers():
    """Kills: a wrong deviation or distribution, fan_out for fan_in, AlexNet's ones in the wrong layers, GoogLeNet's constant biases forgotten."""
    small = {"width": 0.1, "image_size": 32}
    for layer, bias in zip(layers_of(models.alexnet(**small)), (0, 1, 0, 1, 1, 1, 1, 0), strict=True):
        assert_deviation(layer, 0.01, bias)
    for model in (models.alexnet_owt(**small), models.zfnet(**small), models.vgg11(init="normal_0.01", **small)):
        for layer in layers_of(model):
            assert_deviation(layer, 0.01)
    for layer in layers_of(models.vgg11(init="normal_0.1", **small)):
        assert_deviation(layer, 0.1)
    for layer in layers_of(models.vgg11(**small)):
        fan_in = layer.weight[0].numel()
        fan_out = fan_in * layer.weight.shape[0] / layer.weight.shape[1]
        assert_deviation(layer, (2 / (fan_in + fan_out)) ** 0.5)
        assert abs(layer.weight.detach().numpy()).max() <= (6 / (fan_in + fan_out)) ** 0.5  # uniform, not normal
    for model in (models.resnet18(**small), models.resnet20(), models.lenet5()):
        for layer in layers_of(model):
            assert_deviation(layer, (2 / layer.weight[0].numel()) ** 0.5)
    network = models.googlenet(**small)
    for layer in layers_of(network):
        fan_in = layer.weight[0].numel()
        assert_deviation(layer, fan_in**-0.5, 0 if layer in (network.fc, network.aux1.fc2, network.aux2.fc2) else 0.2)
        assert abs(layer.weight.detach().numpy()).max() <= (3 / fan_in) ** 0.5
    for layer in layers_of(models.googlenet_torchvision(**small)):
        assert abs(statistics(layer)[1] / 0.01 - 1) < 5 / layer.weight.numel() ** 0.5


def test_initialisation_of_lenet_1998():
    """All within +-2.4/fan_in, and near to it. Kills: one fan-in for all maps of C3, biases forgotten, subsampling left at the average."""
    for model in (models.lenet5_1998(), models.lenet5(init="paper")):
        for layer in layers_of(model):
            reach = 2.4 / layer.weight[0].numel()
            assert 0.9 * reach < abs(layer.weight.detach().numpy()).max() <= reach
    model = models.lenet5_1998()
    for row, k in zip(model.c3.weight.detach().numpy(), model.c3.outputs):
        reach = 2.4 / (25 * len(lenet.C3_READS[k]))
        assert 0.5 * reach < abs(row).max() <= reach
    for parameter in (model.s2.weight, model.s2.bias, model.s4.weight, model.s4.bias):
        assert 0 < abs(parameter.detach().numpy()).max() <= 0.6 and parameter.detach().numpy().std() > 0


def test_init_none_leaves_the_layers_own_draw():
    """Kills: drawing again when asked not to."""
    tinycnn.manual_seed(3)
    expected = nn.Conv2d(1, 6, 5).weight.detach().numpy()
    tinycnn.manual_seed(3)
    np.testing.assert_array_equal(models.lenet5(init=None).features[0].weight.detach().numpy(), expected)


def test_published_alexnet_splits_into_two_towers():
    """conv2's first half of the filters reads conv1's first half of the maps. Kills: groups in conv3, none in conv2, 4 or 5."""
    convolutions = [layer for layer in models.alexnet(width=0.05).modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.groups for layer in convolutions] == [1, 2, 1, 2, 2]
