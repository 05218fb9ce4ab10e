"""`fuse` on a GPU, here on its simulation: what the network gives that was not fused. The plans are those of test_fuse.py, made for the device of the images."""
import numpy as np
import pytest
from cuda_device import needs_simulator
from fuse_cases import FAMILIES, LAYERS, Net, drawn, expected, images, ops
from tolerance import close

import tinycnn
from tinycnn import cat, models, nn
from tinycnn.nn import functional as F

pytestmark = needs_simulator


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family(name):
    """Kills: weights that stay on the CPU; an addition, ReLU or branch that is lost where a convolution cannot do it on the way; a result overwritten too early."""
    options = FAMILIES[name]
    tinycnn.manual_seed(0)
    model = drawn(models.build(name, num_classes=3, **options))
    x = images(2, next(iter(model.parameters())).shape[1], options["image_size"], options["image_size"])
    fast = tinycnn.fuse(model)
    y = fast(x.cuda())
    assert y.device == "cuda" and not {"batch_norm", "add", "dropout"} & set(ops(next(iter(fast.plans.values()))))
    close(y.cpu().numpy(), expected(model, x).array, LAYERS)


def several_readers(net, x):
    y = net.na(net.a(x))
    z = F.relu(y + x)
    return net.b(cat((z, net.pool(net.c(z)), y), 1)[:, 2:6]) * tinycnn.tensor([2.0], device=x.device) + net.d(z).exp().mean()


def flat(net, x):
    y = net.a(x)
    return F.relu(y.flatten(1)) + y.flatten(1)


def part_and_whole(net, x):
    y = net.a(x)
    return cat((F.relu(y[:, :2]), y), 1)


@pytest.mark.parametrize("function", [several_readers, flat, part_and_whole])
def test_results_with_several_readers(function):
    """Kills: constants of the trace on another device; a view of what is overwritten."""
    net = Net(function)
    for x in (images(2, 4, 5, 4), images(3, 4, 1, 1)):
        close(tinycnn.fuse(net)(x.cuda()).cpu().numpy(), expected(net, x).array, LAYERS)


def test_wherever_the_model_is():
    """The model on either device, the images on either, one fused module for both. Kills: a device that is the model's; a model moved from under its user's hands."""
    net, x = Net(lambda net, x: F.relu(net.na(net.a(x)) + x)), images(2, 4, 5, 4)
    exact = expected(net, x).array
    for model in (net, net.cuda()):
        fast = tinycnn.fuse(model).to("cuda")
        for given in (x, x.cuda(), x):
            y = fast(given)
            assert y.device == given.device
            close(y.cpu().numpy(), exact, LAYERS)
        assert len(fast.plans) == 2
    assert net.a.weight.device == "cuda"
    with pytest.raises(RuntimeError, match="fused Net: convert the model that it was made from"):
        fast.to("cuda", tinycnn.float64)
    with pytest.raises(RuntimeError, match="fused Net: convert"):
        fast.to("coda")


def test_fallback():
    """Kills: a model that runs on the CPU with images of the device."""
    net = Net(lambda net, x: net.a(x) if net.a(x).sum().item() > -1e9 else x)
    x = images(2, 4, 5, 4)
    close(tinycnn.fuse(net, fallback=True)(x.cuda()).cpu().numpy(), expected(net, x).array, LAYERS)


def test_memory_is_free_again():
    """Kills: a plan that keeps the results of a call."""
    pool = tinycnn.device("cuda").xp.get_default_memory_pool()
    fast, x = tinycnn.fuse(nn.Sequential(*(nn.Conv2d(4, 4, 1) for _ in range(5)))), images(2, 4, 16, 16).cuda()
    fast(x).cpu()  # what is queued keeps its arrays
    before = pool.used_bytes()
    y = fast(x)
    assert np.isfinite(y.cpu().numpy()).all() and pool.used_bytes() - before <= y.array.nbytes + 1024
