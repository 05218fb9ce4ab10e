"""Optimisers: every step that of PyTorch (stored numbers and live), parameter groups, state dicts that continue a run, and errors."""
import numpy as np
import pytest
from tolerance import close

import tinycnn
from tinycnn import optim

# the optimiser of module m.optim, for parameters p
OPTIMISERS = {
    "SGD": lambda o, p: o.SGD(p, 0.1),
    "SGD, defaults": lambda o, p: o.SGD(p),
    "SGD, momentum": lambda o, p: o.SGD(p, lr=0.1, momentum=0.9),
    "SGD, dampening, decay": lambda o, p: o.SGD(p, 0.1, 0.8, 0.3, 0.02),
    "SGD, Nesterov": lambda o, p: o.SGD(p, 0.1, momentum=0.9, weight_decay=0.02, nesterov=True),
    "SGD, maximize": lambda o, p: o.SGD(p, 0.1, momentum=0.5, weight_decay=0.02, maximize=True),
    "Adam": lambda o, p: o.Adam(p),
    "Adam, decay": lambda o, p: o.Adam(p, 0.02, (0.8, 0.95), 1e-3, 0.1),
    "Adam, amsgrad": lambda o, p: o.Adam(p, 0.02, betas=(0.5, 0.6), amsgrad=True),
    "AdamW": lambda o, p: o.AdamW(p, lr=0.02),
    "AdamW, amsgrad": lambda o, p: o.AdamW(p, 0.02, (0.5, 0.6), 1e-6, 0.3, True, maximize=True),
    "RMSprop": lambda o, p: o.RMSprop(p),
    "RMSprop, all": lambda o, p: o.RMSprop(p, 0.02, 0.9, 1e-4, 0.05, 0.7, True),
    "RMSprop, momentum": lambda o, p: o.RMSprop(p, 0.02, momentum=0.9, maximize=True),
}
# the first parameter's elements after three steps, computed by PyTorch 2.13 in float64 (the gradients are those of `gradient` below)
EXPECTED = {
    "SGD": (-1.1561613652462068, -0.20930911432940572, 0.16518007378857985, 0.004679598280376704, 0.13032396887845404, 0.9440448254035058),
    "SGD, defaults": (-1.0015616136524619, -0.596093091143294, -0.19634819926211416, 0.19804679598280395, 0.5953032396887846, 0.9994404482540351),
    "SGD, momentum": (-1.4390511595349265, -0.14912121291824787, 0.4802702543270133, 0.1130642052795001, -0.12678070083357576, 0.6981098224406235),
    "SGD, dampening, decay": (-1.3435196686448783, -0.3018568519657892, 0.31075018700656065, 0.1776818830000389, 0.07473479513808527, 0.7335778303258431),
    "SGD, Nesterov": (-1.5323105247614575, 0.20580765883170352, 0.7775170466843889, -0.0781378915162476, -0.5310206044559823, 0.6589432055772239),
    "SGD, maximize": (-0.6990418739140352, -1.024313172300026, -0.720507224248894, 0.34832884506478046, 1.197376990541844, 1.1638089904121187),
    "Adam": (-1.0024593100628694, -0.5996635652336036, -0.19710947357043804, 0.20096993544586653, 0.5971917523875094, 0.9979049761476019),
    "Adam, decay": (-1.0460704538273498, -0.5902048801962279, -0.141963555160061, 0.2161453736716819, 0.5426974663729721, 0.95810982145575),
    "Adam, amsgrad": (-1.042146796584496, -0.587329488511547, -0.14377724838888833, 0.20921686117443364, 0.5418154321441707, 0.9663308220720364),
    "AdamW": (-1.0485743228771245, -0.5929056863586223, -0.1420813161775833, 0.2192688260880471, 0.5434866354006012, 0.9575116252179876),
    "AdamW, amsgrad": (-0.940320734198298, -0.60208617635633, -0.25228778220398684, 0.1874702040361486, 0.6470985283112943, 1.0154183554170002),
    "RMSprop": (-1.138555553842725, -0.5096333009197012, 0.032072465279501285, 0.1805472753582063, 0.327963782258997, 0.90347914441152),
    "RMSprop, all": (-1.2110125262190743, -0.5726191213699384, 0.08494472984202643, 0.2533705719773988, 0.28653426577171875, 0.8163365866727565),
    "RMSprop, momentum": (-0.240355242563407, -0.6143006000930761, -1.1699689985052197, -0.060710179689424014, 1.661218623637607, 1.6556505509247628),
}
STEPS = 6


def gradient(step, shape):
    """Gradients that change sign and size from step to step."""
    n = int(np.prod(shape))
    return (np.cos(np.arange(n) * 1.3 + step * 0.9) * (1 + step % 3)).reshape(shape)


def start(module, dtype=np.float64):
    return [module.tensor(np.linspace(-1, 1, 6).reshape(2, 3).astype(dtype), requires_grad=True), module.tensor(np.ones((), dtype), requires_grad=True)]


def run(module, case, steps=STEPS, dtype=np.float64, parameters=None, optimiser=None, first=0):
    """(parameters, optimiser) after `steps` steps."""
    parameters = start(module, dtype) if parameters is None else parameters
    optimiser = OPTIMISERS[case](module.optim, parameters) if optimiser is None else optimiser
    for step in range(first, first + steps):
        for p in parameters:
            p.grad = module.tensor(gradient(step, tuple(p.shape)).astype(dtype))
        optimiser.step()
    return parameters, optimiser


def arrays(parameters):
    return [np.array(p.detach().numpy()) for p in parameters]


@pytest.mark.parametrize("case", OPTIMISERS)
def test_steps_are_those_of_pytorch(case):
    """Against stored numbers. Kills: an option that is not passed on; a first step that is not special; the count of steps off by one; the sign of maximize."""
    parameters, _ = run(tinycnn, case, steps=3)
    close(arrays(parameters)[0].reshape(-1), np.array(EXPECTED[case]), length=100)


@pytest.mark.torch
@pytest.mark.parametrize("case", OPTIMISERS)
def test_steps_and_state_are_those_of_live_pytorch(case):
    """Parameters after each of six steps, and the state dict. Kills: a buffer of another name, or kept in another form."""
    import torch
    mine, my_optimiser = run(tinycnn, case)
    theirs, their_optimiser = run(torch, case)
    for a, b in zip(arrays(mine), arrays(theirs)):
        close(a, b, length=100)
    state, expected = my_optimiser.state_dict(), their_optimiser.state_dict()
    assert state["state"].keys() == expected["state"].keys()
    for number in state["state"]:
        assert state["state"][number].keys() == expected["state"][number].keys()
        for key, value in state["state"][number].items():
            close(np.float64(value) if key == "step" else value.numpy(), np.float64(expected["state"][number][key]), length=100)
    for group, other in zip(state["param_groups"], expected["param_groups"]):
        assert all(other[option] == value for option, value in group.items())


@pytest.mark.parametrize("case", OPTIMISERS)
def test_a_run_continues_from_its_state_dict_bit_for_bit(case):
    """Three steps, saved, three more in new objects = six steps. Kills: a buffer or a count that is not saved; a first step done twice; state shared with the source."""
    straight, _ = run(tinycnn, case, dtype=np.float32)
    parameters, optimiser = run(tinycnn, case, 3, np.float32)
    saved = optimiser.state_dict()
    copies = [tinycnn.tensor(p.detach().numpy(), requires_grad=True) for p in parameters]
    continued = OPTIMISERS[case](optim, copies)
    continued.load_state_dict(saved)
    run(tinycnn, case, 2, np.float32, parameters, optimiser, first=3)  # the original goes its own way
    run(tinycnn, case, 3, np.float32, copies, continued, first=3)
    for a, b in zip(arrays(copies), arrays(straight)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.torch
@pytest.mark.parametrize("case", OPTIMISERS)
def test_state_dicts_travel_to_and_from_pytorch(case):
    """Kills: a format that only looks alike."""
    import torch
    theirs, their_optimiser = run(torch, case, 3)
    mine = [tinycnn.tensor(array, requires_grad=True) for array in arrays(theirs)]
    my_optimiser = OPTIMISERS[case](optim, mine)
    my_optimiser.load_state_dict(their_optimiser.state_dict())
    run(tinycnn, case, 3, np.float64, mine, my_optimiser, first=3)
    straight, _ = run(torch, case)
    for a, b in zip(arrays(mine), arrays(straight)):
        close(a, b, length=100)


@pytest.mark.parametrize("case", ["SGD, Nesterov", "Adam, amsgrad", "RMSprop, all"])
def test_float32_and_strided_parameters(case):
    """Kills: a step in float64 that promotes; a parameter that is a transposed view, updated through a copy."""
    straight, _ = run(tinycnn, case)
    for dtype in (np.float32, np.float64):
        base = np.linspace(-1, 1, 6).reshape(2, 3).astype(dtype).T.copy()
        view = tinycnn.from_numpy(base.T).requires_grad_()
        run(tinycnn, case, parameters=[view], dtype=dtype)
        assert view.dtype == dtype
        close(base.T, arrays(straight)[0], length=1000)


def test_groups_have_options_of_their_own():
    """Kills: the defaults over a group's own option; a group added later that is not stepped; lr read once instead of at each step."""
    a, b, c = (tinycnn.tensor([1.0], requires_grad=True) for _ in range(3))
    optimiser = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1)
    optimiser.add_param_group({"params": [c], "weight_decay": 1.0})
    for p in (a, b, c):
        p.grad = tinycnn.tensor([1.0])
    optimiser.step()
    np.testing.assert_allclose([p.item() for p in (a, b, c)], [0.9, 0.5, 0.8], rtol=1e-6)
    optimiser.param_groups[0]["lr"] = 1.0
    optimiser.step()
    np.testing.assert_allclose(a.item(), -0.1, atol=1e-6)
    assert [group["lr"] for group in optimiser.param_groups] == [1.0, 0.5, 0.1]
    assert "weight_decay: 1.0" in repr(optimiser) and "Parameter Group 2" in repr(optimiser)


def test_options_are_loaded_with_the_state():
    """Kills: the new optimiser's options over the saved ones: a learning rate that starts anew."""
    saved = optim.SGD([{"params": leaf(1)}, {"params": leaf(1), "lr": 0.5}], 0.1, 0.9).state_dict()
    optimiser = optim.SGD([{"params": leaf(1)}, {"params": leaf(1)}], 3.0)
    parameters = [group["params"] for group in optimiser.param_groups]
    optimiser.load_state_dict(saved)
    assert [(group["lr"], group["momentum"]) for group in optimiser.param_groups] == [(0.1, 0.9), (0.5, 0.9)]
    assert [group["params"] for group in optimiser.param_groups] == parameters


def test_what_has_no_gradient_is_left_alone():
    """Neither decay nor momentum moves it, and it gets no state. Kills: None taken for zero."""
    a, b = (tinycnn.tensor([1.0], requires_grad=True) for _ in range(2))
    optimiser = optim.SGD([a, b], 0.1, momentum=0.9, weight_decay=0.1)
    a.grad = tinycnn.tensor([1.0])
    optimiser.step()
    assert b.item() == 1.0 and b not in optimiser.state and a in optimiser.state


@pytest.mark.parametrize("case", OPTIMISERS)
def test_parameters_together_as_one_by_one(case):
    """Of two dtypes, some without a gradient in the first step and so a step behind: bit for bit what an optimiser for each does. Kills: a first step or a bias
    correction taken from another parameter; float32 with float64 in one call; states that change places."""
    def parameters():
        return [tinycnn.tensor(np.linspace(-1, 1, n), dtype=dtype, requires_grad=True) for n, dtype in zip((5, 3, 4, 1, 6), [tinycnn.float32, tinycnn.float64] * 3)]
    together, alone = parameters(), parameters()
    optimisers = [OPTIMISERS[case](optim, together)], [OPTIMISERS[case](optim, [p]) for p in alone]
    for params, several in zip((together, alone), optimisers):
        for step in range(3):
            for i, p in enumerate(params):
                p.grad = None if step == 0 and i in (1, 2) else tinycnn.tensor(gradient(step + i, p.shape), dtype=p.dtype)
            for optimiser in several:
                optimiser.step()
    for a, b in zip(together, alone):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    for i, optimiser in enumerate(optimisers[1]):
        mine, theirs = (found.state_dict()["state"] for found in (optimisers[0][0], optimiser))
        assert mine.get(i, {}).keys() == theirs.get(0, {}).keys()
        for key, value in theirs.get(0, {}).items():
            np.testing.assert_array_equal(mine[i][key] if key == "step" else mine[i][key].numpy(), value if key == "step" else value.numpy())


def test_zero_grad():
    """Kills: gradients that add up over steps; zeros where None was asked for."""
    a = tinycnn.tensor([1.0], requires_grad=True)
    optimiser = optim.SGD([a], 0.1)
    (a * 2).backward()
    optimiser.zero_grad(set_to_none=False)
    assert a.grad.item() == 0
    optimiser.zero_grad()
    assert a.grad is None


def test_a_closure_computes_the_loss_with_recording_on():
    """Kills: a closure under no_grad; its value lost."""
    a = tinycnn.tensor([3.0], requires_grad=True)
    optimiser = optim.SGD([a], 0.1)

    def closure():
        optimiser.zero_grad()
        loss = (a * a).sum()
        loss.backward()
        return loss
    assert optimiser.step(closure).item() == 9
    np.testing.assert_allclose(a.item(), 3 - 0.1 * 6, rtol=1e-6)
    assert optimiser.step() is None


def test_a_backward_after_a_step_is_an_error():
    """The graph saved the old weights. Kills: a step past the version counter."""
    a = tinycnn.tensor([3.0], requires_grad=True)
    loss = (a * a).sum()
    a.grad = tinycnn.tensor([1.0])
    optim.SGD([a], 0.1).step()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_a_small_problem_is_solved():
    """Every optimiser gets to the minimum of a quadratic. Kills: steps uphill."""
    for make in (lambda p: optim.SGD(p, 0.1, 0.9), lambda p: optim.Adam(p, 0.1), lambda p: optim.AdamW(p, 0.1, weight_decay=0), lambda p: optim.RMSprop(p, 0.02)):
        x = tinycnn.tensor([4.0, -3.0], requires_grad=True)
        optimiser = make([x])
        for _ in range(600):
            optimiser.zero_grad()
            ((x - tinycnn.tensor([1.0, 2.0])) ** 2).sum().backward()
            optimiser.step()
        np.testing.assert_allclose(x.detach().numpy(), [1, 2], atol=0.05)


def leaf(*shape):
    return tinycnn.ones(*shape, requires_grad=True)


def loaded(mine, theirs):
    mine.load_state_dict(theirs.state_dict())


def stepped(optimiser):
    for group in optimiser.param_groups:
        for p in group["params"]:
            p.grad = tinycnn.ones_like(p)
    optimiser.step()
    return optimiser


WRONG = {
    "a single tensor": (lambda: optim.SGD(leaf(3), 0.1), TypeError, "wrap it in a list"),
    "nothing": (lambda: optim.SGD([], 0.1), ValueError, "no parameters"),
    "not a tensor": (lambda: optim.Adam([np.ones(3)]), TypeError, "parameter 0 is not a tensor but ndarray"),
    "not a leaf": (lambda: optim.Adam([leaf(3) * 2]), ValueError, "only leaves"),
    "twice": (lambda: optim.SGD([{"params": [p]} for p in [leaf(3)] * 2], 0.1), ValueError, "given twice"),
    "twice in one group": (lambda: optim.SGD([leaf(3)] * 2, 0.1), ValueError, "given twice"),
    "no params in a group": (lambda: optim.SGD([{"lr": 1.0}]), TypeError, '"params"'),
    "unknown option": (lambda: optim.SGD([{"params": [leaf(1)], "momentun": 1.0}]), ValueError, "'momentun'.* momentum"),
    "lr": (lambda: optim.SGD([leaf(1)], -0.1), ValueError, "lr is -0.1"),
    "lr of a group": (lambda: optim.SGD([{"params": [leaf(1)], "lr": -2}], 0.1), ValueError, "lr is -2"),
    "momentum": (lambda: optim.SGD([leaf(1)], 0.1, -1), ValueError, "momentum is -1"),
    "nesterov": (lambda: optim.SGD([leaf(1)], 0.1, nesterov=True), ValueError, "nesterov is True"),
    "betas": (lambda: optim.Adam([leaf(1)], betas=(0.9, 1.0)), ValueError, r"betas is \(0.9, 1.0\)"),
    "eps": (lambda: optim.AdamW([leaf(1)], eps=-1), ValueError, "eps is -1"),
    "alpha": (lambda: optim.RMSprop([leaf(1)], alpha=-1), ValueError, "alpha is -1"),
    "fewer groups": (lambda: loaded(optim.SGD([leaf(1)]), optim.SGD([{"params": [leaf(1)]}, {"params": [leaf(1)]}])), ValueError, r"\[1, 1\].*\[1\]"),
    "more parameters": (lambda: loaded(optim.SGD([leaf(1), leaf(1)]), optim.SGD([leaf(1)])), ValueError, r"of \[1\] parameters in the state dict, of \[2\]"),
    "other shapes": (lambda: loaded(optim.Adam([leaf(1)]), stepped(optim.Adam([leaf(2, 3)]))), ValueError, r"'exp_avg' of parameter 0 .*\(2, 3\).*\(1,\)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_is_one_clear_error(case):
    function, kind, message = WRONG[case]
    with pytest.raises(kind, match=message):
        function()


def test_a_gradient_of_another_shape_or_dtype():
    """Kills: broadcasting in the step."""
    p = leaf(2, 3)
    for grad in (tinycnn.ones(3), tinycnn.ones(2, 3, dtype=tinycnn.float64)):
        p.grad = grad
        with pytest.raises(ValueError, match="has a gradient of"):
            optim.SGD([p], 0.1).step()


def test_a_state_that_does_not_fit_changes_nothing():
    """Kills: a load that stops half-way."""
    mine = stepped(optim.Adam([leaf(1), leaf(2)], lr=0.3))
    before = mine.state_dict()["state"][0]["exp_avg"].numpy().copy()
    other = stepped(stepped(optim.Adam([leaf(1), leaf(3)])))
    with pytest.raises(ValueError, match="parameter 1"):
        mine.load_state_dict(other.state_dict())
    state = mine.state_dict()
    assert state["param_groups"][0]["lr"] == 0.3 and state["state"][0]["step"] == 1
    np.testing.assert_array_equal(state["state"][0]["exp_avg"].numpy(), before)


def test_an_optimiser_of_ones_own():
    """By the documented way: options, update, state. Kills: a base class that only works for its own."""
    class Lion(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        def update(self, p, gradient, state, group):
            state["steps"] = state.get("steps", 0) + 1
            p.sub_(gradient.sign() * group["lr"])
    p = leaf(2)
    stepped(Lion([p], 0.25))
    np.testing.assert_array_equal(p.detach().numpy(), 0.75)
