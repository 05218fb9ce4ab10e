"""Layers: each calls its operation with the arguments it was given, prints and is declared as in PyTorch, and starts from PyTorch's initial distribution."""
import inspect
import re

import numpy as np
import pytest
from tolerance import close

import tinycnn
from tinycnn import nn
from tinycnn.checker.cases import layers
from tinycnn.nn import functional as F
from tinycnn.tools.trace import record

# what each layer of the checker's table must compute
OPERATIONS = {
    "Linear": lambda l, x: F.linear(x, l.weight, l.bias),
    "Linear, no bias": lambda l, x: F.linear(x, l.weight),
    "Conv2d": lambda l, x: F.conv2d(x, l.weight, None, (2, 1), (1, 0), (2, 2), 2),
    "Conv2d, same": lambda l, x: F.conv2d(x, l.weight, l.bias, padding="same", dilation=(1, 2)),
    "Conv2d, valid": lambda l, x: F.conv2d(x, l.weight, l.bias),
    "ConvTranspose2d": lambda l, x: F.conv_transpose2d(x, l.weight, l.bias, (2, 3), 1, (1, 2), 2, 2),
    "MaxPool2d": lambda l, x: F.max_pool2d(x, 3, 2, 1, 1, True),
    "MaxPool2d, no stride": lambda l, x: F.max_pool2d(x, (3, 2), dilation=(1, 2)),
    "AvgPool2d": lambda l, x: F.avg_pool2d(x, 3, 2, 1, True, False),
    "AvgPool2d, divisor": lambda l, x: F.avg_pool2d(x, 2, divisor_override=3),
    "AdaptiveAvgPool2d": lambda l, x: F.adaptive_avg_pool2d(x, (7, 4)),
    "AdaptiveMaxPool2d": lambda l, x: F.adaptive_max_pool2d(x, (5, 3)),
    "BatchNorm1d": lambda l, x: F.batch_norm(x, None, None, l.weight, l.bias, True, eps=1e-3),
    "BatchNorm1d of lines": lambda l, x: F.batch_norm(x, None, None, training=True),
    "BatchNorm2d": lambda l, x: F.batch_norm(x, None, None, l.weight, l.bias, True),
    "LocalResponseNorm": lambda l, x: F.local_response_norm(x, 3, 0.5, 0.6, 2.0),
    "ReLU": lambda l, x: F.relu(x),
    "ReLU in place": lambda l, x: F.relu(x),
    "Tanh": lambda l, x: x.tanh(),
    "Sigmoid": lambda l, x: x.sigmoid(),
    "Softmax": lambda l, x: F.softmax(x, 1),
    "LogSoftmax": lambda l, x: F.log_softmax(x, 3),
    "Flatten": lambda l, x: x.reshape(2, 4 * 7 * 6),
    "Flatten, two": lambda l, x: x.reshape(8, 7, 6),
    "Unflatten": lambda l, x: x.reshape(2, 2, 2, 7, 6),
    "Identity": lambda l, x: x,
    "Unfold": lambda l, x: F.unfold(x, 3, dilation=2, padding=1, stride=2),
    "Fold": lambda l, x: F.fold(x, (4, 3), 2),
    "ConstantPad2d": lambda l, x: F.pad(x, (1, 2, 0, -1), value=3.5),
    "ZeroPad2d": lambda l, x: F.pad(x, (2, 2, 2, 2)),
    "Dropout, evaluation": lambda l, x: x,
    "Dropout2d, evaluation": lambda l, x: x,
}
LAYERS = {name: (*layers.LAYERS[name], operation) for name, operation in OPERATIONS.items()}
LOSSES = {
    "CrossEntropyLoss": lambda n, w: n.CrossEntropyLoss(w, ignore_index=1, reduction="sum", label_smoothing=0.2),
    "NLLLoss": lambda n, w: n.NLLLoss(w, ignore_index=1, reduction="none"),
}


def numbers(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("case", LAYERS)
def test_a_layer_is_its_operation_with_its_arguments(case):
    """Kills: an argument that is not passed on, or two exchanged."""
    make, shape, operation = LAYERS[case]
    layer = make(nn)
    y = layer(tinycnn.tensor(numbers(shape)))
    np.testing.assert_array_equal(y.detach().numpy(), operation(layer, tinycnn.tensor(numbers(shape))).detach().numpy())


@pytest.mark.torch
@pytest.mark.parametrize("case", LAYERS)
def test_a_layer_is_that_of_pytorch(case):
    """State dict, output, repr. Kills: parameters of another name or shape; defaults that differ."""
    import torch
    make, shape, _ = LAYERS[case]
    mine, theirs = make(nn), make(torch.nn)
    mine.load_state_dict(theirs.state_dict())
    assert list(mine.state_dict()) == list(theirs.state_dict())
    expected = theirs(torch.tensor(numbers(shape))).detach().numpy()
    close(mine(tinycnn.tensor(numbers(shape))).detach().numpy(), expected, length=64)
    assert repr(mine) == re.sub("(affine=[A-Za-z]+), bias=[A-Za-z]+", r"\1", repr(theirs))  # newer versions have a bias option there


@pytest.mark.torch
def test_declarations_are_those_of_pytorch():
    """Names, order and defaults of all arguments that both have, by which PyTorch code is written. Kills: a default changed; an argument in another place."""
    import torch
    left_out = {"size_average", "reduce", "device", "dtype", "_stacklevel", "generator"}  # deprecated or internal; the others are checked where used
    places = [(nn, torch.nn), (nn.functional, torch.nn.functional), (nn.init, torch.nn.init)]
    compared = 0
    for ours, theirs in places:
        for name, function in vars(ours).items():
            other = getattr(theirs, name, None)
            if name.startswith("_") or other is None or not callable(function) or name in ("Sequential", "Module", "Parameter", "Identity", "Tensor"):
                continue
            mine, expected = (arguments(f) for f in (function, other))
            expected = [(argument, default) for argument, default in expected if argument not in left_out]
            mine = [(argument, default) for argument, default in mine if argument not in left_out]
            known = dict(expected)
            shared = [argument for argument, _ in mine if argument in known]
            assert shared == [argument for argument, _ in expected if argument in dict(mine)], name
            for argument, default in mine:
                if argument in known:
                    assert default == known[argument] or (default, known[argument]) == (0.0, None), f"{name}: {argument}={default}, PyTorch's is {known[argument]}"
            compared += 1
    assert compared > 50


def arguments(function):
    """[(name, default)] of a function, or of a class's constructor; the first input, which may be called x, left out for functions."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # a builtin
        return []
    parameters = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return [(p.name, p.default) for p in (parameters if inspect.isclass(function) else parameters[1:])]


@pytest.mark.torch
@pytest.mark.parametrize("case", LOSSES)
def test_losses_pass_their_options_on(case):
    """Against PyTorch's layer, with class weights that are a buffer but not part of a state dict with a gradient. Kills: an option that stays behind."""
    import torch
    w, x, target = np.array([1, 2, 3], np.float32), numbers((4, 3)), np.array([0, 1, 2, 2])
    mine = LOSSES[case](nn, tinycnn.tensor(w))(tinycnn.tensor(x), tinycnn.tensor(target))
    theirs = LOSSES[case](torch.nn, torch.tensor(w))(torch.tensor(x), torch.tensor(target))
    close(mine.numpy(), theirs.numpy(), length=12)


def test_losses_by_hand():
    """Kills: a mean for a sum; the sign."""
    x, y = tinycnn.tensor([[0.0, 0.0], [0.0, 0.0]]), tinycnn.tensor([[1.0, 1.0], [3.0, 1.0]])
    assert nn.MSELoss()(x, y).item() == 3 and nn.MSELoss(reduction="sum")(x, y).item() == 12
    assert abs(nn.CrossEntropyLoss()(x, tinycnn.tensor([0, 1])).item() - np.log(2)) < 1e-6
    assert nn.NLLLoss()(y, tinycnn.tensor([1, 0])).item() == -2
    assert list(nn.CrossEntropyLoss(tinycnn.ones(2)).state_dict()) == ["weight"]


# ---- layers with a memory or a mode

def test_batch_norm_remembers_and_then_uses():
    """Training counts and follows the batches, evaluation uses what was followed. Kills: statistics updated in evaluation; batch statistics used in evaluation; a
    momentum of None that is not the average of all."""
    bn, average = nn.BatchNorm2d(3), nn.BatchNorm2d(3, momentum=None, affine=False)
    batches = [tinycnn.tensor(numbers((4, 3, 2, 2), seed) * (seed + 1) + seed) for seed in range(3)]
    for x in batches:
        bn(x)
        average(x)
    assert bn.num_batches_tracked.item() == 3
    means = [x.numpy().mean((0, 2, 3)) for x in batches]
    close(average.running_mean.numpy(), np.mean(means, 0), length=48)
    close(average.running_var.numpy(), np.mean([x.numpy().var((0, 2, 3), ddof=1) for x in batches], 0), length=48)
    close(bn.running_mean.numpy(), 0.1 * (means[2] + 0.9 * means[1] + 0.81 * means[0]), length=48)
    kept = bn.running_mean.numpy().copy()
    y = bn.eval()(batches[0]).detach().numpy()
    np.testing.assert_array_equal(bn.running_mean.numpy(), kept)
    assert bn.num_batches_tracked.item() == 3
    one = batches[0].numpy()[:, 1]
    close(y[:, 1], (one - kept[1]) / np.sqrt(bn.running_var.numpy()[1] + 1e-5), length=4)
    bn.reset_parameters()
    assert bn.num_batches_tracked.item() == 0 and (bn.running_var.numpy() == 1).all() and (bn.running_mean.numpy() == 0).all()


def test_batch_norm_without_running_statistics():
    """The batch's own in evaluation too. Kills: buffers in the state dict that do not exist in PyTorch's."""
    bn = nn.BatchNorm1d(3, track_running_stats=False)
    x = tinycnn.tensor(numbers((5, 3)))
    y = bn(x).detach().numpy()
    np.testing.assert_array_equal(bn.eval()(x).detach().numpy(), y)
    assert list(bn.state_dict()) == ["weight", "bias"]


def test_dropout_follows_the_mode():
    """Kills: dropout in evaluation, or none in training; p not passed on."""
    tinycnn.manual_seed(0)
    for layer in (nn.Dropout(0.25), nn.Dropout2d(0.25)):
        x = tinycnn.ones(40, 30, 2, 2)
        dropped = (layer(x).numpy() == 0).mean()
        assert 0.15 < dropped < 0.35
        assert layer.eval()(x) is x


def test_scaled_tanh_keeps_one():
    """f(1) = 1, f(-1) = -1, as its constants were chosen for. Kills: 2/3 or 1.7159 mistyped."""
    y = nn.ScaledTanh()(tinycnn.tensor([1.0, -1.0, 0.0, 100.0])).numpy()
    np.testing.assert_allclose(y, [1, -1, 0, 1.7159], atol=1e-4)


def test_lrn_convention_of_the_paper():
    """Kills: the option that does not arrive."""
    x = tinycnn.tensor(numbers(layers.IMAGE))
    paper = nn.LocalResponseNorm(5, 1e-2, alpha_convention="paper")
    np.testing.assert_array_equal(paper(x).numpy(), nn.LocalResponseNorm(5, 5e-2)(x).numpy())
    assert repr(paper) == "LocalResponseNorm(5, alpha=0.01, beta=0.75, k=1.0, alpha_convention='paper')"


def test_pooling_with_indices():
    """Kills: return_indices in the place of ceil_mode, where PyTorch's layer and function differ."""
    x = tinycnn.tensor(numbers(layers.IMAGE))
    for layer in (nn.MaxPool2d(3, 2, 1, 1, True), nn.AdaptiveMaxPool2d(3, True)):
        y, indices = layer(x)
        np.testing.assert_array_equal(x.flatten(2).gather(2, indices.flatten(2)).numpy(), y.flatten(2).numpy())


def test_transposed_convolution_of_a_wanted_size():
    """Every size that the convolution maps to the input's. Kills: output_padding taken from the wrong axis; sizes out of reach accepted."""
    layer = nn.ConvTranspose2d(2, 1, 3, stride=(2, 3), padding=1)
    x = tinycnn.tensor(numbers((1, 2, 4, 3)))
    for size in ((7, 7), (8, 8), (7, 9)):
        assert layer(x, output_size=size).shape == (1, 1, *size)
    assert layer(x, (1, 1, 8, 9)).shape == (1, 1, 8, 9)
    with pytest.raises(ValueError, match=r"\(9, 7\) cannot .* between \(7, 7\) and \(8, 9\)"):
        layer(x, (9, 7))


def test_dtype_and_device_of_a_layer():
    """Kills: dtype= that is dropped."""
    for layer in (nn.Linear(2, 3, dtype=tinycnn.float64, device="cpu"), nn.Conv2d(1, 1, 1, dtype=tinycnn.float64), nn.BatchNorm2d(1, dtype=tinycnn.float64)):
        assert all(p.dtype == tinycnn.float64 for p in layer.parameters())
    assert nn.BatchNorm2d(1, dtype=tinycnn.float64).running_var.dtype == tinycnn.float64


@pytest.mark.parametrize("make, fan_in", [(lambda: nn.Linear(50, 400), 50), (lambda: nn.Conv2d(10, 200, 3, groups=2), 45),
                                          (lambda: nn.ConvTranspose2d(60, 80, (1, 3)), 240)], ids=["Linear", "Conv2d", "ConvTranspose2d"])
def test_initial_weights_are_uniform_within_pytorchs_bound(make, fan_in):
    """U(-b, b) with b = 1/sqrt(fan_in), for weight and bias. Kills: sqrt(3) or the gain wrong; fan_out; groups not counted; memory that was never drawn."""
    tinycnn.manual_seed(0)
    layer = make()
    b = 1 / np.sqrt(fan_in)
    for values in (layer.weight.detach().numpy(), layer.bias.detach().numpy()):
        assert 0.95 * b < np.abs(values).max() <= b
        n = values.size
        assert abs(values.mean()) < 5 * b / np.sqrt(3 * n)
        assert abs(values.std() / (b / np.sqrt(3)) - 1) < 5 / np.sqrt(2 * n)
    first = layer.weight.detach().numpy().copy()
    tinycnn.manual_seed(0)
    np.testing.assert_array_equal(make().weight.detach().numpy(), first)


WRONG = {
    "padding mode": (lambda: nn.Conv2d(1, 1, 3, padding_mode="reflect"), "padding_mode is 'reflect'"),
    "padding name": (lambda: nn.Conv2d(1, 1, 3, padding="full"), "padding is 'full'"),
    "same with stride": (lambda: nn.Conv2d(1, 1, 3, 2, "same"), "stride"),
    "no channels": (lambda: nn.Conv2d(0, 1, 3), "in_channels is 0"),
    "groups and input": (lambda: nn.Conv2d(3, 4, 3, groups=2), "in_channels=3 cannot be divided into groups=2"),
    "groups and output": (lambda: nn.ConvTranspose2d(4, 3, 3, groups=2), "out_channels=3 cannot be divided into groups=2"),
    "kernel size": (lambda: nn.Conv2d(1, 1, (3, 3, 3)), "kernel_size must be"),
    "no kernel": (lambda: nn.Conv2d(1, 1, (3, 0)), r"kernel_size is \(3, 0\); it must be at least 1"),
    "dropout": (lambda: nn.Dropout(-0.1), "p is -0.1"),
    "reduction": (lambda: nn.CrossEntropyLoss(reduction="avg"), "'avg'"),
    "padding": (lambda: nn.ConstantPad2d((1, 2), 0), "left, right, top, bottom"),
    "batch norm dimensions": (lambda: nn.BatchNorm2d(3)(tinycnn.ones(2, 3)), r"expected an input \(N, C, H, W\), got shape \(2, 3\)"),
    "batch norm channels": (lambda: nn.BatchNorm2d(3)(tinycnn.ones(2, 4, 2, 2)), "4 channels"),
    "conv channels": (lambda: nn.Conv2d(3, 4, 3)(tinycnn.ones(1, 2, 5, 5)), "2 channels"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_one_clear_error(case):
    function, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        function()


# ---- a network written for PyTorch

DEFINITION = '''
import torch
import torch.nn as nn
import torch.nn.functional as F

class Residual(nn.Module):
    expansion: int = 1

    def __init__(self, inplanes, planes, stride=1, norm_layer=nn.BatchNorm2d):
        super(Residual, self).__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = norm_layer(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inplanes != planes:
            self.downsample = nn.Sequential(nn.Conv2d(inplanes, planes, 1, stride, bias=False), norm_layer(planes))

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.bn1(self.conv1(x))
        out += identity
        return self.relu(out)

class Net(nn.Module):
    def __init__(self, num_classes=5):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.LocalResponseNorm(3, k=2), nn.MaxPool2d(3, 2, ceil_mode=True))
        self.blocks = nn.ModuleList([Residual(8, 8), Residual(8, 12, 2)])
        self.branch = nn.Conv2d(12, 4, 1)
        self.pool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(p=0.0)
        self.fc1 = nn.Linear(16, 10)
        self.fc2 = nn.Linear(10, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
                if m.bias is not None:
                    nn.init.constant_(m.bias, 0)
            elif isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, 0, 0.01)
                nn.init.zeros_(m.bias)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        x = torch.cat([x, F.relu(self.branch(x))], 1)
        x = torch.flatten(self.pool(x), 1)
        x = self.dropout(torch.tanh(self.fc1(x.view(x.size(0), -1))))
        return F.log_softmax(self.fc2(x), dim=1)

def step(net, x, target):
    """Loss and gradients of one step of training, and the prediction afterwards."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        loss = F.nll_loss(net(x), target)
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        return loss.item(), net(x).argmax(dim=1), net(x)
'''


def run(library, weights, x, target):
    space = {}
    exec(DEFINITION.replace("torch", library.__name__), space)
    net = space["Net"]()
    if weights is not None:
        net.load_state_dict(weights)
    return space["step"](net, library.tensor(x), library.tensor(target)), net


def test_a_pytorch_definition_runs_when_its_import_is_changed():
    """A small network with residuals, branches and everything usual, trained for two steps. Kills: a name, an argument or a method missing that model code uses."""
    x, target = numbers((4, 3, 17, 17)), np.array([0, 1, 2, 3])
    tinycnn.manual_seed(1)
    (loss, _, scores), _ = run(tinycnn, None, x, target)
    assert np.isfinite(loss) and scores.shape == (4, 5)


@pytest.mark.torch
def test_and_gives_the_numbers_of_pytorch():
    """From PyTorch's weights. Kills: a default of layer, loss or optimiser that differs."""
    import torch
    x, target = numbers((4, 3, 17, 17)), np.array([0, 1, 2, 3])
    space = {}
    exec(DEFINITION, space)
    theirs = space["Net"]()
    weights = {name: value.clone() for name, value in theirs.state_dict().items()}
    expected_loss, expected_classes, expected = space["step"](theirs, torch.tensor(x), torch.tensor(target))
    (loss, classes, scores), net = run(tinycnn, weights, x, target)
    assert list(net.state_dict()) == list(weights)
    close(loss, expected_loss, length=1000, dtype=np.float32)
    close(scores.numpy(), expected.numpy(), length=1000)
    np.testing.assert_array_equal(classes.numpy(), expected_classes.numpy())


# ---- a layer and the rectifier behind it

PAIRS = {
    "conv": lambda: nn.Sequential(nn.Conv2d(3, 5, 3, stride=2), nn.ReLU(inplace=True), nn.Conv2d(5, 4, 1, bias=False), nn.ReLU()),
    "norm": lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(2)),
}


def operations(y):
    """The names of all recorded operations behind y."""
    names, stack = [], [y.grad_fn]
    while stack:
        node = stack.pop()
        names.append(type(node).__name__)
        stack += [edge[0] for edge in node.next_functions if edge is not None and not isinstance(edge[0], tinycnn.Tensor)]
    return names


@pytest.mark.parametrize("case", PAIRS)
def test_pairs_in_a_row_are_one_operation(case, monkeypatch):
    """With the results of two. Kills: another result; a rectifier left out; in evaluation the batch's statistics; a pair where a trace must see each layer."""
    tinycnn.manual_seed(0)
    net = PAIRS[case]()
    x = tinycnn.randn(2, 3, 9, 8)
    answers = []
    for apart in (False, True):
        y = x
        for layer in net if apart else [net]:
            y = layer(y)
        assert ("ReLU" in operations(y)) is apart
        answers.append((y.detach().numpy(), [g.numpy() for g in tinycnn.autograd.grad(y.square().sum(), list(net.parameters()))]))
    (y, gradients), (expected, others) = answers
    np.testing.assert_array_equal(y, expected)
    for one, other in zip(gradients, others):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    calls = [call.function.__name__ for call in record(net.eval(), x).calls]
    assert calls.count("ReLU") == sum(isinstance(layer, nn.ReLU) for layer in net) and not any("ReLU" in name and name != "ReLU" for name in calls)
    with tinycnn.no_grad():
        expected = x
        for layer in net:
            expected = layer(expected)
        monkeypatch.setattr(nn.ReLU, "forward", None)
        np.testing.assert_array_equal(net(x).numpy(), expected.numpy())


def test_a_residual_in_evaluation():
    """Where no gradient is wanted one operation, else two, with one result. Kills: the residual rectified before it is added, or forgotten; no gradient."""
    norm, x, add = nn.BatchNorm2d(3), tinycnn.randn(2, 3, 5, 4), tinycnn.randn(2, 3, 5, 4).requires_grad_()
    norm(x)
    norm.eval()
    expected = (norm(x) + add).relu()
    with tinycnn.no_grad():
        np.testing.assert_array_equal(norm.forward_relu(x, add).numpy(), expected.detach().numpy())
    y = norm.forward_relu(x, add)
    np.testing.assert_array_equal(y.detach().numpy(), expected.detach().numpy())
    y.sum().backward()
    np.testing.assert_array_equal(add.grad.numpy(), y.detach().numpy() > 0)


def test_pairs_part_where_somebody_listens():
    """Kills: a hook that never sees its layer, or sees it with the rectifier; a forward of a subclass, or of
    one layer, that is passed over."""
    class Doubled(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * 2

    x = tinycnn.randn(1, 3, 6, 6)
    for listen in (lambda net: net[0].register_forward_hook(lambda *args: None), lambda net: net[1].register_forward_pre_hook(lambda *args: None),
                   lambda net: net[1].register_full_backward_hook(lambda *args: None)):
        net = PAIRS["conv"]()
        listener = listen(net)
        assert operations(net(x)).count("ReLU") == 1
        listener.remove()
        assert "ReLU" not in operations(net(x))
    assert "ReLU" in operations(nn.Sequential(Doubled(3, 2, 1), nn.ReLU())(x))
    for position in (0, 1):
        net = PAIRS["conv"]()
        net[position].forward = net[position].forward  # one layer's own, as who looks into a network may give it
        assert operations(net(x)).count("ReLU") == 1
    assert "ReLU" in operations(nn.Sequential(nn.Conv2d(3, 2, 1), nn.Identity(), nn.ReLU())(x))
