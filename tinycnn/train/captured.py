"""A network's forward and backward pass as one call: which kernels they call is written down once, and called again for other images.

    gradients = CapturedGradients(model, loss_function)
    for images, labels in batches:
        loss = gradients(images, labels)            # in place of zero_grad(), loss_function(model(images), labels) and backward()
        optimizer.step()

Both passes are some hundred kernels, each prepared in Python. On a GPU that takes longer than the device computes; there all launches become one, a CUDA graph
(kernels/cuda/graph.py). On the CPU it is a tenth of the time or less, which a list of calls (kernels/graph/cpu.py) saves.

What is called again has the addresses and the numbers of then. So it may be used for images of the same shape as long as nothing else has changed: the arrays of weights
and statistics, the numbers in the modules (training, a dropout's p). All that is compared in each call. A call that finds anything changed computes kernel by kernel; the
next one, if all is as it was in this one, captures, and those after it repeat. An optimiser may do what it likes, as long as it changes weights in their own arrays.

What the passes change is in arrays, but for one thing: dropout counts its calls in Python, so the kernels are told how many there were since.
Python code runs in the slow calls and while capturing only: hooks, prints, and branches on anything but what is compared, are repeated as they were then. A CUDA graph
cannot be captured where Python computes anything itself. On the CPU that would not be noticed, so there the second call with a graph computes both ways, and compares.
"""
import warnings
from hashlib import blake2b

import numpy as np

from ..random import calls_so_far, initial_seed, skip_calls
from ..tensor import Tensor

COMPARED = (bool, int, float, str, type(None))  # attributes of modules
MOST_FORMS = 2  # of images for which there are graphs, each with memory of its own


def compute_gradients(model, loss_function, images, labels):
    """Forward and backward, kernel by kernel. Gradients are in `.grad`, without what was there. Returns what loss_function gave, detached."""
    model.zero_grad()
    results = loss_function(model(images), labels)
    (results[0] if isinstance(results, tuple) else results).backward()
    return tuple(x.detach() for x in results) if isinstance(results, tuple) else results.detach()


def has_hooks(model):
    """Whether somebody listens to a module or to the gradient of a parameter."""
    return (any(module._forward_pre_hooks or module._forward_hooks or module._backward_hooks for module in model.modules())
            or any(parameter.hooks and any(parameter.hooks.values()) for parameter in model.parameters()))


class CapturedGradients:
    """What `compute_gradients` does, and gives, bit for bit. loss_function: (the model's output, labels) -> the loss, or a tuple of tensors of which that is the first.

    Where capturing fails (after a warning that says why), it is compute_gradients itself, and where hooks are registered, which want to be called. Gradients are in
    memory that the next call overwrites; clone what is to be kept. While it captures for a GPU no other thread may wait for the whole device.
    """

    def __init__(self, model, loss_function):
        self.parts = model, loss_function
        self.passes = {}  # by the form of images and labels: the last batch of an epoch may be smaller

    def __call__(self, images, labels):
        if has_hooks(self.parts[0]):
            return compute_gradients(*self.parts, images, labels)
        form = tuple((x.device, x.device.kernels, x.shape, x.dtype, x.array.strides) for x in (images, labels))
        passes = self.passes[form] = self.passes.pop(form, None) or Passes(*self.parts)
        while len(self.passes) > MOST_FORMS:
            del self.passes[next(iter(self.passes))]
        return passes(images, labels)


class Passes:
    """The same for images and labels of one form."""

    def __init__(self, *parts):
        self.parts = parts
        self.graph, self.failed, self.seen, self.held = None, False, None, ()

    def __call__(self, images, labels):
        arrays, situation = self._situation()
        if self.failed or situation != self.seen or (self.graph and not self.graph.holds()):
            self.graph, self.seen, self.held = None, situation, arrays  # as long as they are held, no other arrays can have their ids
            return compute_gradients(*self.parts, images, labels)
        if self.graph is None:
            return self._capture(images, labels)
        return (self._repeat if self.certain else self._compare)(images, labels)

    def _situation(self):
        """(all arrays that the passes read or change, what a graph depends on)"""
        tensors, numbers = [], []
        for module in self.parts[0].modules():
            tensors += [tensor for tensor in (*module._parameters.values(), *module._buffers.values()) if tensor is not None]
            numbers.append({name: value for name, value in vars(module).items() if isinstance(value, COMPARED)})
        arrays = [tensor.array for tensor in tensors]
        return arrays, (list(map(id, arrays)), [tensor.requires_grad for tensor in tensors], numbers, initial_seed())

    def _capture(self, images, labels):
        """Both passes, of which a graph is made."""
        before, self.several = calls_so_far(), False
        self.parts[0].zero_grad()  # the new gradients need not find memory beside these

        def computed(*inputs):
            results = compute_gradients(*self.parts, *(Tensor(x, images.device) for x in inputs))
            self.several = isinstance(results, tuple)
            return [x.array for x in results] if self.several else [results.array]
        try:
            self.graph, results = images.device.graph(computed, images.array, labels.array)
        except Exception as error:  # whatever it is: the passes themselves have been through before
            self.failed = True
            warnings.warn(f"no graph, kernels are launched one by one: {type(error).__name__}: {error}", RuntimeWarning, stacklevel=3)
            skip_calls(before - calls_so_far())  # nothing was drawn
            return compute_gradients(*self.parts, images, labels)
        self.failed, self.certain = self.graph is None, self.graph is not None and self.graph.certain
        self.calls = before, calls_so_far() - before
        self.gradients = [(p, p.grad) for p in self.parts[0].parameters()]
        return self._tensors(results, images.device)

    def _repeat(self, images, labels):
        """Both passes by the graph."""
        first, each = self.calls
        results = self.graph(images.array, labels.array, later=calls_so_far() - first)
        skip_calls(each)
        for p, gradient in self.gradients:
            p.grad = gradient
        for buffer in self.parts[0].buffers():
            buffer.version[0] += 1
        return self._tensors(results, images.device)

    def _compare(self, images, labels):
        """Both passes, and the same again by the graph: if that comes to other numbers, it is not used. The memory of one is given back before the next."""
        from ..kernels.runtime import give_back_freed_memory  # brings Numba
        buffers, calls = [buffer.array for buffer in self.parts[0].buffers()], calls_so_far()
        before = [array.copy() for array in buffers]
        gradients = [gradient.array for _, gradient in self.gradients if gradient is not None]  # of the graph

        def repeat(images, labels):
            for array in gradients:
                array.fill(np.nan)  # what is not in the list leaves a gap
            return self._repeat(images, labels)

        def results_of(compute, *arguments):
            self.parts[0].zero_grad()
            give_back_freed_memory(*gradients)
            skip_calls(calls - calls_so_far())
            for array, value in zip(buffers, before):
                array[...] = value
            results = compute(*arguments)
            seen = [x.array for x in (results if self.several else [results])] + buffers + [p.grad.array for p in self.parts[0].parameters() if p.grad is not None]
            return results, [blake2b(np.ascontiguousarray(array)).digest() for array in seen]
        _, expected = results_of(compute_gradients, *self.parts, images, labels)
        try:
            if images.array.dtype.kind == "f":  # what modules keep for themselves has other numbers then: what the graph leaves out is missed
                results_of(compute_gradients, *self.parts, Tensor(1 - images.array, images.device), labels)
            results, seen = results_of(repeat, images, labels)
            differ = f"{sum(a != b for a, b in zip(seen, expected))} of {len(seen)} arrays (losses, statistics, gradients) are others"
        except Exception as error:  # such as one about shapes, where they depend on numbers
            seen, differ = None, f"{type(error).__name__}: {error}"
        self.certain = seen == expected
        if self.certain:
            return results
        warnings.warn(f"no graph, kernels are called one by one: when they were repeated, {differ}. Does the network or its loss compute in Python, "
                      "or with NumPy on a tensor's array?", RuntimeWarning, stacklevel=3)
        self.graph, self.failed = None, True
        return results_of(compute_gradients, *self.parts, images, labels)[0]

    def _tensors(self, arrays, device):
        tensors = tuple(Tensor(array, device) for array in arrays)
        return tensors if self.several else tensors[0]
