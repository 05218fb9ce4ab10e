"""A step of training as one CUDA graph, on a GPU or on its simulation: bit for bit what the same steps give kernel by kernel."""
import warnings

import numpy as np
import pytest
from cuda_device import needs_simulator, simulator_only

import tinycnn
from tinycnn import nn, optim
from tinycnn.nn import functional as F
from tinycnn.random import get_rng_state
from tinycnn.train.captured import CapturedStep, take_step

pytestmark = needs_simulator


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


def batches(count, size=3):
    rng = np.random.default_rng(1)
    return [(tinycnn.from_numpy(rng.standard_normal((size, 3, 4, 4), np.float32)).cuda(), tinycnn.from_numpy(rng.integers(0, 5, size)).cuda()) for _ in range(count)]


def train(captured, inputs, before=lambda number, net, optimizer: None, loss_function=F.cross_entropy, device="cuda"):
    """(what there is to see after each step, whether each was a graph). before(number, net, optimizer): what somebody does before each step."""
    tinycnn.manual_seed(0)
    net = Net().to(device).train()
    optimizer = optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=0.01, nesterov=True)
    step = CapturedStep(net, loss_function, optimizer) if captured else lambda *batch: take_step(net, loss_function, optimizer, *batch)
    seen, graphs = [], []
    for number, batch in enumerate(inputs):
        before(number, net, optimizer)
        loss = step(*batch)
        assert not loss.requires_grad
        seen.append([loss.cpu().numpy(), *(x.cpu().numpy().copy() for x in net.state_dict().values()), get_rng_state()["calls"],
                     *(None if p.grad is None else p.grad.cpu().numpy() for p in net.parameters())])
        graphs.append(captured and step.graph)
    return seen, [graph is not None and (n == 0 or graph is not graphs[n - 1]) for n, graph in enumerate(graphs)] if captured else None


def same(inputs, monkeypatch, captures, **options):
    """As kernel by kernel; a graph is captured in the steps with these numbers, and repeated until..."""
    expected, _ = train(False, inputs, **options)
    monkeypatch.setenv("TINYCNN_CUDA_GRAPH", "1")
    tinycnn.cuda.synchronize()
    seen, graphs = train(True, inputs, **options)
    for number, (ours, theirs) in enumerate(zip(seen, expected, strict=True)):
        for a, b in zip(ours, theirs, strict=True):
            assert (a is None) == (b is None), number
            np.testing.assert_array_equal(a, b, err_msg=f"step {number}")
    assert [number for number, captured in enumerate(graphs) if captured] == captures


def test_steps(monkeypatch):
    """Kills: images, labels or a loss of the step that was captured; statistics, counters, momentum or a mask of then; gradients that nobody sees; a first step
    (without momentum) that is repeated."""
    same(batches(6), monkeypatch, [2])


def test_what_changes_on_the_host(monkeypatch):
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
    same(batches(16), monkeypatch, [2, 5, 8, 11, 14], before=before)


def test_other_sizes(monkeypatch):
    """The last batch is smaller. Kills: a graph for other shapes."""
    wide, small = batches(7), batches(2, 2)
    same([*wide[:4], small[0], *wide[4:], small[1]], monkeypatch, [2, 6], )


def test_random_numbers(monkeypatch):
    """Somebody else draws between the steps, or starts again. Kills: calls that are counted twice, or not; an offset of the last step."""
    x = tinycnn.ones(8).cuda()

    def before(number, net, optimizer):
        for _ in range(number % 3):
            F.dropout(x)
        if number == 5:
            tinycnn.manual_seed(0)
        if number == 7:
            tinycnn.manual_seed(1)
    same(batches(11), monkeypatch, [2, 8], before=before)


def test_states_that_are_loaded(monkeypatch):
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
    same(batches(11), monkeypatch, [2, 5, 9], before=before)


def test_gradients_that_are_forgotten(monkeypatch):
    """And memory that everybody takes. Kills: gradients of none after a later step; memory of the graph that somebody else gets."""
    taken, xp = [], tinycnn.device("cuda").xp

    def before(number, net, optimizer):
        if number > 2:
            optimizer.zero_grad()
            xp.get_default_memory_pool().free_all_blocks()
            taken.extend(xp.full(size, np.nan, np.float32) for size in range(1, 300, 7))
    same(batches(6), monkeypatch, [2], before=before)


def test_a_version_is_counted(monkeypatch):
    """Kills: a backward through weights that a graph has changed since."""
    monkeypatch.setenv("TINYCNN_CUDA_GRAPH", "1")
    net = nn.Linear(4, 5).cuda()
    step = CapturedStep(net, F.cross_entropy, optim.SGD(net.parameters(), 0.1))
    x, target = tinycnn.ones(2, 4).cuda(), tinycnn.from_numpy(np.array([1, 2])).cuda()
    for _ in range(3):
        step(x, target)
    loss = (net(x.clone().requires_grad_()) ** 2).sum()
    step(x, target)
    assert step.graph is not None
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_what_cannot_be_captured(monkeypatch):
    """A loss function that looks at a number. Kills: an error for the user; half a step; calls of dropout that were never drawn; a warning in each call, or none."""
    def curious(scores, labels):
        loss = F.cross_entropy(scores, labels)
        assert loss.item() > 0
        return loss
    with pytest.warns(RuntimeWarning, match="no CUDA graph, kernels are launched one by one: RuntimeError") as found:
        same(batches(5), monkeypatch, [], loss_function=curious)
    assert len(found) == 1


def test_where_there_are_no_launches():
    """On the CPU it is the step itself."""
    on_cpu = [tuple(x.cpu() for x in batch) for batch in batches(4)]
    ours, theirs = train(True, on_cpu, device="cpu")[0], train(False, on_cpu, device="cpu")[0]
    for a, b in zip(ours[-1], theirs[-1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_optimisers_that_count():
    net = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="CapturedStep: the optimizer is Adam, which counts its steps on the host; only SGD's can be repeated"):
        CapturedStep(net, F.cross_entropy, optim.Adam(net.parameters()))


@simulator_only
def test_one_launch(monkeypatch):
    """Kills: a graph beside which everything is launched, too."""
    monkeypatch.setenv("TINYCNN_CUDA_GRAPH", "1")
    net = Net().cuda()
    step, stream, inputs = CapturedStep(net, F.cross_entropy, optim.SGD(net.parameters(), 0.1, momentum=0.9)), tinycnn.device("cuda").xp.cuda.Stream(), batches(1)[0]
    tinycnn.cuda.synchronize()

    def queued():
        with stream:
            before = stream.done + len(stream.waiting)
            step(*inputs)
            return stream.done + len(stream.waiting) - before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        counts = [queued() for _ in range(4)]
    assert counts[1] > 30 and counts[3] == 7  # wait for the last call, copy images and labels, tell dropout its call, the graph, copy the loss, note the end
