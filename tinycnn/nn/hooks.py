"""Calling a module that has hooks: pre-hooks see (and may replace) the inputs, hooks the output, backward hooks the gradients.

A backward hook needs to know when the gradients of a module's outputs and of its inputs are there. So the inputs and the outputs each pass through a `Boundary`, an
operation that does nothing but tell:

    inputs -> Boundary -> forward -> Boundary -> output             forwards
    grad_input <- Boundary <- ... <- Boundary <- grad_output        backwards: the right one notes grad_output, the left one calls the hooks with both
"""
from ..autograd import Function
from ..tensor import Tensor


def call(module, inputs, options):
    """module(*inputs, **options) with its hooks."""
    for hook in list(module._forward_pre_hooks.values()):
        replaced = hook(module, inputs)
        if replaced is not None:
            inputs = replaced if isinstance(replaced, tuple) else (replaced,)
    gradients = Gradients(module, len(inputs)) if module._backward_hooks else None
    original = inputs
    if gradients is not None:
        inputs = gradients.watch_inputs(inputs)
    output = module.forward(*inputs, **options)
    for hook in list(module._forward_hooks.values()):
        replaced = hook(module, original, output)
        if replaced is not None:
            output = replaced
    return output if gradients is None else gradients.watch_output(output)


class Boundary(Function):
    """The same values in memory of their own (a module may change its inputs in place). In the backward pass, `passing(gradients)` may replace the gradients."""

    def forward(ctx, passing, *tensors):
        ctx.passing = passing
        return tuple(x.array.copy(order="K") for x in tensors)

    def backward(ctx, *gradients):
        return (None, *ctx.passing(gradients))


class Gradients:
    """What one call of a module has learned of its gradients, until both sides are known and the hooks can be called."""

    def __init__(self, module, count):
        self.module, self.count = module, count
        self.has_input_gradients = False
        self.grad_output = None

    def watch_inputs(self, inputs):
        inputs, positions = _through_boundary(inputs, lambda gradients: self._inputs_known(gradients, positions))
        self.has_input_gradients = bool(positions)
        return inputs

    def watch_output(self, output):
        several = isinstance(output, tuple)
        outputs, positions = _through_boundary(output if several else (output,), lambda gradients: self._output_known(gradients, positions, len(outputs)))
        return outputs if several else outputs[0]

    def _output_known(self, gradients, positions, count):
        self.grad_output = _spread(gradients, positions, count)
        if not self.has_input_gradients:  # nothing will arrive there: say so now
            self._call_hooks((None,) * self.count)
        return gradients

    def _inputs_known(self, gradients, positions):
        grad_input = self._call_hooks(_spread(gradients, positions, self.count))
        return tuple(grad_input[i] for i in positions)

    def _call_hooks(self, grad_input):
        for hook in list(self.module._backward_hooks.values()):
            replaced = hook(self.module, grad_input, self.grad_output)
            if replaced is not None:
                replaced = replaced if isinstance(replaced, tuple) else (replaced,)
                if len(replaced) != len(grad_input):
                    raise ValueError(f"backward hook of {type(self.module).__name__}: returned {len(replaced)} gradients for {len(grad_input)} inputs")
                grad_input = replaced
        return grad_input


def _through_boundary(values, passing):
    """(values with those that require gradients passed through one Boundary, the positions of those)."""
    positions = [i for i, value in enumerate(values) if isinstance(value, Tensor) and value.requires_grad]
    if not positions:
        return values, positions
    values = list(values)
    for i, marked in zip(positions, Boundary.apply(passing, *(values[i] for i in positions))):
        values[i] = marked
    return tuple(values), positions


def _spread(gradients, positions, count):
    """One entry per input or output: its gradient, or None where it has none."""
    spread = [None] * count
    for i, gradient in zip(positions, gradients):
        spread[i] = gradient
    return tuple(spread)
