"""`fuse`: the same results as the network in evaluation mode, whatever is fused, overwritten or put side by side on the way."""
import numpy as np
import pytest
from tolerance import close

import tinycnn
from tinycnn import cat, models, nn
from tinycnn.autograd import Function
from tinycnn.inference.fused import PLANS
from tinycnn.inference.memory import assign
from tinycnn.inference.rewrite import folded
from tinycnn.nn import functional as F

LAYERS = 10_000  # errors of many layers add up like one sum of so many terms


@pytest.fixture(autouse=True)
def reference_kernels():
    with tinycnn.use_kernels("reference"):
        yield


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


@pytest.mark.parametrize("name", [name for name in models.names() if "1202" not in name])
def test_every_network(name):
    """Kills: a BatchNorm folded with the wrong sign, root or order, or into the bias only; epsilon forgotten; a branch at another's place; an addition with what was
    overwritten; dropout that drops; auxiliary heads that are run; a model that is left in another mode."""
    model, shape = small(name)
    assert model.training
    plan = check(model, images(*shape))
    assert model.training and all(module.training for module in model.modules())
    assert not {"dropout", "batch_norm", "add"} & set(ops(plan)) or name == "lenet5_1998"
    model = model.double()
    x = images(*shape, dtype=np.float64)
    exact, found = expected(model, x).array, tinycnn.fuse(model)(x).array
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-10 * np.abs(exact).max())


@pytest.mark.parametrize("name, options", [("lenet5", {"activation": "tanh", "pool": "avg"}), ("alexnet", {"activation": "tanh", "lrn": "torch"}),
                                           ("googlenet_torchvision", {"transform_input": True}), ("resnet34", {"shortcut": "C"}), ("resnet18", {"shortcut": "A"}),
                                           ("resnet50", {"stride_in": "1x1"})])
def test_their_options(name, options):
    """Operations that have no form of their own. Kills: arguments in another order; a view of a buffer that is overwritten; colours mixed up."""
    model, shape = small(name, **options)
    check(model, images(*shape))


def test_weights_are_rounded_once():
    """Kills: folding in float32."""
    rng = np.random.default_rng(0)
    w, norm = rng.standard_normal((50, 3, 3, 3)).astype(np.float32), {part: rng.uniform(0.5, 2, 50).astype(np.float32) for part in ("weight", "bias", "mean", "var")}
    found = folded({"weight": w, "bias": norm["bias"]}, norm, 1e-5)
    weight, bias, mean, var = (array.astype(np.float64) for array in norm.values())
    scale = weight / (var + 1e-5) ** 0.5
    np.testing.assert_array_equal(found["weight"], (w * scale[:, None, None, None]).astype(np.float32))
    np.testing.assert_array_equal(found["bias"], ((bias - mean) * scale + bias).astype(np.float32))


def test_what_is_fused():
    """Kills: rewriting that quietly does nothing."""
    residual, shape = small("resnet18")
    plan = check(residual, images(*shape))
    assert set(ops(plan)) == {"conv", "max_pool", "avg_pool", "flatten", "linear"}
    assert [sum(step.relu for step in plan.steps), sum(step.added for step in plan.steps)] == [17, 8]
    inception, shape = small("googlenet_torchvision")
    plan = check(inception, images(*shape))
    assert not {"relu", "batch_norm"} & set(ops(plan))
    assert all(step.in_place == [0, 1, 2, 3] for step in plan.steps if step.op == "cat") and ops(plan).count("cat") == 9
    vgg, shape = small("vgg11")
    assert set(ops(check(vgg, images(*shape)))) == {"conv", "max_pool", "flatten", "linear"}


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


def two_readers_of_a_relu(net, x):
    y = net.a(x)
    return F.relu(y) + y


def relu_in_place_then_both(net, x):
    y = F.relu(net.a(x), inplace=True)
    return net.b(y) + y * 2


def norm_and_what_it_normalised(net, x):
    y = net.a(x)
    return net.na(y) * y


def one_convolution_twice(net, x):
    return net.na(net.a(net.nb(net.a(x)))) + net.a(x)


def twice_the_same(net, x):
    y = net.a(x)
    return net.b(y + y)


def doubled_channels(net, x):
    y = net.a(x)
    return cat((y, net.b(x), y, x, net.pool(x)), 1)[:, 2:19] * 2


def nested_concatenations(net, x):
    y = cat((net.a(x), net.b(x)), 1)
    z = cat((y, net.c(x)), 1)
    return cat((z, net.d(F.relu(y)[:, 2:6])), 1)


def relu_of_a_concatenation(net, x):
    return net.c(F.relu(cat((net.a(x), net.b(x)), 1), inplace=True)[:, :4]) + net.d(x)


def both_residual(net, x):
    return F.relu(net.na(net.a(x)) + net.nb(net.b(x)))


def the_image_is_added(net, x):
    return F.relu(net.a(x) + x)


def added_after_relu(net, x):
    return F.relu(net.a(x)) + net.pool(x)


def sum_read_twice(net, x):
    y = net.a(x) + net.b(x)
    return F.relu(y) + net.c(y)


def chain_of_sums(net, x):
    return net.a(x) + net.b(x) + net.c(x) + net.d(x)


def waits_for_the_pool(net, x):
    y = net.a(x)
    return net.c(y + net.pool(net.b(x))) + net.d(net.pool(x))


def norm_of_the_image(net, x):
    return net.a(F.relu(net.na(x)))


def two_norms(net, x):
    return net.nb(net.na(net.a(x)))


def norm_behind_relu(net, x):
    return net.na(F.relu(net.a(x)))


def flat_and_not(net, x):
    y = net.a(x)
    return F.relu(y.flatten(1)).sum(1, keepdim=True) + y.flatten(1)


def flat_while_others_run(net, x):
    y = net.a(x).flatten(1)
    return y + net.d(net.c(net.b(x))).flatten(1)


def in_place_arithmetic(net, x):
    y = net.a(x)
    y.mul_(2).add_(net.b(x))
    return net.c(y)


def detached(net, x):
    y = net.a(x)
    return net.b(y.detach()) + y.data


def relu_of_the_image(net, x):
    return net.a(F.relu(x)) + x


def nothing(net, x):
    return x


SHARED = [two_readers_of_a_relu, relu_in_place_then_both, norm_and_what_it_normalised, one_convolution_twice, twice_the_same, doubled_channels, nested_concatenations,
          relu_of_a_concatenation, both_residual, the_image_is_added, added_after_relu, sum_read_twice, chain_of_sums, waits_for_the_pool, norm_of_the_image, two_norms,
          norm_behind_relu, flat_and_not, flat_while_others_run, in_place_arithmetic, detached, relu_of_the_image, nothing]


@pytest.mark.parametrize("function", SHARED)
def test_results_with_several_readers(function):
    """Kills: a result that is fused away or overwritten although somebody still reads it; a convolution that adds before the other operand is there; BatchNorm folded
    into a shared weight, or past a ReLU; the user's images changed."""
    check(Net(function), images(3, 4, 6, 5))
    check(Net(function), images(3, 4, 1, 1))  # on which flattening is a view


ACTIONS = [
    lambda net, conv, a, b: conv(a),
    lambda net, conv, a, b: net.na(conv(a)),
    lambda net, conv, a, b: F.relu(a),
    lambda net, conv, a, b: a + b,
    lambda net, conv, a, b: conv(a) + b,
    lambda net, conv, a, b: net.c(cat((conv(a), net.d(b)), 1)[:, 1:5]),
    lambda net, conv, a, b: net.pool(a),
    lambda net, conv, a, b: cat((a, conv(b)), 1)[:, ::2],
]


def random_network(seed):
    """A function of a Net that applies its parts at random to any of the last results."""
    choices = np.random.default_rng(seed)
    plan = [(choices.integers(len(ACTIONS)), choices.integers(1, 5), choices.integers(1, 5), choices.choice(list("abcd"))) for _ in range(14)]

    def function(net, x):
        results = [x]
        for what, i, j, part in plan:
            results.append(ACTIONS[what](net, getattr(net, part), results[-min(i, len(results))], results[-min(j, len(results))]))
        return cat([results[-1], results[-2], results[-4]], 1).flatten(1)
    return function


@pytest.mark.parametrize("seed", range(40))
def test_random_networks(seed):
    """Kills: whatever goes wrong with lifetimes where nobody thought of it."""
    check(Net(random_network(seed)), images(2, 4, 5, 4))


@pytest.mark.parametrize("seed", range(5))
def test_a_buffer_serves_one_result_at_a_time(seed):
    """Kills: a buffer given away while its result is still to be read (in the very step too that begins the next), or too small; buffers that never serve again."""
    rng = np.random.default_rng(seed)
    begins = np.sort(rng.integers(0, 60, 50))
    buffers = [(str(i), int(begin), int(begin + rng.integers(1, 8)), int(rng.integers(1, 100))) for i, begin in enumerate(begins)]
    slot_of, slots = assign(buffers)
    for i, (name, begin, _, size) in enumerate(buffers):
        assert slots[slot_of[name]] >= size
        assert all(slot_of[other] != slot_of[name] for other, _, end, _ in buffers[:i] if end >= begin)
    assert len(slots) < 25
    chain = [(str(i), i, i + 1, 10) for i in range(30)]
    assert len(assign(chain)[1]) == 2


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
    from collections import namedtuple
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
    (gives_a_dictionary, r"Net gives dict: it must give a tensor, or a tuple of tensors"),
    (makes_filters, r"Net: weights that are computed from the images"),
    (lambda net, x: F.max_pool2d(x, 2, return_indices=True)[1], r"Net: only the first result of MaxPool2d can be used"),
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


@pytest.mark.parametrize("name", ["resnet18", "googlenet"])
def test_the_fast_kernels(name):
    """With packed filters and their own epilogues; on one thread and on two the same bits. Kills: sums of threads in the order in which they finish."""
    with tinycnn.use_kernels("cpu"):
        model, shape = small(name)
        x = images(*shape)
        check(model, x)
        fast, before, found = tinycnn.fuse(model), tinycnn.get_num_threads(), []
        for threads in {1, min(2, before)}:
            tinycnn.set_num_threads(threads)
            found.append(fast(x).array)
        tinycnn.set_num_threads(before)
        np.testing.assert_array_equal(found[0], found[-1])
