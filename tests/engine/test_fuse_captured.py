"""A fused network as one call, on the CPU, a GPU and its simulation: bit for bit what the same plan gives kernel by kernel."""
import threading
import warnings

import numpy as np
import pytest
from cuda_device import CUDA, needs_simulator, simulator_only
from fuse_cases import FAMILIES, LAYERS, Net, drawn, images
from op_cases import CASES, inputs
from tolerance import close

import tinycnn
from tinycnn import cat, models, nn
from tinycnn.inference import captured, rewrite
from tinycnn.inference.steps import FUNCTIONS
from tinycnn.kernels.pool import cuda as pool
from tinycnn.kernels.window import Window
from tinycnn.nn import functional as F


@pytest.fixture(params=["cpu", CUDA])
def device(request):
    if request.param == "cuda":
        tinycnn.cuda.synchronize()
    return request.param


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
    """The network, with graphs or not."""
    monkeypatch.setenv("TINYCNN_GRAPH", graph)
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
    return [graph for plan in fast.plans.values() for graph in plan._results.graphs.values() if graph and graph.certain]


def drawn_images(device, count, *shape):
    return [images(*(shape or (2, 4, 5, 4)), seed=seed).to(device) for seed in range(count)]


def test_later_images(device, monkeypatch):
    """Kills: a graph that reads the images of the call that made it; results that the next call overwrites; results in another order of memory."""
    net, inputs = network(), drawn_images(device, 4)
    fast = fused(net, monkeypatch)
    same(calls(fast, inputs), calls(fused(net, monkeypatch, "0"), inputs))
    assert len(graphs(fast)) == 1


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family(name, device, monkeypatch):
    """Kills: an operation that waits for the device, or copies to it, in every call."""
    options = FAMILIES[name]
    tinycnn.manual_seed(0)
    net = drawn(models.build(name, num_classes=3, **options))
    inputs = drawn_images(device, 4, 2, next(iter(net.parameters())).shape[1], options["image_size"], options["image_size"])
    fast = fused(net, monkeypatch)
    same(calls(fast, inputs), calls(fused(net, monkeypatch, "0"), inputs))
    assert len(graphs(fast)) == 1


def test_other_shapes_and_orders(device, monkeypatch):
    """Kills: one graph for all shapes, or for both orders of memory (whose sums are rounded differently)."""
    contiguous, wide = drawn_images(device, 2), drawn_images(device, 2, 3, 4, 3, 6)
    channels_last = [x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) for x in contiguous]
    inputs = [x for _ in range(4) for pair in zip(contiguous, wide, channels_last) for x in pair]
    net = network()
    fast = fused(net, monkeypatch)
    same(calls(fast, inputs), calls(fused(net, monkeypatch, "0"), inputs))
    assert len(graphs(fast)) == 3
    more = [x.permute(*order).contiguous().permute(*order) for x in contiguous[:1] for order in ((0, 2, 1, 3), (0, 1, 3, 2))]
    same(calls(fast, more), calls(fused(net, monkeypatch, "0"), more))
    assert len(graphs(fast)) < 3


def test_memory_stays(device, monkeypatch):
    """Everything else in the process takes and gives back memory. Kills: images, results or memory in between that somebody else gets; tables of windows given back."""
    net, (x, other) = network(), drawn_images(device, 2)
    expected = calls(fused(net, monkeypatch, "0"), [x, other])
    fast, xp = fused(net, monkeypatch), tinycnn.device(device).xp
    calls(fast, [x, x, x])
    if device == "cuda":
        for n in range(300):
            pool._axes((n + 1, 1), Window((1, 1), (1, 1)))
        xp.get_default_memory_pool().free_all_blocks()
    taken = [xp.full(size, np.nan, np.float32) for size in range(1, 600, 7) for _ in range(3)]
    same(calls(fast, [x, other]), expected)
    assert len(graphs(fast)) == 1 and len(taken) > 200


def test_a_network_that_is_gone(device, monkeypatch):
    """Kills: memory given back while the graph still waits to run."""
    net, inputs = network(), drawn_images(device, 4)
    expected = calls(fused(net, monkeypatch, "0"), inputs)
    fast = fused(net, monkeypatch)
    results = [fast(x) for x in inputs]
    assert len(graphs(fast)) == 1
    del fast
    np.testing.assert_array_equal(results[3][1].cpu().numpy(), expected[3][1][0])


def test_weights(device, monkeypatch):
    """Later changes are not seen, as without graphs. Kills: a graph that reads the model's own weights; plans that make graphs for later shapes of new weights."""
    net, inputs = network().to(device), drawn_images(device, 3)
    fast = fused(net, monkeypatch)
    before = calls(fast, inputs)
    with tinycnn.no_grad():
        net.a.weight.mul_(2)
        net.linear.bias.add_(1)
    same(calls(fast, inputs), before)
    again = fused(net, monkeypatch)
    same(calls(again, inputs), calls(fused(net, monkeypatch, "0"), inputs))
    assert not np.array_equal(calls(again, inputs)[0][0][0], before[0][0][0])


def waits(net, x):
    return net.a(x)[:, [0, 2]], x  # positions of the host, which are copied to the device


@needs_simulator
def test_what_cannot_be_captured(monkeypatch):
    """Kills: an error for the user; a graph that copies from the host again; a warning in each call, or none; steps that still hold arrays of what failed."""
    net, inputs = network(waits), drawn_images("cuda", 4)
    expected = calls(fused(net, monkeypatch, "0"), inputs)
    fast = fused(net, monkeypatch)
    same(calls(fast, inputs[:1]), expected[:1])
    with pytest.warns(RuntimeWarning, match="no graph, kernels are launched one by one: RuntimeError: an array of the host, of shape"):
        same(calls(fast, inputs[1:2]), expected[1:2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(calls(fast, inputs), expected)
    assert not graphs(fast)


def test_whether_it_is_wanted(device, monkeypatch):
    """Kills: a variable that does nothing; a misspelt one that passes for another."""
    (x,) = drawn_images(device, 1)
    fast = fused(network(), monkeypatch, "0")
    calls(fast, [x] * 3)
    assert not graphs(fast)
    with pytest.warns(RuntimeWarning, match="ValueError: TINYCNN_GRAPH is 'no'; it can be 0 or 1") as found:
        calls(fused(network(), monkeypatch, "no"), [x] * 4)
    assert len(found) == 1


@needs_simulator
def test_threads(monkeypatch):
    """Two threads, a stream each, one network. Kills: images of one thread that overwrite those of the other."""
    net, inputs, answers, xp = network(), drawn_images("cuda", 2), {}, tinycnn.device("cuda").xp
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


@needs_simulator
@simulator_only
def test_streams(monkeypatch):
    """One stream has copied its images and gone no further when the other one runs. Kills: a graph that does not wait for the last call in another stream."""
    net, inputs, xp = network(), drawn_images("cuda", 2), tinycnn.device("cuda").xp
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


@needs_simulator
@simulator_only
def test_one_launch(monkeypatch):
    """Kills: a graph beside which everything is launched, too."""
    fast, (x,), stream = fused(network(), monkeypatch), drawn_images("cuda", 1), tinycnn.device("cuda").xp.cuda.Stream()

    def queued():
        with stream:
            before = stream.done + len(stream.waiting)
            fast(x)
            return stream.done + len(stream.waiting) - before
    assert queued() > 8
    queued()
    assert queued() == 6  # wait for the last call, copy the images, the graph, copy two results, note the end


class Case(nn.Module):
    """One of the checker's operations, on its first input and constants for the others."""

    def __init__(self, case):
        super().__init__()
        self.apply_, self.others = CASES[case][0], [tinycnn.from_numpy(array) for array in inputs(case, np.float32)[1:]]

    def forward(self, x):
        return self.apply_(tinycnn, x, *self.others)


@pytest.mark.parametrize("case", CASES)
def test_operations(case):
    """All that can be in a plan. Kills: NumPy's work that no list has, in a kernel or in a step."""
    fast, (first, *_) = tinycnn.fuse(Case(case)), inputs(case, np.float32)
    given = [tinycnn.from_numpy(array) for array in (first, first[::-1] + 0.01, first * 2, first + 0.5)]
    try:
        answers = calls(fast, given)
    except ValueError:
        pytest.skip("no operation for networks that are fused")
    with tinycnn.no_grad():
        for (y, _), x in zip((several[0] for several in answers), given):
            close(y, Case(case)(x).numpy(), LAYERS)
    assert len(graphs(fast)) == 1


@pytest.mark.parametrize("algorithm", ["winograd", "implicit", "direct", "im2col"])
def test_what_convolutions_do_besides(algorithm, monkeypatch):
    """Each by each algorithm. Kills: a ReLU, an addition, a pool or a place among other channels that is NumPy's and in no list."""
    monkeypatch.setenv("TINYCNN_CONV", algorithm)
    net = Net(lambda net, x: cat((F.relu(net.a(x) + x), net.c(x), F.relu(net.b(x)), net.pool(x)), 1)[:, 2:] + 1)
    pooled = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 1))
    for each in (net, pooled):
        fast, inputs = fused(each, monkeypatch), drawn_images("cpu", 5)
        same(calls(fast, inputs), calls(fused(each, monkeypatch, "0"), inputs))
        assert len(graphs(fast)) == 1


@pytest.mark.parametrize("same_images", [False, True])
def test_what_is_not_seen(same_images, monkeypatch):
    """A step by NumPy into a buffer of the plan. Kills: results of then; a comparison with what the function has left in the buffer; a warning in each call, or none."""
    def add(step, device, out, given):
        return lambda a, b: np.add(a, b, out=b)
    monkeypatch.setitem(FUNCTIONS, "add", add)
    net, inputs = Net(lambda net, x: net.c(net.b(F.relu(net.pool(net.a(x))) + net.d(x)))), drawn_images("cpu", 6)
    monkeypatch.setattr(rewrite, "fuse_additions", lambda steps, outputs: steps)
    inputs = inputs[:1] * 6 if same_images else inputs
    expected = calls(fused(net, monkeypatch, "0"), inputs)
    fast = fused(net, monkeypatch)
    with pytest.warns(RuntimeWarning, match="no graph, kernels are launched one by one: when they were repeated, results were others") as found:
        same(calls(fast, inputs), expected)
    assert len(found) == 1 and not graphs(fast)


def test_other_threads(monkeypatch):
    """Of Python, and of kernels. Kills: scratch memory that two use at the same time, or that is for fewer."""
    net, inputs, answers, before = network(), drawn_images("cpu", 4), [], tinycnn.get_num_threads()
    expected = calls(fused(net, monkeypatch, "0"), inputs)
    fast = fused(net, monkeypatch)
    calls(fast, inputs)
    (graph,) = graphs(fast)
    monkeypatch.setattr(type(graph), "__call__", lambda self, x: pytest.fail("it was called"))
    thread = threading.Thread(target=lambda: answers.extend(calls(fast, inputs)))
    thread.start()
    thread.join()
    same(answers, expected)
    try:
        tinycnn.set_num_threads(3 - min(before, 2))
        same(calls(fast, inputs), expected)
    finally:
        tinycnn.set_num_threads(before)


def test_many_images(monkeypatch):
    """Kills: copies of images that take longer than what they save."""
    monkeypatch.setattr(captured, "MOST_BYTES", 700)
    fast = fused(network(), monkeypatch)
    for N in (2, 3):
        calls(fast, drawn_images("cpu", 4, N, 4, 5, 4))
    assert [len(plan._results.graphs) for plan in fast.plans.values()] == [1, 0]
