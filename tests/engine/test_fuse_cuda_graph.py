"""A fused network whose launches are a CUDA graph, on a GPU or on its simulation: bit for bit what the same plan gives launch by launch."""
import threading
import warnings

import numpy as np
import pytest
from cuda_device import needs_simulator, simulator_only
from fuse_cases import FAMILIES, Net, drawn, images

import tinycnn
from tinycnn import cat, models, nn
from tinycnn.kernels.pool import cuda as pool
from tinycnn.kernels.window import Window
from tinycnn.nn import functional as F

pytestmark = needs_simulator


def branches(net, x):
    """A residual block, pools, a concatenation, a classifier."""
    y = net.pool(F.relu(net.na(net.a(x)) + x))
    z = cat((y, F.relu(net.c(y)), F.max_pool2d(net.b(y), 3, 1, 1)), 1)
    return net.linear(F.adaptive_avg_pool2d(z, 1).flatten(1)), z


def network(function=branches):
    net = Net(function)
    net.linear = nn.Linear(12, 3)
    return net


def fused(net, monkeypatch, graph="1"):
    """The network with its launches in graphs, or not."""
    monkeypatch.setenv("TINYCNN_GRAPH", graph)
    tinycnn.cuda.synchronize()
    return tinycnn.fuse(net)


def calls(fast, inputs):
    """What each call gave, looked at after the last."""
    results = [y if isinstance(y, tuple) else (y,) for y in map(fast, inputs)]
    return [[(y.cpu().numpy(), y.array.strides) for y in several] for several in results]


def same(answers, expected):
    for several, exact in zip(answers, expected, strict=True):
        for (y, strides), (exact_y, exact_strides) in zip(several, exact, strict=True):
            np.testing.assert_array_equal(y, exact_y)
            assert strides == exact_strides


def graphs(fast):
    return [graph for plan in fast.plans.values() for graph in plan._results.graphs.values() if graph is not None]


def drawn_images(count, *shape):
    return [images(*(shape or (2, 4, 5, 4)), seed=seed).cuda() for seed in range(count)]


def test_later_images(monkeypatch):
    """Kills: a graph that reads the images of the call that made it; results that the next call overwrites; results in another order of memory."""
    net, inputs = network(), drawn_images(4)
    fast = fused(net, monkeypatch)
    same(calls(fast, inputs), calls(fused(net, monkeypatch, "0"), inputs))
    assert len(graphs(fast)) == 1


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family(name, monkeypatch):
    """Kills: an operation that waits for the device, or copies to it, in every call."""
    options = FAMILIES[name]
    tinycnn.manual_seed(0)
    net = drawn(models.build(name, num_classes=3, **options))
    inputs = drawn_images(3, 2, next(iter(net.parameters())).shape[1], options["image_size"], options["image_size"])
    fast = fused(net, monkeypatch)
    same(calls(fast, inputs), calls(fused(net, monkeypatch, "0"), inputs))
    assert len(graphs(fast)) == 1


def test_other_shapes_and_orders(monkeypatch):
    """Kills: one graph for all shapes, or for both orders of memory (whose sums are rounded differently)."""
    contiguous, wide = drawn_images(2), drawn_images(2, 3, 4, 3, 6)
    channels_last = [x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) for x in contiguous]
    inputs = [x for _ in range(3) for pair in zip(contiguous, wide, channels_last) for x in pair]
    net = network()
    fast = fused(net, monkeypatch)
    same(calls(fast, inputs), calls(fused(net, monkeypatch, "0"), inputs))
    assert len(graphs(fast)) == 3


def test_memory_stays(monkeypatch):
    """Everything else in the process takes and gives back memory. Kills: images, results or memory in between that somebody else gets; tables of windows given back."""
    net, (x, other) = network(), drawn_images(2)
    expected = calls(fused(net, monkeypatch, "0"), [x, other])
    fast, xp = fused(net, monkeypatch), tinycnn.device("cuda").xp
    calls(fast, [x, x])
    for n in range(300):
        pool._axes((n + 1, 1), Window((1, 1), (1, 1)))
    xp.get_default_memory_pool().free_all_blocks()
    taken = [xp.full(size, np.nan, np.float32) for size in range(1, 600, 7) for _ in range(3)]
    same(calls(fast, [x, other]), expected)
    assert len(graphs(fast)) == 1 and len(taken) > 200


def test_a_network_that_is_gone(monkeypatch):
    """Kills: memory given back while the graph still waits to run."""
    net, inputs = network(), drawn_images(3)
    expected = calls(fused(net, monkeypatch, "0"), inputs)
    fast = fused(net, monkeypatch)
    results = [fast(x) for x in inputs]
    assert len(graphs(fast)) == 1
    del fast
    np.testing.assert_array_equal(results[2][1].cpu().numpy(), expected[2][1][0])


def test_weights(monkeypatch):
    """Later changes are not seen, as without graphs. Kills: a graph that reads the model's own weights; plans that make graphs for later shapes of new weights."""
    net, inputs = network().cuda(), drawn_images(2)
    fast = fused(net, monkeypatch)
    before = calls(fast, inputs)
    with tinycnn.no_grad():
        net.a.weight.mul_(2)
        net.linear.bias.add_(1)
    same(calls(fast, inputs), before)
    again = fused(net, monkeypatch)
    same(calls(again, inputs * 2), calls(fused(net, monkeypatch, "0"), inputs * 2))
    assert not np.array_equal(calls(again, inputs)[0][0][0], before[0][0][0])


def waits(net, x):
    return net.a(x)[:, [0, 2]], x  # positions of the host, which are copied to the device


def test_what_cannot_be_captured(monkeypatch):
    """Kills: an error for the user; a graph that copies from the host again; a warning in each call, or none; steps that still hold arrays of what failed."""
    net, inputs = network(waits), drawn_images(4)
    expected = calls(fused(net, monkeypatch, "0"), inputs)
    fast = fused(net, monkeypatch)
    same(calls(fast, inputs[:1]), expected[:1])
    with pytest.warns(RuntimeWarning, match="no CUDA graph, kernels are launched one by one: RuntimeError: an array of the host, of shape"):
        same(calls(fast, inputs[1:2]), expected[1:2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(calls(fast, inputs), expected)
    assert not graphs(fast)


def test_whether_it_is_wanted(monkeypatch):
    """Kills: a variable that does nothing; a misspelt one that passes for another."""
    (x,) = drawn_images(1)
    fast = fused(network(), monkeypatch, "0")
    calls(fast, [x] * 3)
    assert not graphs(fast)
    monkeypatch.setenv("TINYCNN_GRAPH", "no")
    with pytest.raises(ValueError, match="TINYCNN_GRAPH is 'no'; it can be 0 or 1"):
        tinycnn.fuse(network())(x)


def test_threads(monkeypatch):
    """Two threads, a stream each, one network. Kills: images of one thread that overwrite those of the other."""
    net, inputs, answers, xp = network(), drawn_images(2), {}, tinycnn.device("cuda").xp
    expected = calls(fused(net, monkeypatch, "0"), inputs)
    fast = fused(net, monkeypatch)
    calls(fast, inputs)
    start = threading.Barrier(2)

    def run(number):
        with xp.cuda.Stream(non_blocking=True):
            start.wait()
            answers[number] = calls(fast, [inputs[number]] * 10)
    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(2):
        same(answers[number], [expected[number]] * 10)


@simulator_only
def test_streams(monkeypatch):
    """One stream has copied its images and gone no further when the other one runs. Kills: a graph that does not wait for the last call in another stream."""
    net, inputs, xp = network(), drawn_images(2), tinycnn.device("cuda").xp
    expected = calls(fused(net, monkeypatch, "0"), inputs)
    fast = fused(net, monkeypatch)
    calls(fast, inputs)
    first, second = xp.cuda.Stream(non_blocking=True), xp.cuda.Stream(non_blocking=True)
    with first:
        y = fast(inputs[0])
    with second:
        z = fast(inputs[1])
    first.run_until(2)  # the wait and the copy of the images
    with second:
        second_answer = z[1].cpu().numpy()
    with first:
        np.testing.assert_array_equal(y[1].cpu().numpy(), expected[0][1][0])
    np.testing.assert_array_equal(second_answer, expected[1][1][0])


@simulator_only
def test_one_launch(monkeypatch):
    """Kills: a graph beside which everything is launched, too."""
    fast, (x,), stream = fused(network(), monkeypatch), drawn_images(1), tinycnn.device("cuda").xp.cuda.Stream()

    def queued():
        with stream:
            before = stream.done + len(stream.waiting)
            fast(x)
            return stream.done + len(stream.waiting) - before
    assert queued() > 8
    queued()
    assert queued() == 6  # wait for the last call, copy the images, the graph, copy two results, note the end
