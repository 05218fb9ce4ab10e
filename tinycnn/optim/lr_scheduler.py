"""Learning-rate schedules. Call scheduler.step() after each epoch (or each batch, if its numbers count batches).

Most are one function: by what `factor(epoch)` the initial rate is multiplied. A step then multiplies the current rate by factor(epoch) / factor(epoch - 1), as PyTorch
does, so that several schedules on one optimiser multiply, and a rate that was changed by hand stays changed.
"""
import math
from bisect import bisect_right

from .optimizer import Optimizer


class LRScheduler:
    """Base of all: counts epochs, and keeps each group's initial rate as its option "initial_lr".

    last_epoch: -1 to start (which sets the rates for epoch 0), or the last epoch done when an optimiser's loaded state is continued.
    """

    floor = 0.0  # what the factor leaves alone: rate = floor + (initial rate - floor) * factor

    def __init__(self, optimizer, last_epoch=-1):
        self.attach(optimizer)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(f"{type(self).__name__}: group {i} has no 'initial_lr', which is needed to continue from last_epoch={last_epoch}: "
                               "load the optimizer's state first")
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch + 1
        if last_epoch == -1:
            self.set_rates([self.floor + (group["lr"] - self.floor) * self.factor(0) for group in optimizer.param_groups])
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def attach(self, optimizer):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: expected an optimizer, got {type(optimizer).__name__}")
        self.optimizer = optimizer

    def factor(self, epoch):
        """What the initial rate is multiplied by in `epoch`."""
        raise NotImplementedError(f"{type(self).__name__} does not define factor(epoch)")

    def get_lr(self):
        """The rates for the present epoch, from those of the one before."""
        now, before = self.factor(self.last_epoch), self.factor(self.last_epoch - 1)
        if before == 0:  # from nothing nothing comes: start again from the initial rate
            return self.closed_form()
        return [self.floor + (group["lr"] - self.floor) * (now / before) for group in self.optimizer.param_groups]

    def closed_form(self):
        """The rates for the present epoch, from the initial ones."""
        return [self.floor + (base - self.floor) * self.factor(self.last_epoch) for base in self.base_lrs]

    def step(self):
        """One epoch is done: set the rates for the next."""
        self.last_epoch += 1
        self.set_rates(self.get_lr())

    def restart(self):
        """Go to epoch 0, and to its rates."""
        self.last_epoch = 0
        self.set_rates(self.closed_form())

    def set_rates(self, rates):
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = list(rates)

    def get_last_lr(self):
        """The rate of each group that this schedule set last."""
        return self._last_lr

    def state_dict(self):
        """Everything but the optimiser (and functions that were given)."""
        return {name: value for name, value in self.__dict__.items() if name not in ("optimizer", "lr_lambdas")}

    def load_state_dict(self, state_dict):
        """Continue from a state_dict of the same schedule; the rates themselves are part of the optimiser's."""
        self.__dict__.update(state_dict)


class LambdaLR(LRScheduler):
    """The initial rate times lr_lambda(epoch); a list gives each group its own function. Does not multiply with other schedules: it sets the rate."""

    def __init__(self, optimizer, lr_lambda, last_epoch=-1):
        groups = len(optimizer.param_groups)
        self.lr_lambdas = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * groups
        if len(self.lr_lambdas) != groups:
            raise ValueError(f"LambdaLR: {len(self.lr_lambdas)} functions for {groups} groups of parameters")
        super().__init__(optimizer, last_epoch)
        self.set_rates(self.closed_form())

    def factor(self, epoch):
        return 1.0  # see closed_form: the factor is each group's own

    def get_lr(self):
        return self.closed_form()

    def closed_form(self):
        return [base * function(self.last_epoch) for base, function in zip(self.base_lrs, self.lr_lambdas)]


class StepLR(LRScheduler):
    """Times gamma every step_size epochs."""

    def __init__(self, optimizer, step_size, gamma=0.1, last_epoch=-1):
        _positive(self, "step_size", step_size)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch):
        return self.gamma ** (epoch // self.step_size)


class MultiStepLR(LRScheduler):
    """Times gamma at each of the milestones."""

    def __init__(self, optimizer, milestones, gamma=0.1, last_epoch=-1):
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch):
        return self.gamma ** bisect_right(self.milestones, epoch)


class ExponentialLR(LRScheduler):
    """Times gamma after every epoch."""

    def __init__(self, optimizer, gamma, last_epoch=-1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch):
        return self.gamma ** epoch


class ConstantLR(LRScheduler):
    """Times `factor` for the first total_iters epochs."""

    def __init__(self, optimizer, factor=1.0 / 3, total_iters=5, last_epoch=-1):
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: factor is {factor}; it must be between 0 and 1")
        self.start_factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch):
        return self.start_factor if epoch < self.total_iters else 1.0


class LinearLR(LRScheduler):
    """From start_factor to end_factor on a straight line over total_iters epochs: a warm-up."""

    def __init__(self, optimizer, start_factor=1.0 / 3, end_factor=1.0, total_iters=5, last_epoch=-1):
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor is {start_factor}; it must be above 0 and at most 1")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor is {end_factor}; it must be between 0 and 1")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch):
        return self.start_factor + (self.end_factor - self.start_factor) * min(epoch, self.total_iters) / self.total_iters


class PolynomialLR(LRScheduler):
    """(1 - epoch / total_iters) ** power: to 0 in total_iters epochs."""

    def __init__(self, optimizer, total_iters=5, power=1.0, last_epoch=-1):
        _positive(self, "total_iters", total_iters)
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch):
        return (1 - min(epoch, self.total_iters) / self.total_iters) ** self.power


class CosineAnnealingLR(LRScheduler):
    """Down to eta_min along half a cosine in T_max epochs, and up again in the next T_max (Loshchilov, Hutter 2017, without the restarts)."""

    def __init__(self, optimizer, T_max, eta_min=0.0, last_epoch=-1):
        _positive(self, "T_max", T_max)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    @property
    def floor(self):
        return self.eta_min

    def factor(self, epoch):
        return (1 + math.cos(math.pi * epoch / self.T_max)) / 2


class SequentialLR(LRScheduler):
    """One schedule after another: schedulers[i + 1] takes over at epoch milestones[i], from its own epoch 0 and the initial rate."""

    def __init__(self, optimizer, schedulers, milestones):
        self.attach(optimizer)
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        if len(self.schedulers) != len(self.milestones) + 1:
            raise ValueError(f"SequentialLR: {len(self.schedulers)} schedules and {len(self.milestones)} milestones between them; there must be one schedule more")
        for i, scheduler in enumerate(self.schedulers):
            if scheduler.optimizer is not optimizer:
                raise ValueError(f"SequentialLR: schedule {i} ({type(scheduler).__name__}) belongs to another optimizer")
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(f"SequentialLR: schedule {i} is a ReduceLROnPlateau, which cannot be stepped without a metric")
        self.restart()

    def _active(self):
        return self.schedulers[bisect_right(self.milestones, self.last_epoch)]

    def step(self):
        self.last_epoch += 1
        if self.last_epoch in self.milestones:
            self._active().restart()
        else:
            self._active().step()
        self._last_lr = self._active().get_last_lr()

    def restart(self):
        self.last_epoch = 0
        self._active().restart()
        self._last_lr = self._active().get_last_lr()

    def state_dict(self):
        return {**super().state_dict(), "schedulers": [scheduler.state_dict() for scheduler in self.schedulers]}

    def load_state_dict(self, state_dict):
        own = dict(state_dict)
        for scheduler, state in zip(self.schedulers, own.pop("schedulers"), strict=True):
            scheduler.load_state_dict(state)
        super().load_state_dict(own)


class ReduceLROnPlateau(LRScheduler):
    """Times `factor` when a metric has not improved for more than `patience` epochs: step(metric) after each.

    mode: whether "min" or "max" is better. threshold: by how much it must be better to count, relative ("rel") to the best so far or "abs"olute. cooldown: epochs after
    a reduction in which nothing counts. min_lr: never below (one number, or one per group). eps: smaller changes are not made.
    """

    def __init__(self, optimizer, mode="min", factor=0.1, patience=10, threshold=1e-4, threshold_mode="rel", cooldown=0, min_lr=0, eps=1e-8):
        self.attach(optimizer)
        for argument, value, choices in (("mode", mode, ("min", "max")), ("threshold_mode", threshold_mode, ("rel", "abs"))):
            if value not in choices:
                raise ValueError(f"ReduceLROnPlateau: {argument} is {value!r}; it can be {choices[0]!r} or {choices[1]!r}")
        if factor >= 1:
            raise ValueError(f"ReduceLROnPlateau: factor is {factor}; it must be below 1")
        groups = len(optimizer.param_groups)
        self.min_lrs = list(min_lr) if isinstance(min_lr, (list, tuple)) else [min_lr] * groups
        if len(self.min_lrs) != groups:
            raise ValueError(f"ReduceLROnPlateau: {len(self.min_lrs)} values of min_lr for {groups} groups of parameters")
        self.mode, self.reduction, self.patience, self.threshold, self.threshold_mode = mode, factor, patience, threshold, threshold_mode
        self.cooldown, self.eps = cooldown, eps
        self.last_epoch, self.num_bad_epochs, self.cooldown_counter = 0, 0, 0
        self.best = math.inf if mode == "min" else -math.inf
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def step(self, metrics):
        """One epoch is done, with this value of the metric."""
        self.last_epoch += 1
        value = float(metrics)
        if self.is_better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self.set_rates([self._reduced(group["lr"], least) for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True)])
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def is_better(self, value):
        """Whether `value` improves on the best so far, by more than the threshold."""
        sign = 1 if self.mode == "max" else -1
        margin = self.threshold * self.best if self.threshold_mode == "rel" else self.threshold
        if math.isinf(self.best):
            return sign * value > sign * self.best
        return sign * value > sign * (self.best + sign * margin)

    def _reduced(self, rate, least):
        lower = max(rate * self.reduction, least)
        return lower if rate - lower > self.eps else rate


def _positive(scheduler, argument, value):
    if value <= 0:
        raise ValueError(f"{type(scheduler).__name__}: {argument} is {value}; it must be positive")
