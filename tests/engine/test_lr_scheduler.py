"""Learning-rate schedules: epoch by epoch those of PyTorch (live, and hand-computed), multiplied together, one after another, saved and continued."""
import json
import math

import numpy as np
import pytest

import tinycnn
from tinycnn import optim
from tinycnn.optim import lr_scheduler

# the schedule of module s for an optimizer, and for the first group (initial rate 0.1) the rates by hand at some epochs
SCHEDULES = {
    "LambdaLR": (lambda s, o: s.LambdaLR(o, lambda epoch: 1 / (1 + epoch)), {0: 0.1, 1: 0.05, 4: 0.02}),
    "LambdaLR, one per group": (lambda s, o: s.LambdaLR(o, [lambda epoch: 0.5 ** epoch, lambda epoch: 1.0]), {0: 0.1, 3: 0.0125}),
    "StepLR": (lambda s, o: s.StepLR(o, 3), {0: 0.1, 2: 0.1, 3: 0.01, 5: 0.01, 6: 0.001}),
    "StepLR, gamma": (lambda s, o: s.StepLR(o, 2, gamma=0.96), {1: 0.1, 2: 0.096, 4: 0.09216}),
    "MultiStepLR": (lambda s, o: s.MultiStepLR(o, [7, 2], 0.5), {1: 0.1, 2: 0.05, 6: 0.05, 7: 0.025, 11: 0.025}),
    "MultiStepLR, twice at once": (lambda s, o: s.MultiStepLR(o, [3, 3]), {2: 0.1, 3: 0.001}),
    "ExponentialLR": (lambda s, o: s.ExponentialLR(o, 0.5), {0: 0.1, 1: 0.05, 3: 0.0125}),
    "ConstantLR": (lambda s, o: s.ConstantLR(o, 0.5, 4), {0: 0.05, 3: 0.05, 4: 0.1, 9: 0.1}),
    "ConstantLR, defaults": (lambda s, o: s.ConstantLR(o), {0: 0.1 / 3, 4: 0.1 / 3, 5: 0.1}),
    "LinearLR": (lambda s, o: s.LinearLR(o, 0.2, 1.0, 4), {0: 0.02, 1: 0.04, 2: 0.06, 4: 0.1, 8: 0.1}),
    "LinearLR, defaults": (lambda s, o: s.LinearLR(o), {0: 0.1 / 3, 5: 0.1}),
    "LinearLR, down": (lambda s, o: s.LinearLR(o, 1.0, 0.0, 5), {0: 0.1, 1: 0.08, 5: 0.0, 6: 0.0}),
    "PolynomialLR": (lambda s, o: s.PolynomialLR(o, 4, 2.0), {0: 0.1, 1: 0.05625, 2: 0.025, 4: 0.0, 7: 0.0}),
    "PolynomialLR, defaults": (lambda s, o: s.PolynomialLR(o), {0: 0.1, 1: 0.08, 5: 0.0}),
    "CosineAnnealingLR": (lambda s, o: s.CosineAnnealingLR(o, 6), {0: 0.1, 2: 0.075, 3: 0.05, 6: 0.0, 9: 0.05, 12: 0.1}),
    "CosineAnnealingLR, eta_min": (lambda s, o: s.CosineAnnealingLR(o, 4, 0.02), {0: 0.1, 2: 0.06, 4: 0.02, 5: 0.02 + 0.04 * (1 - math.sqrt(0.5))}),
    "warm-up, then cosine": (lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.1, total_iters=3), s.CosineAnnealingLR(o, 6)], [3]),
                             {0: 0.01, 1: 0.04, 2: 0.07, 3: 0.1, 6: 0.05, 9: 0.0}),
    "three in a row": (lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 0.1, 100), s.ExponentialLR(o, 0.5), s.StepLR(o, 2)], milestones=[2, 5]),
                       {0: 0.01, 1: 0.01, 2: 0.1, 3: 0.05, 4: 0.025, 5: 0.1, 6: 0.1, 7: 0.01}),
}
EPOCHS = 14


def optimizer_of(module):
    """Two groups: 0.1 and 0.3."""
    groups = [{"params": [module.tensor([1.0], requires_grad=True)]}, {"params": [module.tensor([1.0], requires_grad=True)], "lr": 0.3}]
    return module.optim.SGD(groups, lr=0.1)


def rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


def history(optimizer, schedules, epochs=EPOCHS):
    """The rates of each epoch."""
    seen = [rates(optimizer)]
    for _ in range(epochs):
        optimizer.step()
        for scheduler in schedules:
            scheduler.step()
        seen.append(rates(optimizer))
    return np.array(seen)


@pytest.mark.parametrize("case", SCHEDULES)
def test_rates_by_hand(case):
    """Kills: off by one epoch; the factor applied twice at the start; the second group with the rate of the first."""
    make, expected = SCHEDULES[case]
    optimizer = optimizer_of(tinycnn)
    scheduler = make(lr_scheduler, optimizer)
    seen = history(optimizer, [scheduler])
    for epoch, rate in expected.items():
        np.testing.assert_allclose(seen[epoch, 0], rate, rtol=1e-9, atol=1e-15, err_msg=f"epoch {epoch}")
    if "per group" not in case and "eta_min" not in case:
        np.testing.assert_allclose(seen[:, 1], 3 * seen[:, 0], rtol=1e-9, atol=1e-15)
    assert scheduler.last_epoch == EPOCHS and scheduler.get_last_lr() == rates(optimizer)


@pytest.mark.torch
@pytest.mark.parametrize("case", SCHEDULES)
def test_rates_are_those_of_live_pytorch(case):
    """Kills: a misremembered rule."""
    import torch
    seen = []
    for module in (tinycnn, torch):
        optimizer = optimizer_of(module)
        seen.append(history(optimizer, [SCHEDULES[case][0](module.optim.lr_scheduler, optimizer)]))
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-9, atol=1e-15)


CHAIN = {
    "warm-up and steps": lambda s, o: [s.LinearLR(o, 0.1, total_iters=4), s.MultiStepLR(o, [3, 6])],
    "decay and polynomial": lambda s, o: [s.ExponentialLR(o, 0.9), s.PolynomialLR(o, 10), s.ConstantLR(o, 0.5, 2)],
    "cosine and steps": lambda s, o: [s.StepLR(o, 3, 0.5), s.CosineAnnealingLR(o, 20)],
}


@pytest.mark.torch
@pytest.mark.parametrize("case", CHAIN)
def test_schedules_on_one_optimizer_multiply(case):
    """As in PyTorch. Kills: rates set from the initial one, so that the last schedule wins."""
    import torch
    seen = []
    for module in (tinycnn, torch):
        optimizer = optimizer_of(module)
        seen.append(history(optimizer, CHAIN[case](module.optim.lr_scheduler, optimizer)))
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-9, atol=1e-15)


def test_warm_up_and_steps_multiply_by_hand():
    """The same without PyTorch: factor 0.1 -> 1 over 4 epochs, times 0.1 from epoch 3."""
    optimizer = optimizer_of(tinycnn)
    seen = history(optimizer, CHAIN["warm-up and steps"](lr_scheduler, optimizer), 6)[:, 0]
    np.testing.assert_allclose(seen, [0.01, 0.0325, 0.055, 0.00775, 0.01, 0.01, 0.001], rtol=1e-9)


def test_a_rate_changed_by_hand_stays_changed():
    """Kills: a closed form that forgets it."""
    optimizer = optimizer_of(tinycnn)
    scheduler = lr_scheduler.StepLR(optimizer, 2)
    optimizer.param_groups[0]["lr"] = 0.5
    scheduler.step()
    assert rates(optimizer)[0] == 0.5
    scheduler.step()
    np.testing.assert_allclose(rates(optimizer)[0], 0.05)


@pytest.mark.parametrize("case", SCHEDULES)
def test_a_schedule_continues_from_its_state_dict(case):
    """Through JSON, as a checkpoint stores it, with the optimizer's. Kills: an attribute that is not saved or not plain; rates that start anew."""
    make = SCHEDULES[case][0]
    optimizer = optimizer_of(tinycnn)
    straight = history(optimizer, [make(lr_scheduler, optimizer)])
    for stop in (1, 4, 9):
        optimizer = optimizer_of(tinycnn)
        scheduler = make(lr_scheduler, optimizer)
        history(optimizer, [scheduler], stop)
        saved, groups = json.loads(json.dumps(scheduler.state_dict())), optimizer.state_dict()
        optimizer = optimizer_of(tinycnn)
        scheduler = make(lr_scheduler, optimizer)
        optimizer.load_state_dict(groups)
        scheduler.load_state_dict(saved)
        np.testing.assert_array_equal(history(optimizer, [scheduler], EPOCHS - stop), straight[stop:])


@pytest.mark.parametrize("make", [lambda o, last: lr_scheduler.StepLR(o, 3, last_epoch=last), lambda o, last: lr_scheduler.LinearLR(o, 0.1, 1.0, 6, last)],
                         ids=["StepLR", "LinearLR"])
def test_a_schedule_continues_from_last_epoch(make):
    """PyTorch's other way. Kills: the initial rate taken from the decayed one; the first epoch's factor applied again."""
    optimizer = optimizer_of(tinycnn)
    straight = history(optimizer, [make(optimizer, -1)])
    optimizer = optimizer_of(tinycnn)
    history(optimizer, [make(optimizer, -1)], 4)
    resumed = optimizer_of(tinycnn)
    resumed.load_state_dict(optimizer.state_dict())
    np.testing.assert_allclose(history(resumed, [make(resumed, 3)], 6), straight[4:11], rtol=1e-9)
    with pytest.raises(KeyError, match="initial_lr"):
        make(optimizer_of(tinycnn), 3)


# ---- on a plateau

METRICS = [1.0, 0.9, 0.95, 0.89995, 0.91, 0.92, 0.5, 0.6, float("nan"), 0.6, 0.6, 0.6, 0.7, 0.4, 0.5, 0.5, 0.5, 0.5]
PLATEAU = {
    "patience": {"patience": 2},
    "abs": {"patience": 1, "threshold": 0.2, "threshold_mode": "abs"},
    "max": {"mode": "max", "patience": 3, "factor": 0.5},
    "max abs": {"mode": "max", "patience": 0, "factor": 0.5, "threshold_mode": "abs", "threshold": 0.05, "min_lr": 0.02},
    "cooldown": {"patience": 0, "cooldown": 3},
    "min_lr of each": {"patience": 0, "min_lr": [0.05, 0.2]},
    "eps": {"patience": 0, "eps": 0.05},
}


def plateau(module, case):
    optimizer = optimizer_of(module)
    scheduler = module.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **PLATEAU[case])
    seen = []
    for value in METRICS:
        scheduler.step(value)
        seen.append(rates(optimizer))
    return np.array(seen), scheduler


def test_plateau_by_hand():
    """patience 2: reduced at the third epoch without improvement. 0.89995 is not better than 0.9 by a factor 1 - 1e-4, NaN never is. Kills: >= patience; a threshold
    that is ignored; a bad count that survives an improvement or a reduction."""
    seen, scheduler = plateau(tinycnn, "patience")
    # epochs without improvement: 2 3 4 (reduce) 5 | 7 8 9 (reduce) 10 11 12 (reduce) | 14 15 16 (reduce) 17
    expected = [0.1] * 4 + [0.01] * 5 + [0.001] * 3 + [0.0001] * 4 + [0.00001] * 2
    np.testing.assert_allclose(seen[:, 0], expected, rtol=1e-9)
    assert scheduler.best == 0.4 and scheduler.get_last_lr() == list(seen[-1])


@pytest.mark.torch
@pytest.mark.parametrize("case", PLATEAU)
def test_plateau_is_that_of_live_pytorch(case):
    """Kills: modes exchanged; cooldown off by one; a bound of the other group."""
    import torch
    np.testing.assert_allclose(plateau(tinycnn, case)[0], plateau(torch, case)[0], rtol=1e-9)


def test_plateau_continues_from_its_state_dict():
    """Kills: the best value or the counters lost."""
    straight, _ = plateau(tinycnn, "patience")
    optimizer = optimizer_of(tinycnn)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=2)
    for value in METRICS[:6]:
        scheduler.step(value)
    other = optimizer_of(tinycnn)
    other.load_state_dict(optimizer.state_dict())
    continued = lr_scheduler.ReduceLROnPlateau(other, patience=2)
    continued.load_state_dict(json.loads(json.dumps(scheduler.state_dict())))
    for value, expected in zip(METRICS[6:], straight[6:]):
        continued.step(tinycnn.tensor(value))
        assert rates(other) == list(expected)


WRONG = {
    "not an optimizer": (lambda o: lr_scheduler.StepLR([0.1], 3), TypeError, "expected an optimizer, got list"),
    "step size": (lambda o: lr_scheduler.StepLR(o, 0), ValueError, "step_size is 0"),
    "T_max": (lambda o: lr_scheduler.CosineAnnealingLR(o, 0), ValueError, "T_max is 0"),
    "start factor": (lambda o: lr_scheduler.LinearLR(o, 0.0), ValueError, "start_factor is 0.0"),
    "end factor": (lambda o: lr_scheduler.LinearLR(o, 0.5, 2.0), ValueError, "end_factor is 2.0"),
    "factor": (lambda o: lr_scheduler.ConstantLR(o, 2.0), ValueError, "factor is 2.0"),
    "lambdas": (lambda o: lr_scheduler.LambdaLR(o, [abs]), ValueError, "1 functions for 2 groups"),
    "milestones": (lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(o, 1)], [3]), ValueError, "one schedule more"),
    "another optimizer": (lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(optimizer_of(tinycnn), 1)], []), ValueError, "another optimizer"),
    "plateau in a row": (lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.ReduceLROnPlateau(o)], []), ValueError, "without a metric"),
    "mode": (lambda o: lr_scheduler.ReduceLROnPlateau(o, "lowest"), ValueError, "'lowest'.* 'min' or 'max'"),
    "reduction": (lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=1.0), ValueError, "factor is 1.0"),
    "minima": (lambda o: lr_scheduler.ReduceLROnPlateau(o, min_lr=[0.1]), ValueError, "1 values of min_lr for 2 groups"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_is_one_clear_error(case):
    function, kind, message = WRONG[case]
    with pytest.raises(kind, match=message):
        function(optimizer_of(tinycnn))


def test_a_schedule_of_ones_own():
    """One function suffices. Kills: a base class that only works for its own."""
    class EveryOther(lr_scheduler.LRScheduler):
        def factor(self, epoch):
            return 0.5 if epoch % 2 else 1.0
    optimizer = optimizer_of(tinycnn)
    np.testing.assert_allclose(history(optimizer, [EveryOther(optimizer)], 3)[:, 0], [0.1, 0.05, 0.1, 0.05])
    assert isinstance(optimizer, optim.Optimizer)
