"""What the tests of `fuse` share: networks, images, and the comparison with the network in evaluation mode."""
import numpy as np
from tolerance import close

import tinycnn
from tinycnn import models, nn

LAYERS = 10_000  # errors of many layers add up like one sum of so many terms
FAMILIES = {  # the smallest that have every part
    "lenet5": dict(width=0.25, image_size=16), "alexnet": dict(width=1 / 32, image_size=67), "zfnet": dict(width=1 / 32, image_size=64),
    "vgg11": dict(width=1 / 32, image_size=32), "googlenet_torchvision": dict(width=1 / 16, image_size=64), "resnet20": dict(width=0.25, image_size=8),
    "resnet50": dict(width=1 / 32, image_size=32),
}


def drawn(model, seed=0):
    """The model with BatchNorms that do something."""
    rng = np.random.default_rng(seed)
    for layer in model.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.running_mean.array[...] = rng.uniform(-0.5, 0.5, layer.running_mean.shape)
            layer.running_var.array[...] = rng.uniform(0.3, 3, layer.running_var.shape)
            if layer.affine:
                layer.weight.array[...] = rng.uniform(0.5, 1.5, layer.weight.shape)
                layer.bias.array[...] = rng.uniform(-0.5, 0.5, layer.bias.shape)
    return model


def images(*shape, dtype=np.float32, seed=1):
    return tinycnn.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def expected(model, x):
    """What the model says in evaluation mode of a copy of x; the mode stays what it was."""
    modes = [module.training for module in model.modules()]
    with tinycnn.no_grad():
        result = model.eval()(x.clone())
    for module, mode in zip(model.modules(), modes):
        module.training = mode
    return result


def check(model, x, fast=None):
    """The fused model on x, twice, against the model. Returns the plan."""
    fast = fast or tinycnn.fuse(model)
    given = x.array.copy()
    first = fast(x)
    np.testing.assert_array_equal(x.array, given, err_msg="the images were changed")
    assert not np.may_share_memory(first.array, x.array)
    kept = first.array.copy()
    np.testing.assert_array_equal(fast(images(*x.shape, dtype=x.dtype, seed=9)).shape, first.shape)
    np.testing.assert_array_equal(first.array, kept, err_msg="a later call wrote over the result")
    close(first.array, expected(model, x).array, LAYERS)
    np.testing.assert_array_equal(fast(x).array, kept)
    return next(reversed(fast.plans.values()))


def ops(plan):
    return [step.op for step in plan.steps]


def small(name, **options):
    C, size, _ = models.default_input(name)
    size = 67 if size > 100 else size
    tinycnn.manual_seed(0)
    return drawn(models.build(name, width=0.1, image_size=size, num_classes=7, **{"init": "he", **options})), (2, C, size, size)


class Net(nn.Module):
    """Parts a, b, c, ... (convolutions 4 -> 4 unless given), BatchNorms na, nb, and a function of this module and x."""

    def __init__(self, function, **parts):
        super().__init__()
        tinycnn.manual_seed(5)
        for name in "abcd":
            self.add_module(name, parts.get(name) or nn.Conv2d(4, 4, 3, padding=1))
        self.na, self.nb = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(3, 1, 1)
        self.function = function
        drawn(self)

    def forward(self, x):
        return self.function(self, x)
