"""What all optimisers share: groups of parameters with their options, a state per parameter, and the loop over them.

A subclass says in `update` what happens to one parameter, or in `update_together` what happens to many in one call; the arithmetic is a kernel's. Options live in
`param_groups`, a list of dictionaries, so that layers can be treated differently and schedulers can change the learning rate while training.
"""
import numpy as np

from ..autograd import enable_grad, no_grad
from ..tensor import Tensor, tensor, zeros_like


class Optimizer:
    """params: an iterable of tensors, or of dictionaries {"params": [...], option: value, ...}. defaults: options for groups that do not set their own."""

    def __init__(self, params, defaults):
        if isinstance(params, Tensor):
            raise TypeError(f"{type(self).__name__}: params must be an iterable of tensors, or of groups; got a single tensor: wrap it in a list")
        self.defaults = defaults
        self.state = {}
        self.param_groups = []
        groups = list(params)
        if not groups:
            raise ValueError(f"{type(self).__name__}: got no parameters (an iterator like model.parameters() can be used only once)")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, param_group):
        """Take in more parameters, {"params": [...], option: value, ...}; e.g. layers that are thawed during training."""
        name = type(self).__name__
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise TypeError(f'{name}: a group of parameters must be a dictionary with the key "params", got {type(param_group).__name__}')
        params = param_group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        known = {id(p) for group in self.param_groups for p in group["params"]}
        for i, p in enumerate(params):
            if not isinstance(p, Tensor):
                raise TypeError(f"{name}: parameter {i} is not a tensor but {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError(f"{name}: parameter {i} of shape {p.shape} was computed by {p.grad_fn}: only leaves can be optimised")
            if id(p) in known:
                raise ValueError(f"{name}: parameter {i} of shape {p.shape} is given twice, in one group or in two")
            known.add(id(p))
        group = {"params": params, **{option: value for option, value in param_group.items() if option != "params"}}
        unknown = [option for option in group if option not in ("params", "initial_lr", *self.defaults)]
        if unknown:
            raise ValueError(f"{name}: unknown option {unknown[0]!r} in a group: there are {', '.join(self.defaults)}")
        for option, value in self.defaults.items():
            group.setdefault(option, value)
        self.check(group)
        self.param_groups.append(group)

    def check(self, group):
        """Raise ValueError where the options of a group make no sense. Subclasses say which do."""

    def require(self, group, condition, option, meaning):
        if not condition:
            raise ValueError(f"{type(self).__name__}: {option} is {group[option]!r}; it must be {meaning}")

    def zero_grad(self, set_to_none=True):
        """Forget the gradients; set_to_none=False fills them with zeros instead."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad = None if set_to_none else p.grad.detach().zero_()

    @no_grad()
    def step(self, closure=None):
        """Update every parameter that has a gradient. closure: computes the loss anew, with its gradients, before the update; its value is returned."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameters in self._alike(group):
                gradients = [-p.grad if group.get("maximize") else p.grad for p in parameters]
                states = [self.state.get(p, {}) for p in parameters]
                self.update_together(parameters, gradients, states, group)
                for p, state in zip(parameters, states):
                    p.version[0] += 1
                    if state:
                        self.state[p] = state
        return loss

    def _alike(self, group):
        """Lists of the group's parameters that have a gradient: on one device, of one dtype, and with as many steps behind them."""
        found = {}
        for p in group["params"]:
            gradient = p.grad
            if gradient is not None:
                if gradient.shape != p.shape or gradient.dtype != p.dtype:
                    raise ValueError(f"{type(self).__name__}: a parameter of {p.shape} {p.dtype} has a gradient of {gradient.shape} {gradient.dtype}")
                state = self.state.get(p, {})
                found.setdefault((p.device, p.dtype, "momentum_buffer" in state, state.get("step")), []).append(p)
        return found.values()

    def update_together(self, parameters, gradients, states, group):
        """One step for several parameters of one device and dtype that have taken as many steps, in place: lists, a parameter's gradient and state at its place."""
        for p, gradient, state in zip(parameters, gradients, states):
            self.update(p, gradient, state, group)

    def update(self, p, gradient, state, group):
        """One step for one parameter, in place. state: this parameter's dictionary, empty at first."""
        raise NotImplementedError(f"{type(self).__name__} does not define update(...)")

    def state_dict(self):
        """{"state": {number of the parameter: its state}, "param_groups": the groups, with numbers for parameters}. Tensors are not copied."""
        numbers = {p: i for i, p in enumerate(self._params())}
        return {"state": {numbers[p]: dict(state) for p, state in self.state.items()},
                "param_groups": [{**group, "params": [numbers[p] for p in group["params"]]} for group in self.param_groups]}

    def load_state_dict(self, state_dict):
        """Continue from a state_dict of the same optimiser over parameters of the same shapes in the same order. Its tensors are copied, in the parameters' dtype.

        Nothing is changed unless everything fits.
        """
        name = f"{type(self).__name__}.load_state_dict"
        saved = state_dict["param_groups"]
        sizes, saved_sizes = ([len(group["params"]) for group in groups] for groups in (self.param_groups, saved))
        if sizes != saved_sizes:
            raise ValueError(f"{name}: groups of {saved_sizes} parameters in the state dict, of {sizes} here")
        by_number = {number: p for theirs, ours in zip(saved, self.param_groups) for number, p in zip(theirs["params"], ours["params"])}
        state = {}
        for number, entries in state_dict["state"].items():
            if number not in by_number:
                raise ValueError(f"{name}: there is a state for parameter {number}, which no group holds")
            p = by_number[number]
            state[p] = {key: _adopt(name, number, p, key, value) for key, value in entries.items() if value is not None}
        self.state = state
        self.param_groups = [{**ours, **theirs, "params": ours["params"]} for theirs, ours in zip(saved, self.param_groups)]

    def _params(self):
        return [p for group in self.param_groups for p in group["params"]]

    def __repr__(self):
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {option}: {value}" for option, value in sorted(group.items()) if option != "params"]
        return "\n".join([*lines, ")"])


def arrays(tensors):
    return [tensor.array for tensor in tensors]


def buffers(states, key, parameters):
    """The arrays that the parameters' states keep under `key`, of the parameters' shapes; zeros at first."""
    for p, state in zip(parameters, states):
        if key not in state:
            state[key] = zeros_like(p)
    return [state[key].array for state in states]


def count(states):
    """The number of this step, which is the same in all of these states."""
    for state in states:
        state["step"] = state.get("step", 0) + 1
    return states[0]["step"]


def _adopt(name, number, p, key, value):
    """A value of a saved state as ours: the count of steps as an int, everything else as a tensor like p."""
    if key == "step":
        return int(value)
    adopted = tensor(value if isinstance(value, Tensor) else np.asarray(value), p.dtype, p.device)
    if adopted.shape != p.shape:
        raise ValueError(f"{name}: {key!r} of parameter {number} has shape {adopted.shape}, the parameter {p.shape}")
    return adopted
