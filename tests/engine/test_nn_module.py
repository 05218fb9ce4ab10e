"""Module: registration, the walks over the tree, state dicts, hooks, and errors; and the containers."""
import copy
import pickle

import numpy as np
import pytest

import tinycnn
from tinycnn import nn


class Block(nn.Module):
    """A little tree: two parameters, two buffers, two parts, one of them used twice."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(tinycnn.ones(3))
        self.register_parameter("shift", None)
        self.register_buffer("seen", tinycnn.zeros(2))
        self.register_buffer("scratch", tinycnn.zeros(1), persistent=False)
        self.first = nn.Linear(3, 3)
        self.again = self.first
        self.tail = nn.Sequential(nn.ReLU(), nn.Linear(3, 2, bias=False))

    def forward(self, x):
        return self.tail(self.again(self.first(x * self.scale)))


def test_parts_are_found_by_name_in_order_and_once():
    """Kills: children before their parent's own; a shared part or parameter twice; None as a parameter."""
    block = Block()
    assert [name for name, _ in block.named_parameters()] == ["scale", "first.weight", "first.bias", "tail.1.weight"]
    assert [name for name, _ in block.named_buffers()] == ["seen", "scratch"]
    assert [name for name, _ in block.named_modules()] == ["", "first", "tail", "tail.0", "tail.1"]
    assert [name for name, _ in block.named_children()] == ["first", "tail"]
    assert [name for name, _ in block.named_parameters(recurse=False)] == ["scale"]
    assert [name for name, _ in block.named_parameters("net")][1] == "net.first.weight"
    assert len(list(block.modules())) == 5 and len(list(block.children())) == 2 and len(list(block.parameters())) == 4
    block.tail[1].weight = block.first.weight
    assert [name for name, _ in block.named_parameters()] == ["scale", "first.weight", "first.bias"]


def test_assignment_registers_replaces_and_forgets():
    """Kills: a parameter that stays in two registries; a replaced part at the end instead of in its place; a buffer that becomes a plain attribute."""
    block = Block()
    block.first = nn.Identity()
    assert [name for name, _ in block.named_modules(remove_duplicate=False)][1:3] == ["first", "again"]
    block.seen = tinycnn.ones(2)
    assert dict(block.named_buffers())["seen"].sum().item() == 2
    block.seen = nn.Parameter(tinycnn.ones(2))
    assert "seen" in dict(block.named_parameters()) and "seen" not in dict(block.named_buffers())
    block.shift = nn.Parameter(tinycnn.zeros(3))
    assert "shift" in dict(block.named_parameters())
    block.scale = None
    assert "scale" not in dict(block.named_parameters()) and block.scale is None
    block.plain = 3
    block.plain = nn.Parameter(tinycnn.zeros(1))
    assert "plain" not in block.__dict__ and "plain" in dict(block.named_parameters())
    del block.plain
    assert not hasattr(block, "plain")
    assert "tail" in dir(block)


WRONG = {
    "before super": (lambda: type("M", (nn.Module,), {"__init__": lambda self: setattr(self, "w", nn.Parameter(tinycnn.ones(1)))})(), AttributeError,
                     "super"),
    "call before super": (lambda: type("M", (nn.Module,), {"__init__": lambda self: None})()(1), AttributeError, "super"),
    "buffer before super": (lambda: type("M", (nn.Module,), {"__init__": lambda self: self.register_buffer("b", None)})(), AttributeError, "super"),
    "a tensor for a parameter": (lambda: setattr(Block(), "scale", tinycnn.ones(3)), TypeError, "Block.scale holds a Parameter.*Tensor"),
    "a function for a module": (lambda: setattr(Block(), "tail", abs), TypeError, "holds a Module"),
    "a number for a buffer": (lambda: setattr(Block(), "seen", 3), TypeError, "holds a Tensor"),
    "missing attribute": (lambda: Block().nothing, AttributeError, "'Block' object has no attribute 'nothing'"),
    "dot in a name": (lambda: Block().register_buffer("a.b", None), ValueError, "without a dot"),
    "empty name": (lambda: Block().add_module("", nn.ReLU()), ValueError, "non-empty"),
    "taken name": (lambda: Block().register_buffer("scale", tinycnn.ones(1)), KeyError, "already has"),
    "method as a name": (lambda: Block().add_module("forward", nn.ReLU()), KeyError, "already has"),
    "tensor as a registered parameter": (lambda: Block().register_parameter("p", tinycnn.ones(1)), TypeError, "must be a Parameter"),
    "no forward": (lambda: nn.Module()(1), NotImplementedError, "forward"),
    "parameter of an array": (lambda: nn.Parameter(np.ones(3)), TypeError, "ndarray"),
    "parameter of integers": (lambda: nn.Parameter(tinycnn.tensor([1])), RuntimeError, "floating"),
    "train with a string": (lambda: Block().train("no"), ValueError, "True or False"),
    "to integers": (lambda: Block().to(tinycnn.int64), TypeError, "int64"),
    "to another device": (lambda: Block().to("tpu"), ValueError, "tpu"),
    "submodule": (lambda: Block().get_submodule("tail.7"), AttributeError, "no module '7'.*'0', '1'"),
    "parameter by path": (lambda: Block().get_parameter("tail.0.weight"), AttributeError, "ReLU has no parameter 'weight'"),
    "sequential of a string": (lambda: nn.Sequential("conv"), TypeError, "must be a Module"),
    "position": (lambda: nn.Sequential(nn.ReLU())[1], IndexError, "1 is out of range for 1"),
    "key": (lambda: nn.ModuleDict({"a": nn.ReLU()})["b"], KeyError, "there are 'a'"),
    "state of a list": (lambda: Block().load_state_dict([1]), TypeError, "dictionary"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_is_one_clear_error(case):
    function, kind, message = WRONG[case]
    with pytest.raises(kind, match=message):
        function()


def test_modes_freezing_and_apply_reach_every_part():
    """Kills: a mode that stops at the first level; apply on the whole before its parts; gradients that stay."""
    block = Block()
    assert block.training
    assert block.eval() is block and not any(module.training for module in block.modules())
    assert block.train() is block and all(module.training for module in block.modules())
    order = []
    assert block.apply(lambda module: order.append(type(module).__name__)) is block
    assert order == ["Linear", "ReLU", "Linear", "Sequential", "Block"]
    block(tinycnn.ones(1, 3)).sum().backward()
    block.zero_grad(set_to_none=False)
    assert all((p.grad.numpy() == 0).all() for p in block.parameters())
    block.zero_grad()
    assert all(p.grad is None for p in block.parameters())
    block.requires_grad_(False)
    assert not block(tinycnn.ones(1, 3)).requires_grad


def test_dtype_changes_in_place_and_only_for_floats():
    """Kills: parameters replaced, which the optimiser holds; integer buffers cast; gradients left in the old dtype."""
    bn = nn.BatchNorm1d(3)
    weight = bn.weight
    bn(tinycnn.tensor(np.eye(3, dtype=np.float32))).sum().backward()
    for change, dtype in (((lambda: bn.double()), tinycnn.float64), ((lambda: bn.to(tinycnn.ones(1))), tinycnn.float32),
                          ((lambda: bn.to("cpu", tinycnn.float64)), tinycnn.float64), ((lambda: bn.float()), tinycnn.float32),
                          ((lambda: bn.to("float64")), tinycnn.float64), ((lambda: bn.to(device="cpu", dtype="float32")), tinycnn.float32)):
        assert change() is bn
        assert bn.weight is weight and weight.dtype == dtype and weight.grad.dtype == dtype and bn.running_mean.dtype == dtype
        assert bn.num_batches_tracked.dtype == tinycnn.int64


# ---- state dicts

def test_state_dict_holds_references_and_every_path():
    """Kills: copies; a buffer that is not persistent; a shared part under one name only; parameters that still require grad."""
    block = Block()
    state = block.state_dict()
    assert list(state) == ["scale", "seen", "first.weight", "first.bias", "again.weight", "again.bias", "tail.1.weight"]
    assert state["first.weight"].array is block.first.weight.array and not state["first.weight"].requires_grad
    assert block.state_dict(keep_vars=True)["scale"] is block.scale
    assert "net.tail.1.weight" in block.state_dict(prefix="net.")


@pytest.mark.parametrize("kind", ["tensors", "arrays", pytest.param("pytorch", marks=pytest.mark.torch)])
def test_what_was_saved_is_loaded(kind):
    """From tensors, from NumPy, from PyTorch; into the same memory. Kills: a parameter replaced; a load that shares memory with its source; num_batches_tracked lost."""
    source, target = (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)) for _ in range(2))
    source(tinycnn.randn(2, 1, 4, 4))
    state = source.state_dict()
    if kind == "arrays":
        state = {name: value.numpy() for name, value in state.items()}
    elif kind == "pytorch":
        import torch
        state = {name: torch.tensor(value.numpy()) for name, value in state.items()}
    weight = target[0].weight
    memory = weight.array
    result = target.load_state_dict(state)
    assert result.missing_keys == [] and result.unexpected_keys == [] and repr(result) == "<All keys matched successfully>"
    assert target[0].weight is weight and weight.array is memory
    for name, value in target.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), source.state_dict()[name].numpy(), err_msg=name)
    assert target[1].num_batches_tracked.item() == 1
    source[0].weight.detach().fill_(9.0)
    assert (weight.detach().numpy() != 9).all()


def test_one_error_lists_everything_that_does_not_fit():
    """And nothing is changed. Kills: the first fault only; a half-loaded module; shapes not shown."""
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    state = {"0.weight": np.zeros((3, 2), np.float32), "0.bias": np.zeros(3), "1.weight": np.zeros((1, 4), np.float32), "2.weight": np.zeros(5)}
    with pytest.raises(ValueError) as caught:
        net.load_state_dict(state)
    message = str(caught.value)
    for part in ("missing: 1.bias (1,)", "unexpected: 2.weight (5,)", "shape of 1.weight: (1, 4) in the state dict, (1, 3) in the module",
                 "dtype of 0.bias: float64 in the state dict, float32 in the module", "Sequential"):
        assert part in message
    with pytest.raises(ValueError) as caught:
        net.load_state_dict(state, strict=False)
    assert "missing" not in str(caught.value) and "shape of 1.weight" in str(caught.value)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_lenient_loading_reports_what_it_skipped():
    """Kills: strict=False that loads nothing, or is silent."""
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    result = net.load_state_dict({"0.bias": np.arange(3, dtype=np.float32), "9.bias": np.zeros(1)}, strict=False)
    assert result.missing_keys == ["0.weight", "1.weight", "1.bias"] and result.unexpected_keys == ["9.bias"]
    assert "9.bias" in repr(result)
    np.testing.assert_array_equal(net[0].bias.detach().numpy(), [0, 1, 2])


def test_a_backward_after_loading_is_an_error():
    """The graph saved the old weights. Kills: a load past the version counter, and silently wrong gradients."""
    net = nn.Linear(2, 2)
    loss = (net(tinycnn.ones(1, 2, requires_grad=True)) ** 2).sum()
    net.load_state_dict({name: value.clone() for name, value in net.state_dict().items()})
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["deepcopy", "pickle"])
def test_a_copy_shares_nothing_but_computes_the_same(duplicate):
    """Kills: shared memory; parameters that become plain tensors; sharing within the module lost."""
    net = Block()
    twin = duplicate(net)
    x = tinycnn.randn(2, 3)
    np.testing.assert_array_equal(twin(x).detach().numpy(), net(x).detach().numpy())
    assert twin.first is twin.again and isinstance(twin.scale, nn.Parameter) and twin.scale.requires_grad
    assert not np.may_share_memory(twin.scale.array, net.scale.array)
    assert [name for name, _ in twin.named_parameters()] == [name for name, _ in net.named_parameters()]


# ---- hooks

def test_forward_hooks_see_and_replace():
    """Kills: the pre-hook's inputs ignored; hooks after removal; the output of a hook that returns None."""
    net = nn.Linear(2, 2)
    x = tinycnn.ones(1, 2)
    seen = []
    plain = net(x).detach().numpy()
    watch = net.register_forward_hook(lambda module, inputs, output: seen.append((module, inputs, output)))
    y = net(x)
    assert seen[0][0] is net and seen[0][1] == (x,) and seen[0][2] is y
    with net.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 0,)):
        np.testing.assert_array_equal(net(x).detach().numpy()[0], net.bias.detach().numpy())
    doubled = net.register_forward_hook(lambda module, inputs, output: output * 2)
    np.testing.assert_array_equal(net(x).detach().numpy(), plain * 2)
    watch.remove()
    doubled.remove()
    np.testing.assert_array_equal(net(x).detach().numpy(), plain)
    assert len(seen) == 3


def backward_hooked(module):
    """What backward hooks on every layer see, without and with an input that requires grad. The same code for tinycnn and PyTorch."""
    n = module.nn
    first, second = n.Linear(3, 3), n.Linear(3, 2)
    for k, layer in enumerate((first, second)):
        layer.load_state_dict({"weight": module.tensor(np.cos(np.arange(layer.weight.numel()) + k).reshape(tuple(layer.weight.shape)).astype(np.float32)),
                               "bias": module.tensor(np.zeros(layer.out_features, np.float32))})
    net = n.Sequential(first, n.Tanh(), second)
    seen = []
    for layer in net:
        layer.register_full_backward_hook(lambda layer, dx, dy: seen.append((type(layer).__name__, dx, dy)))
    x = module.tensor(np.arange(6, dtype=np.float32).reshape(2, 3) / 6)
    net(x).sum().backward()
    x.requires_grad_()
    net(x).sum().backward()
    return [(name, [None if g is None else np.asarray(g.detach().numpy()) for g in (*dx, *dy)]) for name, dx, dy in seen]


def test_backward_hooks_see_both_sides():
    """Without a gradient at the input, and with one. Kills: grad_input and grad_output exchanged; a hook that is called at the outputs already; none where no input
    needs a gradient."""
    seen = backward_hooked(tinycnn)
    assert [name for name, _ in seen] == ["Linear", "Tanh", "Linear"] * 2
    assert seen[2][1][0] is None and seen[5][1][0] is not None
    np.testing.assert_array_equal(seen[0][1][1], 1)
    np.testing.assert_array_equal(seen[0][1][0], seen[1][1][1])


@pytest.mark.torch
def test_backward_hooks_are_called_as_by_pytorch():
    """Kills: other calls, or another order."""
    import torch
    for (name, mine), (other, theirs) in zip(backward_hooked(tinycnn), backward_hooked(torch), strict=True):
        assert name == other
        for a, b in zip(mine, theirs, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_backward_hooks_may_replace_the_gradient():
    """Kills: a returned gradient that is ignored; hooks that stay after removal; a wrong number of gradients taken."""
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True))
    x = tinycnn.ones(1, 2, requires_grad=True)
    handle = net[1].register_full_backward_hook(lambda layer, dx, dy: (dx[0] * 0,))
    net(x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), 0)
    handle.remove()
    net[0].register_full_backward_hook(lambda layer, dx, dy: (dx[0], dx[0]))
    with pytest.raises(ValueError, match="2 gradients for 1 inputs"):
        net(x).sum().backward()


def test_backward_hooks_on_a_layer_that_works_in_place():
    """What went into the layer is still what its history says. Kills: a boundary that hands out the input's own memory, and silently wrong gradients."""
    layer = nn.ReLU(inplace=True)
    layer.register_full_backward_hook(lambda layer, dx, dy: None)
    w = tinycnn.tensor([-1.0, 2.0], requires_grad=True)
    x = w * 1
    y = layer(x)
    total = (x + 10 * y).sum()
    assert total.item() == -1 + 2 + 20
    total.backward()
    np.testing.assert_array_equal(w.grad.numpy(), [1, 11])


def test_a_parameter_shares_the_memory_of_its_data():
    """As in PyTorch: tied weights are made so. Kills: a copy; a version counter of its own."""
    data = tinycnn.ones(2)
    parameter = nn.Parameter(data)
    frozen = nn.Parameter(data, requires_grad=False)
    data.fill_(3.0)
    assert parameter.detach().numpy().sum() == 6 and parameter.version is data.version
    assert parameter.requires_grad and not frozen.requires_grad and not data.requires_grad
    assert repr(parameter).startswith("Parameter containing:\ntensor(")


# ---- containers

def test_sequential_is_a_list_of_steps():
    """Indexing, slicing, appending, inserting, deleting. Kills: slices that copy or forget names; names that are not renumbered; an append over an existing name."""
    a, b, c, d = nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1), nn.Sigmoid()
    net = nn.Sequential(a, b, c)
    x = tinycnn.randn(4, 2)
    np.testing.assert_array_equal(net(x).detach().numpy(), c(b(a(x))).detach().numpy())
    assert len(net) == 3 and net[-1] is c and list(net) == [a, b, c] and isinstance(net[:2], nn.Sequential)
    assert [name for name, _ in net[1:].named_children()] == ["1", "2"]
    tail = net[1:].append(d)
    assert [name for name, _ in tail.named_children()] == ["1", "2", "3"] and list(tail) == [b, c, d]
    net.append(d)
    assert list(net) == [a, b, c, d] and net[3] is d
    net.insert(1, nn.Identity())
    assert [name for name, _ in net.named_children()] == ["0", "1", "2", "3", "4"] and net[2] is b
    del net[1]
    assert list(net) == [a, b, c, d] and [name for name, _ in net.named_children()] == ["0", "1", "2", "3"]
    net[-1] = nn.Tanh()
    assert isinstance(net[3], nn.Tanh) and [name for name, _ in net.named_children()][3] == "3"
    del net[1:3]
    assert [name for name, _ in net.named_children()] == ["0", "1"]
    assert len(net.extend([b, c])) == 4


def test_sequential_with_names():
    """From a dictionary. Kills: positions instead of the names given; renumbering after a deletion."""
    net = nn.Sequential({"conv": nn.Conv2d(1, 1, 1), "act": nn.ReLU(), "flat": nn.Flatten()})
    assert net.conv is net[0] and "conv.weight" in net.state_dict()
    del net[1]
    assert [name for name, _ in net.named_children()] == ["conv", "flat"]
    assert [name for name, _ in net[1:].named_children()] == ["flat"]


def test_lists_and_dictionaries_of_modules():
    """Kills: parameters of the parts that are not found; keys in another order."""
    parts = nn.ModuleList([nn.Linear(1, 1), nn.ReLU()])
    parts.extend([nn.Linear(1, 2)])
    assert len(parts) == 3 and len(list(parts.parameters())) == 4 and isinstance(parts[:2], nn.ModuleList)
    with pytest.raises(NotImplementedError):
        parts(tinycnn.ones(1))
    named = nn.ModuleDict({"b": nn.Linear(1, 1), "a": nn.ReLU()})
    named["c"] = nn.Tanh()
    assert list(named) == list(named.keys()) == ["b", "a", "c"] and "a" in named and len(named) == 3
    assert "b.weight" in named.state_dict() and isinstance(named.pop("a"), nn.ReLU) and "a" not in named
    assert [type(module).__name__ for module in named.values()] == ["Linear", "Tanh"] and dict(named.items())["c"] is named["c"]
    del named["c"]
    named.clear()
    assert len(named) == 0


def test_shared_weights_receive_both_gradients():
    """Kills: a parameter used twice that keeps the last gradient only."""
    layer = nn.Linear(1, 1, bias=False)
    x = tinycnn.tensor([[3.0]])
    layer(layer(x)).backward()
    np.testing.assert_allclose(layer.weight.grad.numpy(), 2 * 3 * layer.weight.detach().numpy(), rtol=1e-6)
