"""`fuse`: the same results as the network in evaluation mode, whatever is fused, overwritten or put side by side on the way."""
import numpy as np
import pytest
from fuse_cases import Net, check, expected, images, ops, small

import tinycnn
from tinycnn import cat, models, nn
from tinycnn.inference.memory import assign
from tinycnn.inference.rewrite import folded
from tinycnn.nn import functional as F


@pytest.fixture(autouse=True)
def reference_kernels():
    with tinycnn.use_kernels("reference"):
        yield


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


class Reductions(nn.Module):
    """Four 1x1 convolutions of the same input. rectified: whether each has a ReLU; the last is read twice, or not."""

    def __init__(self, rectified, twice):
        super().__init__()
        self.rectified, self.twice = rectified, twice
        self.reduce = nn.ModuleList([nn.Conv2d(5, K, 1) for K in (3, 16, 1, 4)])
        self.behind = nn.ModuleList([nn.Conv2d(K, 2, size, padding=size // 2) for K, size in ((3, 3), (16, 5), (1, 1), (4, 3))])

    def forward(self, x):
        reduced = [F.relu(conv(x)) if relu else conv(x) for conv, relu in zip(self.reduce, self.rectified)]
        results = [conv(y) for conv, y in zip(self.behind, reduced)]
        return cat([*results, reduced[-1]] if self.twice else results, 1)


@pytest.mark.parametrize("rectified, twice, filters", [((1, 1, 1, 1), False, [24]), ((1, 0, 1, 0), False, [4, 20]), ((1, 1, 1, 1), True, [20, 4])])
@pytest.mark.parametrize("kernels", ["reference", "cpu"])
def test_reductions_of_one_input_are_one_product(rectified, twice, filters, kernels):
    """Kills: results or filters in another order; a ReLU for those that have none; joining one that somebody else reads too; memory used again too early."""
    with tinycnn.use_kernels(kernels):
        plan = check(Reductions(rectified, twice), images(2, 5, 6, 7))
    assert [step.shape[1] for step in plan.steps if step.text == "1x1" and step.input_shapes[0][1] == 5] == filters


@pytest.mark.parametrize("pool, shape, pooled", [({}, (8, 8), True), ({}, (9, 11), True), ({"ceil_mode": True}, (9, 11), False), ({"stride": 1}, (8, 8), False),
                                                 ({"padding": 1}, (8, 8), False)])
def test_pools_that_convolutions_take_over(pool, shape, pooled, monkeypatch):
    """Where the fast kernels do it: windows of 2x2 that do not overlap. Kills: one of another kind taken for it; a pool or a ReLU lost or done twice."""
    monkeypatch.setenv("TINYCNN_CONV", "winograd")
    behind_relu = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, **pool), nn.Conv2d(16, 3, 1))
    before_relu = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.MaxPool2d(2, **pool), nn.ReLU(), nn.Conv2d(16, 3, 1))
    with tinycnn.use_kernels("cpu"):
        for net in (behind_relu, before_relu):
            plan = check(net, images(2, 16, *shape))
            assert plan.steps[0].algorithm == "winograd" and ("max_pool" not in ops(plan)) == pooled
    assert "max_pool" in ops(check(behind_relu, images(2, 16, *shape)))


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


def statistics_of_the_batch(net, x):
    return net.b(F.relu(F.batch_norm(net.a(x), None, None, net.na.weight, net.na.bias, training=True)))


def norm_and_relu_of_a_sum(net, x):
    y = net.a(x) + x
    return net.b(F.relu(net.na(y))) + net.c(F.relu(net.nb(y))) + net.d(net.na(y))


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


SHARED = [two_readers_of_a_relu, relu_in_place_then_both, norm_and_what_it_normalised, one_convolution_twice, twice_the_same, doubled_channels,
          nested_concatenations, relu_of_a_concatenation, both_residual, the_image_is_added, added_after_relu, sum_read_twice, chain_of_sums, waits_for_the_pool,
          norm_of_the_image, statistics_of_the_batch, norm_and_relu_of_a_sum, two_norms, norm_behind_relu, flat_and_not, flat_while_others_run, in_place_arithmetic,
          detached, relu_of_the_image, nothing]


@pytest.mark.parametrize("function", SHARED)
@pytest.mark.parametrize("kernels", ["reference", "cpu"])
def test_results_with_several_readers(function, kernels):
    """Kills: a result that is fused away or overwritten although somebody still reads it; a convolution that adds before the other operand is there; BatchNorm folded
    into a shared weight, or past a ReLU; the user's images changed."""
    with tinycnn.use_kernels(kernels):
        check(Net(function), images(3, 4, 6, 5))
        check(Net(function), images(3, 4, 1, 1))  # on which flattening is a view


def what_nobody_else_reads(net, x):
    y = net.a(x)
    return net.c(F.relu(net.d(net.b(y)) + y))


def what_is_read_again(net, x):
    y = net.a(x)
    return net.c(F.relu(net.d(net.b(y)) + y)) + net.b(y)


def what_it_convolves(net, x):
    y = net.a(x)
    return net.c(net.b(y) + y)


def another_kind_of_memory(net, x):
    y = net.pool(net.a(x))
    return net.c(net.d(net.b(y)) + y)


@pytest.mark.parametrize("function, over", [(what_nobody_else_reads, 1), (what_is_read_again, None), (what_it_convolves, None), (another_kind_of_memory, None)])
@pytest.mark.parametrize("algorithm", ["implicit", "winograd", "direct"])
def test_a_convolution_writes_over_what_it_adds(function, over, algorithm, monkeypatch):
    """Where that is dead afterwards. Kills: windows that read what is written over already; a residual that somebody still needs; never doing it."""
    monkeypatch.setenv("TINYCNN_CONV", algorithm)
    with tinycnn.use_kernels("cpu"):
        plan = check(Net(function), images(2, 4, 70, 60))
    assert over in [step.overwrites for step in plan.steps if step.added]


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
