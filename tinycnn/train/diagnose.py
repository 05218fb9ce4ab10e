"""Where a NaN comes from: the batch that went wrong is run once more, with an eye on every layer.

NaN and infinity spread: a moment after one product overflows, every number is NaN. So the loss tells only that something happened. The first layer whose output is
not finite although its input was tells where; if the loss is finite, the same question is asked of the gradients, from the loss backwards.
"""
import math

import numpy as np

from ..autograd import enable_grad, no_grad
from ..ops.arithmetic import isfinite


class NotFiniteError(ArithmeticError):
    """A loss or a gradient is NaN or infinite; the message says where it began and what to try."""


@no_grad()
def finite(tensor):
    return bool(isfinite(tensor).all())


@no_grad()
def gradients_finite(parameters):
    """Whether every gradient is finite. The sum of squares tells in one fast pass, of which a single number comes back; only if it overflows, look at each element."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = [gradient.reshape(-1) for gradient in gradients]
    with np.errstate(over="ignore"):
        squares = float(sum(x @ x for x in flat))
    return math.isfinite(squares) or all(finite(gradient) for gradient in gradients)


def diagnose(model, loss_function, images, labels):
    """The place where NaN or infinity first appears in a training step of `model` on this batch, in words."""
    if not finite(images):
        return f"the images of this batch already hold {_count(images)}: look at the data and its normalisation"
    for name, tensor in model.state_dict().items():
        if tensor.is_floating and not finite(tensor):
            return f"{name} holds {_count(tensor)} before this step: the update before it was too large"
    for parameter in model.parameters():
        parameter.grad = None
    forward, backward = [], []  # findings, in the order in which things happen
    handles = [module.register_forward_hook(_watch(name, forward, backward)) for name, module in model.named_modules()]
    try:
        with enable_grad(), np.errstate(all="ignore"):
            loss, _ = loss_function(model(images), labels)
            if not forward and not finite(loss):
                forward.append("the loss itself: every layer's output is finite")
            if not forward:
                loss.backward()
                backward += [f"the gradient of {name}, {_count(parameter.grad)}" for name, parameter in model.named_parameters()
                             if parameter.grad is not None and not finite(parameter.grad)]
    finally:
        for handle in handles:
            handle.remove()
    findings = forward + backward
    return f"it first appears in {findings[0]}" if findings else "it did not appear again when the step was repeated"


def _watch(name, forward, backward):
    """A forward hook that notes a module whose output, or whose output's gradient, is not finite."""
    def hook(module, inputs, output):
        called = f"{name} ({type(module).__name__})" if name else f"the network itself ({type(module).__name__}), outside its layers"
        for y in output if isinstance(output, tuple) else (output,):
            if not finite(y):
                largest = max((float(x.detach().abs().amax()) for x in inputs if x.is_floating and x.numel()), default=0.0)
                forward.append(f"the output of {called}: {_count(y)}; the largest of its inputs is {largest:.3g}")
            if y.requires_grad:
                y.register_hook(lambda dy: None if finite(dy) else backward.append(f"the gradient that reaches the output of {called}: {_count(dy)}"))
    return hook


def _count(tensor):
    values = tensor.device.to_numpy(tensor.array)
    nan, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    return " and ".join(f"{number:,} {what}" for number, what in ((nan, "NaN"), (infinite, "infinities")) if number) + f" among {tensor.numel():,} values"
