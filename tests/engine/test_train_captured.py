"""Forward and backward as one call, on the CPU, a GPU and its simulation: bit for bit what the same steps give kernel by kernel."""
import threading
import warnings
from functools import partial

import numpy as np
import pytest
from cuda_device import CUDA, needs_simulator, simulator_only

import tinycnn
from tinycnn import models, nn, optim
from tinycnn.nn import functional as F
from tinycnn.random import get_rng_state
from tinycnn.train.captured import CapturedGradients, compute_gradients


@pytest.fixture(params=["cpu", CUDA])
def device(request, monkeypatch):
    if request.param == "cuda":
        monkeypatch.setenv("TINYCNN_GRAPH", "1")
        tinycnn.cuda.synchronize()
    return request.param


class Net(nn.Module):
    """Everything that has a state: BatchNorm, one of them with a plain average, and dropout of both kinds; a residual block; a parameter that is not used."""

    def __init__(self):
        super().__init__()
        self.a, self.na = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.b, self.nb = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4, momentum=None)
        self.drop2d, self.drop, self.pool = nn.Dropout2d(0.3), nn.Dropout(0.4), nn.MaxPool2d(2)
        self.linear, self.unused = nn.Linear(16, 5), nn.Linear(2, 2)

    def forward(self, x):
        y = F.relu(self.na(self.a(x)))
        y = self.pool(F.relu(self.nb(self.b(self.drop2d(y))) + y))
        return self.linear(self.drop(y.flatten(1)))


def batches(device, count, size=3):
    rng = np.random.default_rng(1)
    numbers = [(rng.standard_normal((size, 3, 4, 4), np.float32), rng.integers(0, 5, size)) for _ in range(count)]
    return [tuple(tinycnn.from_numpy(array).to(device) for array in batch) for batch in numbers]


def last(gradients):
    """The passes for images of the form that was used last."""
    return list(gradients.passes.values())[-1]


SGD = partial(optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True)


def train(captured, inputs, before=lambda number, net, optimizer: None, loss_function=F.cross_entropy, make_optimizer=SGD):
    """(what there is to see after each step, whether each was a graph). before(number, net, optimizer): what somebody does before each step."""
    tinycnn.manual_seed(0)
    net = Net().to(inputs[0][0].device).train()
    optimizer = make_optimizer(net.parameters())
    gradients = CapturedGradients(net, loss_function) if captured else partial(compute_gradients, net, loss_function)
    seen, graphs = [], []
    for number, batch in enumerate(inputs):
        before(number, net, optimizer)
        loss = gradients(*batch)
        assert not loss.requires_grad
        optimizer.step()
        seen.append([loss.cpu().numpy(), *(x.cpu().numpy().copy() for x in net.state_dict().values()), get_rng_state()["calls"],
                     *(None if p.grad is None else p.grad.cpu().numpy().copy() for p in net.parameters())])
        graphs.append(captured and last(gradients).graph)
    return seen, [graph is not None and graph not in graphs[:n] for n, graph in enumerate(graphs)] if captured else None


def same(inputs, captures, **options):
    """As kernel by kernel; a graph is captured in the steps with these numbers, and repeated until..."""
    expected, _ = train(False, inputs, **options)
    seen, graphs = train(True, inputs, **options)
    for number, (ours, theirs) in enumerate(zip(seen, expected, strict=True)):
        for a, b in zip(ours, theirs, strict=True):
            assert (a is None) == (b is None), number
            np.testing.assert_array_equal(a, b, err_msg=f"step {number}")
    assert [number for number, captured in enumerate(graphs) if captured] == captures


def test_steps(device):
    """Kills: images, labels or a loss of the step that was captured; statistics, counters, momentum or a mask of then; gradients that nobody sees."""
    same(batches(device, 6), [1])


def test_what_changes_on_the_host(device):
    """Kills: a learning rate, a probability, a mode, a frozen weight of the step that was captured."""
    def before(number, net, optimizer):
        if number == 4:
            optimizer.param_groups[0]["lr"] = 0.05
        if number == 7:
            net.drop.p = 0.0
        if number == 10:
            net.na.eval()
        if number == 13:
            net.b.weight.requires_grad_(False)
    same(batches(device, 16), [1, 8, 11, 14], before=before)


def test_other_sizes(device):
    """The last batch of an epoch is smaller, and later there is a third size. Kills: a graph for other shapes; one that is made anew in each epoch; ever more graphs."""
    wide, small, single = batches(device, 9), batches(device, 4, 2), batches(device, 1, 1)
    same([*wide[:4], small[0], wide[4], small[1], wide[5], small[2], single[0], small[3], *wide[6:]], [1, 6, 12])


def test_random_numbers(device):
    """Somebody else draws between the steps, or starts again. Kills: calls that are counted twice, or not; an offset of the last step."""
    x = tinycnn.ones(8, device=device)

    def before(number, net, optimizer):
        for _ in range(number % 3):
            F.dropout(x)
        if number == 5:
            tinycnn.manual_seed(0)
        if number == 7:
            tinycnn.manual_seed(1)
    same(batches(device, 11), [1, 8], before=before)


def test_states_that_are_loaded(device):
    """Kills: momentum or weights at addresses that somebody else has got since."""
    saved = {}

    def before(number, net, optimizer):
        if number == 2:
            saved.update(net={name: x.clone() for name, x in net.state_dict().items()}, state=optimizer.state_dict())
            saved["state"]["state"] = {n: {key: x.clone() for key, x in state.items()} for n, state in saved["state"]["state"].items()}
        if number == 4:
            net.load_state_dict(saved["net"])
            optimizer.load_state_dict(saved["state"])
        if number == 7:
            net.linear.weight = nn.Parameter(net.linear.weight.detach().clone())
            optimizer.add_param_group({"params": [net.linear.weight]})
    same(batches(device, 11), [1, 8], before=before)


def test_gradients_that_are_forgotten(device):
    """And memory that everybody takes. Kills: gradients of none after a later step; memory of the graph that somebody else gets."""
    taken, xp = [], tinycnn.device(device).xp

    def before(number, net, optimizer):
        if number > 2:
            optimizer.zero_grad()
            if device == "cuda":
                xp.get_default_memory_pool().free_all_blocks()
            taken.extend(xp.full(size, np.nan, np.float32) for size in range(1, 300, 7))
    same(batches(device, 6), [1], before=before)


def test_a_version_is_counted(device):
    """Kills: a backward through statistics that a graph has changed since."""
    net = nn.Sequential(nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 5)).to(device)
    gradients = CapturedGradients(net, F.cross_entropy)
    x, target = tinycnn.ones(2, 2, 2, 2, device=device), tinycnn.from_numpy(np.array([1, 2])).to(device)
    for _ in range(3):
        gradients(x, target)
    loss = (net[0].running_mean * tinycnn.ones(2, device=device, requires_grad=True)).sum()
    gradients(x, target)
    assert last(gradients).graph is not None
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@needs_simulator
def test_what_cannot_be_captured(monkeypatch):
    """A loss function that looks at a number. Kills: an error for the user; half a step; calls of dropout that were never drawn; a warning in each call, or none."""
    def curious(scores, labels):
        loss = F.cross_entropy(scores, labels)
        assert loss.item() > 0
        return loss
    monkeypatch.setenv("TINYCNN_GRAPH", "1")
    with pytest.warns(RuntimeWarning, match="no graph, kernels are launched one by one: RuntimeError") as found:
        same(batches("cuda", 5), [], loss_function=curious)
    assert len(found) == 1


@pytest.mark.parametrize("where", ["in Python", "with NumPy"])
def test_what_is_not_seen(where):
    """A loss function that computes a factor itself: no list of calls has it. Kills: a factor of then; a step that is taken twice, or by half; a warning in each call."""
    def weighed(scores, labels):
        loss = F.cross_entropy(scores, labels)
        factor = np.tanh(loss.detach().numpy())
        return loss * (float(factor) if where == "in Python" else tinycnn.from_numpy(np.asarray(factor)))
    with pytest.warns(RuntimeWarning, match="no graph, kernels are called one by one: when they were repeated, 10 of 16 arrays") as found:
        same(batches("cpu", 6), [1], loss_function=weighed)
    assert len(found) == 1


def test_what_a_module_keeps_for_itself():
    """Computed by NumPy, into an array that stays. Kills: a comparison with what is still there from the pass that it is compared with."""
    class Keeps(nn.Linear):
        kept = tinycnn.zeros(3, 5)

        def forward(self, x):
            y = super().forward(x)
            self.kept.array[...] = np.tanh(y.detach().numpy())
            return y * self.kept
    gradients, x, target = CapturedGradients(Keeps(4, 5), F.cross_entropy), tinycnn.ones(3, 4), tinycnn.from_numpy(np.arange(3))
    with pytest.warns(RuntimeWarning, match="no graph, kernels are called one by one: when they were repeated") as found:
        losses = {gradients(x, target).item() for _ in range(5)}
    assert len(found) == len(losses) == 1


def test_gradients_that_begin_with_zeros_of_numpy(monkeypatch):
    """Somebody's kernel adds to an array that is there again when it is repeated. Kills: a comparison that finds zeros in a gradient, or what it should be."""
    kernels = tinycnn.device("cpu").kernels
    product = kernels.matmul.matmul

    def added_to_zeros(*arguments):
        y = product(*arguments)
        total = np.zeros(y.shape, y.dtype)
        kernels.elementwise.add_(total, y)
        return total
    monkeypatch.setattr(kernels.matmul, "matmul", added_to_zeros)
    monkeypatch.setattr("tinycnn.kernels.runtime.give_back_freed_memory", lambda *lost: [array.fill(0) for array in lost])  # not only whole pages
    gradients, target = CapturedGradients(nn.Linear(100, 300), F.cross_entropy), tinycnn.from_numpy(np.arange(2))
    with pytest.warns(RuntimeWarning, match="when they were repeated, 1 of 3 arrays"):
        for x in np.random.default_rng(0).standard_normal((4, 2, 100), np.float32):
            gradients(tinycnn.from_numpy(x), target)


def test_a_class_that_there_is_not():
    """Kills: a label that is looked up in memory without being looked at before."""
    net = nn.Linear(4, 5)
    gradients = CapturedGradients(net, F.cross_entropy)
    for _ in range(4):
        gradients(tinycnn.ones(2, 4), tinycnn.from_numpy(np.array([1, 2])))
    assert last(gradients).graph is not None
    with pytest.raises(IndexError, match=r"target\[1\] is 5; 5 classes"):
        gradients(tinycnn.ones(2, 4), tinycnn.from_numpy(np.array([1, 5])))


LAYERS = {
    "1x1": lambda: nn.Conv2d(7, 33, 1), "3x3": lambda: nn.Conv2d(7, 33, 3, padding=1), "5x5": lambda: nn.Conv2d(7, 5, 5, padding=2),
    "stride": lambda: nn.Conv2d(7, 20, 3, 2), "1x1 stride": lambda: nn.Conv2d(7, 20, 1, 2), "dilation": lambda: nn.Conv2d(7, 6, 3, dilation=2),
    "groups": lambda: nn.Conv2d(7, 14, 3, groups=7), "depthwise": lambda: nn.Conv2d(7, 7, 3, padding=1, groups=7, bias=False),
    "rectified": lambda: nn.Sequential(nn.Conv2d(7, 9, 3), nn.ReLU()),
    "normalised": lambda: nn.Sequential(nn.BatchNorm2d(7), nn.ReLU()),
    "not affine": lambda: nn.BatchNorm2d(7, affine=False, track_running_stats=False), "max pool": lambda: nn.MaxPool2d(3, 2, ceil_mode=True),
    "pool": lambda: nn.AvgPool2d(2), "global pool": lambda: nn.AdaptiveAvgPool2d(1),
    "LRN": lambda: nn.LocalResponseNorm(5), "dropout": lambda: nn.Dropout(0.3), "dropout2d": lambda: nn.Dropout2d(0.3),
    "pad": lambda: nn.ZeroPad2d((1, 0, 2, 1)), "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "softmax": lambda: nn.Softmax(1)}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("layer", LAYERS)
def test_layers(layer, channels_last):
    """Each layer behind another, on images that are odd in every way. Kills: NumPy's work in a kernel that is not noted, memory that two share at the same time."""
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.layer = nn.Conv2d(3, 7, 3), LAYERS[layer]()

        def forward(self, x):
            return self.layer(self.first(x)).flatten(1)[:, :5]

    def train(captured):
        tinycnn.manual_seed(0)
        net = Two().train()
        optimizer = optim.SGD(net.parameters(), 0.01, momentum=0.9)
        gradients = (CapturedGradients if captured else partial(partial, compute_gradients))(net, F.cross_entropy)
        rng, seen = np.random.default_rng(2), []
        for _ in range(6):
            x = tinycnn.from_numpy(rng.standard_normal((3, 3, 11, 13), np.float32))
            loss = gradients(x.to(memory_format=tinycnn.channels_last) if channels_last else x, tinycnn.from_numpy(rng.integers(0, 5, 3)))
            optimizer.step()
            seen.append([loss.item(), *(x.numpy().copy() for x in net.state_dict().values()), *(p.grad.numpy().copy() for p in net.parameters())])
        return seen, captured and last(gradients).graph is not None and last(gradients).certain
    (ours, repeated), (theirs, _) = train(True), train(False)
    assert repeated
    for a, b in zip(ours, theirs, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("name, shape", [("lenet5", (1, 32, 32)), ("resnet20", (3, 32, 32))])
def test_networks(name, shape):
    """The same images and weights each time. Kills: a comparison that looks at nothing but what was left in memory, NumPy's work in what networks are made of."""
    net = getattr(models, name)().train()
    gradients = CapturedGradients(net, F.cross_entropy)
    x, target = tinycnn.from_numpy(np.random.default_rng(0).standard_normal((3, *shape), np.float32)), tinycnn.from_numpy(np.arange(3))
    for _ in range(4):
        gradients(x, target)
    assert last(gradients).certain


def test_hooks(device):
    """Kills: a hook that is called in some steps only."""
    net, seen = nn.Linear(4, 5).to(device), []
    gradients = CapturedGradients(net, F.cross_entropy)
    x, target = tinycnn.ones(2, 4, device=device), tinycnn.from_numpy(np.array([1, 2])).to(device)
    for listen in (lambda: net.register_forward_hook(lambda module, inputs, output: seen.append(output)), lambda: net.bias.register_hook(seen.append)):
        handle = listen()
        for _ in range(4):
            gradients(x, target)
        handle.remove()
    for _ in range(4):
        gradients(x, target)
    assert len(seen) == 8 and last(gradients).graph is not None


def test_several_results(device):
    """A loss function that gives the scores, too. Kills: the scores of then; scores that the next call overwrites."""
    net = nn.Linear(4, 5).to(device)
    gradients = CapturedGradients(net, lambda scores, labels: (F.cross_entropy(scores, labels), scores))
    inputs = [(tinycnn.full((2, 4), float(number), device=device), tinycnn.from_numpy(np.array([1, 2])).to(device)) for number in range(5)]
    seen = [gradients(*batch) for batch in inputs]
    for (loss, scores), (x, labels) in zip(seen, inputs, strict=True):
        expected = net(x).detach()
        np.testing.assert_array_equal(scores.cpu().numpy(), expected.cpu().numpy())
        np.testing.assert_array_equal(loss.cpu().numpy(), F.cross_entropy(expected, labels).cpu().numpy())


def test_threads():
    """The number of threads changes. Kills: scratch memory for fewer threads than there are."""
    before = tinycnn.get_num_threads()
    try:
        same(batches("cpu", 8), [1, 6], before=lambda number, net, optimizer: tinycnn.set_num_threads(1 if number < 5 else before))
    finally:
        tinycnn.set_num_threads(before)


def captured():
    """(captured gradients that have a graph, images and labels)"""
    gradients, batch = CapturedGradients(Net(), F.cross_entropy), batches("cpu", 1)[0]
    for _ in range(4):
        gradients(*batch)
    assert last(gradients).graph is not None
    return gradients, batch


def test_another_python_thread():
    """Kills: scratch memory that two use at the same time."""
    gradients, batch = captured()
    thread = threading.Thread(target=gradients, args=batch)
    thread.start()
    thread.join()
    assert last(gradients).graph is None


def test_other_kernels():
    """Kills: kernels of a table that is no longer wanted. The reference's are all NumPy's: they cannot be repeated."""
    gradients, batch = captured()
    with tinycnn.use_kernels("reference"):
        gradients(*batch)
    assert last(gradients).graph is None


@pytest.mark.parametrize("make", [partial(optim.Adam, lr=0.01), partial(optim.RMSprop, lr=0.01, momentum=0.9)])
def test_other_optimisers(device, make):
    """Which count their steps, and have another learning rate in each. Kills: gradients at addresses that an optimiser saw once."""
    def before(number, net, optimizer):
        optimizer.param_groups[0]["lr"] = 0.01 / (1 + number)
    same(batches(device, 6), [1], before=before, make_optimizer=make)


@needs_simulator
@simulator_only
def test_one_launch(monkeypatch):
    """Kills: a graph beside which everything is launched, too."""
    monkeypatch.setenv("TINYCNN_GRAPH", "1")
    net = Net().cuda()
    gradients = CapturedGradients(net, F.cross_entropy)
    stream, inputs = tinycnn.device("cuda").xp.cuda.Stream(), batches("cuda", 1)[0]
    tinycnn.cuda.synchronize()

    def queued():
        with stream:
            before = stream.done + len(stream.waiting)
            gradients(*inputs)
            return stream.done + len(stream.waiting) - before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        counts = [queued() for _ in range(4)]
    assert counts[0] > 30 and counts[3] == 7  # wait for the last call, copy images and labels, tell dropout its call, the graph, copy the loss, note the end
