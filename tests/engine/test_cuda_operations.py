"""The whole engine on the device "cuda", here on its simulation: every operation, and a training step of each family of networks, gives the CPU's numbers."""
import nn_cases
import numpy as np
import op_cases
import pytest
from cuda_device import needs_simulator, simulator_only
from tolerance import close

import tinycnn
from tinycnn import models, nn, optim

pytestmark = needs_simulator


class OnCuda:
    """The module tinycnn, except that tensors are made on the device."""

    __name__ = "tinycnn"

    def __getattr__(self, name):
        return getattr(tinycnn, name)

    def tensor(self, data, **options):
        return tinycnn.tensor(data, device="cuda", **options)


def on(device):
    """(the module, what makes a leaf from an array) for the tables of cases."""
    return tinycnn if device == "cpu" else OnCuda(), lambda array: tinycnn.tensor(array, device=device, requires_grad=True)


@pytest.mark.parametrize("case", op_cases.CASES)
def test_basic_operations(case):
    """Kills: arithmetic by the array module instead of a kernel; a gradient on the wrong device; a kernel that takes a view for contiguous memory."""
    answers = []
    for device in ("cpu", "cuda"):
        module, make = on(device)
        answers.append(op_cases.value_and_gradients(module, case, make))
    (y, gradients), (expected, expected_gradients) = answers[1], answers[0]
    close(y, expected, 16)
    for gradient, expected in zip(gradients, expected_gradients):
        close(gradient, expected, 16)


@pytest.mark.parametrize("case", nn_cases.CASES)
def test_operations_of_networks(case):
    """Up to second derivatives. Kills: the same, and a backward kernel that disagrees with the formula written with tensors."""
    answers = [nn_cases.derivatives(module, case, make) for module, make in map(on, ("cpu", "cuda"))]
    for expected, actual in zip(*answers):
        close(actual, expected, 64)


@pytest.mark.parametrize("function, inputs", [
    (lambda x, w: nn.functional.conv2d(x, w, padding=1, stride=2).relu(), ((2, 3, 5, 4), (4, 3, 3, 3))),
    (lambda x, w, b: nn.functional.batch_norm(x, None, None, w, b, True), ((3, 2, 2, 3), (2,), (2,))),
    (lambda x: nn.functional.max_pool2d(x, 3, 2), ((1, 2, 7, 5),)),
    (lambda x: nn.functional.local_response_norm(x, 3, 1.0), ((1, 5, 2, 2),)),
    (lambda x: nn.functional.cross_entropy(x, tinycnn.tensor([0, 2, 1, 1], device="cuda"), label_smoothing=0.1), ((4, 3),)),
], ids=["convolution", "batch_norm", "max_pool", "response_norm", "cross_entropy"])
def test_gradients_against_differences(function, inputs):
    """The checker works on the CPU, the function on the device. Kills: a backward that agrees with the CPU's and not with the forward."""
    rng = np.random.default_rng(0)
    tensors = [tinycnn.tensor(rng.permutation(int(np.prod(shape))).reshape(shape) / 8 - 1.3, requires_grad=True) for shape in inputs]
    assert tinycnn.autograd.gradcheck(lambda *tensors: function(*(x.cuda() for x in tensors)).cpu(), tensors)


def test_the_same_dropout():
    """Masks of the same seeds, in both memory orders. Kills: another generator or counter on the device; a stream of random numbers for each device."""
    dropped = []
    for device in ("cpu", "cuda"):
        tinycnn.manual_seed(5)
        x = tinycnn.ones(2, 3, 5, 7, device=device)
        dropped.append([nn.functional.dropout(x, p, True).cpu().numpy() for p in (0.2, 0.5)] + [nn.functional.dropout2d(x, 0.5, True).cpu().numpy()])
    for here, there in zip(*dropped):
        np.testing.assert_array_equal(here, there)
    assert not (dropped[0][0] == dropped[0][1]).all()


NETWORKS = {  # the smallest that have every part
    "lenet5": dict(width=0.25, image_size=16),
    "alexnet": dict(width=1 / 32, image_size=67),
    "zfnet": dict(width=1 / 32, image_size=64),
    "vgg11": dict(width=1 / 32, image_size=32),
    "googlenet": dict(width=1 / 16, image_size=64),
    "resnet20": dict(width=0.25, image_size=8),
    "resnet18": dict(width=1 / 32, image_size=32),
}


def steps(name, device, dtype, optimizer, count=2):
    """Losses, and the state after `count` steps of training."""
    tinycnn.manual_seed(3)
    options = NETWORKS[name]
    model = models.build(name, num_classes=3, **options).to(dtype).to(device)
    channels = next(iter(model.parameters())).shape[1]
    images = np.random.default_rng(0).standard_normal((3, channels, options["image_size"], options["image_size"]))
    x, y = tinycnn.tensor(images, dtype=dtype, device=device), tinycnn.tensor([0, 2, 0], device=device)
    optimizer, losses = optimizer(model.parameters()), []
    tinycnn.manual_seed(4)
    for _ in range(count):
        outputs = model(x)
        loss = sum(nn.functional.cross_entropy(logits, y) for logits in (outputs if isinstance(outputs, tuple) else (outputs,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {key: tensor.cpu().numpy() for key, tensor in model.state_dict().items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_of_training_is_the_cpus(name):
    """Losses of two steps, and all weights and running statistics after them, in float64: dropout, auxiliary heads and all. Kills: whatever differs in a network and not
    in its operations alone; a state of the optimiser that is lost between steps; statistics that are not updated."""
    def optimizer(parameters):
        return optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=1e-3)
    (losses, state), (expected_losses, expected) = (steps(name, device, tinycnn.float64, optimizer) for device in ("cuda", "cpu"))
    close(losses, expected_losses, 1e6, np.float64)
    assert losses[0] != losses[1]
    for key, value in expected.items():
        close(state[key], value, 1e6, np.float64)


@pytest.mark.parametrize("optimizer", [optim.Adam, optim.RMSprop])
def test_other_optimisers(optimizer):
    """Kills: a state made on the CPU."""
    (losses, _), (expected, _) = (steps("lenet5", device, tinycnn.float64, lambda parameters: optimizer(parameters, lr=1e-3), 3) for device in ("cuda", "cpu"))
    close(losses, expected, 1e6, np.float64)


def test_float32():
    """With the fast convolutions, which round otherwise than the CPU's. Kills: a kernel that is wrong in float32 alone."""
    (losses, _), (expected, _) = (steps("lenet5", device, tinycnn.float32, lambda parameters: optim.SGD(parameters, lr=1e-3), 1) for device in ("cuda", "cpu"))
    close(np.float32(losses), expected, 1e4)


def test_a_target_that_is_no_class():
    """The loss is NaN, and the host need not wait to find out. Kills: memory read out of bounds; a wrong label that goes unnoticed."""
    scores = tinycnn.zeros(2, 3, device="cuda")
    for label in (3, -1):
        target = tinycnn.tensor([0, label], device="cuda")
        assert np.isnan(nn.functional.cross_entropy(scores, target).item()) and np.isnan(nn.functional.nll_loss(scores, target).item())


@simulator_only  # CuPy's arrays cannot be watched in this way
def test_no_waiting_in_a_step(monkeypatch):
    """From the images to the updated weights nothing is read back. Kills: an operation that looks at its numbers on the host."""
    from tinycnn.kernels.cuda import array_module
    model = models.build("resnet20", num_classes=3, **NETWORKS["resnet20"]).to("cuda")
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, y = tinycnn.ones(2, 3, 8, 8, device="cuda"), tinycnn.tensor([0, 2], device="cuda")

    def refuse(*_, **__):
        raise AssertionError("the host waits for the device")
    monkeypatch.setattr(array_module().ndarray, "get", refuse)
    for _ in range(2):
        loss = nn.functional.cross_entropy(model(x), y, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    monkeypatch.undo()
    assert np.isfinite(loss.item())
