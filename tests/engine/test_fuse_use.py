"""`fuse` as people meet it: any shape and layout, several results, snapshots, what it shows, what it refuses."""
import sys
from collections import namedtuple

import numpy as np
import pytest
from fuse_cases import LAYERS, Net, check, drawn, expected, images, ops
from tolerance import close

import tinycnn
from tinycnn import cat, nn
from tinycnn.autograd import Function
from tinycnn.bench.child import resident
from tinycnn.inference.fused import PLANS
from tinycnn.nn import functional as F
from tinycnn.ops.norm import BatchNorm
from tinycnn.tools.graph import trace


@pytest.fixture(autouse=True)
def reference_kernels():
    with tinycnn.use_kernels("reference"):
        yield


def test_a_single_linear_layer():
    """Kills: a plan that needs four dimensions."""
    layer = nn.Linear(5, 3)
    plan = check(layer, images(4, 5))
    assert ops(plan) == ["linear"]
    check(drawn(nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2, bias=False))), images(4, 5))


def test_weights_made_of_weights():
    """Kills: filters from a trace in which nothing was computed."""
    tinycnn.manual_seed(1)
    scale = nn.Parameter(tinycnn.randn(4, 1, 1, 1))
    net = Net(lambda net, x: F.conv2d(x, net.a.weight * net.scale, net.a.bias, padding=1) * tinycnn.tensor([2.0]))
    net.scale = scale
    assert ops(check(net, images(2, 4, 5, 5))) == ["conv", "as it is"]


def result_and_relu(net, x):
    y = net.a(x)
    return y, F.relu(y)


def result_and_sum(net, x):
    y = net.na(net.a(x))
    return y + x, y


def test_several_results():
    """Kills: one result for all; a tuple without its names; a result fused away that the user wants to see too."""
    Pair = namedtuple("Pair", "first second")
    for structure in (lambda *results: results, Pair):
        for function in (lambda net, x: (net.b(F.relu(net.a(x))), net.a(x)), result_and_relu, result_and_sum):
            net = Net(lambda net, x, function=function, structure=structure: structure(*function(net, x)))
            x = images(2, 4, 5, 5)
            found, exact = tinycnn.fuse(net)(x), expected(net, x)
            assert type(found) is type(exact)
            for mine, its in zip(found, exact):
                close(mine.array, its.array, LAYERS)


def test_each_shape_has_its_plan():
    """The batch counts, the last few plans are kept, an empty batch is none to fear. Kills: a plan used for another batch or dtype; plans that pile up."""
    net = Net(lambda net, x: F.relu(net.na(net.a(x))).mean((2, 3)))
    fast = tinycnn.fuse(net)
    for N, H in ((2, 5), (3, 5), (1, 4), (0, 4), (2, 5), (5, 3)):
        x = images(N, 4, H, 5)
        close(fast(x).array, expected(net, x).array, LAYERS)
    assert [key[0] for key in fast.plans] == [(1, 4, 4, 5), (0, 4, 4, 5), (2, 4, 5, 5), (5, 4, 3, 5)] and PLANS == 4


@pytest.mark.parametrize("how", ["strided", "channels-last", "transposed", "read-only"])
def test_images_of_any_layout(how):
    """Kills: memory taken for contiguous."""
    wide = np.random.default_rng(0).standard_normal((4, 4, 5, 14)).astype(np.float32)
    array = {"strided": wide[::2, :, ::-1, 1::3], "channels-last": np.ascontiguousarray(wide.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
             "transposed": wide.swapaxes(2, 3), "read-only": wide.copy()}[how]
    array.flags.writeable = how != "read-only"
    net = Net(lambda net, x: net.b(F.relu(net.na(net.a(x)))) + x)
    x = tinycnn.from_numpy(array)
    close(tinycnn.fuse(net)(x).array, expected(net, x).array, LAYERS)


def test_wrong_images():
    """Kills: an error from deep inside, or none; a broken plan that stays."""
    fast = tinycnn.fuse(Net(lambda net, x: net.a(x)))
    with pytest.raises(TypeError, match=r"fused Net: expected a tensor of images, got ndarray; tinycnn.from_numpy"):
        fast(np.zeros((1, 4, 5, 5), np.float32))
    for _ in range(2):
        with pytest.raises(ValueError, match=r"conv2d: the input \(1, 3, 5, 5\) has 3 channels, but a weight of \(4, 4, 3, 3\)") as error:
            fast(images(1, 3, 5, 5))
        assert "while fusing Net for images of shape (1, 3, 5, 5), float32" in error.value.__notes__
    fast(images(1, 4, 5, 5))
    with pytest.raises(TypeError, match="the input is float64 but the weight is float32"):
        fast(images(1, 4, 5, 5, dtype=np.float64))
    with pytest.raises(TypeError, match=r"fuse: the model must be a tinycnn.nn.Module, got function"):
        tinycnn.fuse(lambda x: x)


def test_a_snapshot():
    """Kills: plans for later shapes that see new weights; a fused module that can be trained, or that takes no part in what evaluation does to modules."""
    net = Net(lambda net, x: net.na(net.a(x)))
    fast, (x, later) = tinycnn.fuse(net), (images(2, 4, 5, 5), images(3, 4, 5, 5))
    before = [expected(net, x).array, expected(net, later).array]
    fast(x)
    net.a.weight.array[...] = 7
    net.na.running_mean.array[...] = 7
    for images_, exact in zip((x, later), before):
        close(fast(images_).array, exact, LAYERS)
    assert tinycnn.fuse(fast) is fast and not list(fast.parameters()) and fast.eval() is fast
    for change in (fast.train, fast.double):
        with pytest.raises(RuntimeError, match="fused Net"):
            change()


def test_no_gradients():
    """Kills: results that drag a graph along."""
    x = images(1, 4, 5, 5).requires_grad_()
    y = tinycnn.fuse(Net(lambda net, x: net.a(x)))(x)
    assert not y.requires_grad and y.grad_fn is None


class Add(Function):
    """Not the engine's Add."""

    def forward(ctx, a, b):
        return a.array - b.array


def looks(net, x):
    return net.a(x) if net.a(x).sum().item() > 0 else net.b(x)


def decides(net, x):
    return net.a(x) if (net.a(x).sum() > 0) else net.b(x)


def selects(net, x):
    y = net.a(x)
    return y[y > 0]


def changes_a_view(net, x):
    y = net.a(x)
    y[:, :2].relu_()
    return y


def assigns(net, x):
    y = net.a(x)
    y[:, 0] = 0.5
    return y


def gives_a_dictionary(net, x):
    return {"scores": net.a(x)}


def makes_filters(net, x):
    return F.conv2d(x, net.a(x)[:, :, :3, :3])


@pytest.mark.parametrize("function, message", [
    (lambda net, x: Add.apply(net.a(x), x), r"Net: the operation Add has no translation \(there are Conv2d, Linear, .*"),
    (looks, r"Net: Python code in Net looks at the numbers of a result, of shape \(\)"),
    (decides, r"Net: Python code in Net looks at the numbers of a result, of shape \(\)"),
    (selects, r"Net: Python code in Net looks at the numbers of a result"),
    (changes_a_view, r"Net: a result was changed in place through another view of its memory"),
    (assigns, r"Net: the operation Set has no translation"),
    (gives_a_dictionary, r"Net gives dict: it must give a tensor, or a tuple of tensors"),
    (makes_filters, r"Net: weights that are computed from the images"),
    (lambda net, x: BatchNorm.apply(x, None, None, 1e-5)[1], r"Net: only the first result of BatchNorm can be used"),
])
def test_what_cannot_be_fused(function, message):
    """Kills: a network that is silently another one."""
    with pytest.raises(ValueError, match=message):
        tinycnn.fuse(Net(function))(images(1, 4, 5, 5))


def test_an_unknown_operation_names_its_layer():
    """Kills: an error that leaves the reader searching."""
    class Odd(nn.Module):
        def forward(self, x):
            return Add.apply(x, x)
    with pytest.raises(ValueError, match=r"Sequential: the operation Add has no translation .* in 1.0 \(Odd\)"):
        tinycnn.fuse(nn.Sequential(nn.ReLU(), nn.Sequential(Odd())))(images(2, 3))


def test_it_shows_its_plan():
    """Kills: a layer, shape, algorithm or fusion that is left out."""
    net = Net(lambda net, x: F.max_pool2d(cat((F.relu(net.na(net.a(x)) + x), net.b(x), F.relu(x)), 1), 2), b=nn.Conv2d(4, 2, (3, 5), padding=(1, 2)))
    fast = tinycnn.fuse(net)
    assert repr(fast) == "Fused(Net, no plan before the first images)"
    with tinycnn.use_kernels("cpu"):
        fast(images(2, 4, 64, 32))
        algorithm = next(iter(fast.plans.values())).steps[0].algorithm
    head, size, *lines = repr(fast).splitlines()
    assert head == "Fused(Net)" and size == "2x4x64x32 float32: 5 steps, 0.2 MiB of buffers"
    assert [" ".join(line.split()) for line in lines] == [
        f"a conv 3x3 padding 1 4x64x32 -> 4x64x32 + na, add, relu into channels 0 to 3 of t6 [{algorithm}]",
        f"b conv 3x5 padding (1, 2) 4x64x32 -> 2x64x32 into channels 4 to 5 of t6 [{algorithm}]",
        "relu relu 4x64x32 -> 4x64x32",
        "cat cat 4x64x32 -> 10x64x32 as t6, 2 of 3 there already",
        "max_pool max_pool 2x2 stride 2 10x64x32 -> 10x32x16"]


def test_fallback():
    """Kills: an error although the model could have run as it is; a network that could be fused and is not; a wrong dtype that is taken for something unknown."""
    x = images(2, 4, 5, 5)
    odd = Net(lambda net, x: looks(net, x) * 2)
    fast = tinycnn.fuse(odd, fallback=True)
    for _ in range(2):
        y = fast(x)
        np.testing.assert_array_equal(y.array, expected(odd, x).array)
        assert not y.requires_grad
    assert "as it is: Net: Python code in Net looks at the numbers" in repr(fast)
    plain = tinycnn.fuse(Net(lambda net, x: net.a(x)), fallback=True)
    with pytest.raises(TypeError, match="the input is float64"):
        plain(images(2, 4, 5, 5, dtype=np.float64))
    plain(x)
    assert plain.plans and plain.unfusable is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_trace_takes_no_memory():
    """Kills: convolutions, additions or concatenations of a trace that fill memory: 60 results of 8 MiB."""
    def function(net, x):
        for _ in range(20):
            x = cat((net.a(x) + x, x), 1)[:, 2:6]
        return x
    before = resident("VmRSS")
    trace(Net(function).eval(), (2, 4, 512, 512), as_it_is=("Take",))
    assert resident("VmRSS") - before < 60
