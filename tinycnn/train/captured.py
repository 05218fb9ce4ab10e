"""A step of training as one launch: what a network, its loss and SGD launch is captured as a CUDA graph (kernels/cuda/graph.py), and repeated for other images.

    step = CapturedStep(model, loss_function, optimizer)
    for images, labels in batches:
        loss = step(images, labels)

Kernel by kernel a step of ResNet-50 is 771 launches, each prepared in Python, which takes longer than the device computes: of batch 16 on an H200 54 ms, and 18.8 as a
graph. A graph repeats the launches as they were, with the addresses and the numbers of then. So it may be used as long as nothing on the host has changed: the shape of
the images, the arrays of weights, statistics and momentum, the optimiser's options, the numbers in the modules (training, a dropout's p). All that is compared in each
call. A call that finds anything changed runs kernel by kernel; the next one, if all is as it was in this one, captures, and those after it repeat. A learning rate that
changes after an epoch therefore costs one slow step and a capture, and one that changes in every step leaves all as slow as before.

What a step changes is on the device, all but two things. Dropout counts its calls on the host: a graph is told how many there were since. And Adam and RMSprop
count steps, from which Adam corrects its means: numbers that differ in every step, so for them there is no captured step.
Python code runs in the slow calls and while capturing only: hooks, prints, and branches on anything but what is compared, are repeated as they were then.
"""
import warnings

from ..optim import SGD
from ..random import calls_so_far, initial_seed, skip_calls
from ..tensor import Tensor

COMPARED = (bool, int, float, str, type(None))  # attributes of modules


def take_step(model, loss_function, optimizer, images, labels):
    """A step, kernel by kernel. Returns the loss."""
    optimizer.zero_grad()
    loss = loss_function(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.detach()


class CapturedStep:
    """What `take_step` does, and gives, bit for bit. loss_function: (the model's output, labels) -> loss.

    On devices without launches, and where capturing fails (after a warning that says why), it is take_step itself. Gradients (`.grad`) are in memory that the next
    call overwrites; clone what is to be kept. While it captures no other thread may wait for the whole device.
    """

    def __init__(self, model, loss_function, optimizer):
        if not isinstance(optimizer, SGD):
            raise TypeError(f"CapturedStep: the optimizer is {type(optimizer).__name__}, which counts its steps on the host; only SGD's can be repeated")
        self.parts = model, loss_function, optimizer
        self.graph, self.failed, self.seen, self.held = None, False, None, ()

    def __call__(self, images, labels):
        arrays, situation = self._situation(images, labels)
        if self.failed or situation != self.seen:
            self.graph, self.seen, self.held = None, situation, arrays  # as long as they are held, no other arrays can have their ids
            return take_step(*self.parts, images, labels)
        if self.graph is None:
            self._capture(images, labels)
        return take_step(*self.parts, images, labels) if self.graph is None else self._repeat(images, labels)

    def _situation(self, *inputs):
        """(all arrays that a step reads or changes, what a graph depends on)"""
        model, _, optimizer = self.parts
        tensors, numbers = [], []
        for module in model.modules():
            tensors += [tensor for tensor in (*module._parameters.values(), *module._buffers.values()) if tensor is not None]
            numbers.append({name: value for name, value in vars(module).items() if isinstance(value, COMPARED)})
        for group in optimizer.param_groups:
            tensors += group["params"]
            tensors += [tensor for p in group["params"] for tensor in optimizer.state.get(p, {}).values()]
            numbers.append({option: value for option, value in group.items() if option != "params"})
        arrays = [tensor.array for tensor in tensors]
        return arrays, (list(map(id, arrays)), [tensor.requires_grad for tensor in tensors], numbers, initial_seed(),
                        [(x.device, x.shape, x.dtype, x.array.strides) for x in inputs])

    def _capture(self, images, labels):
        optimizer, before = self.parts[2], calls_so_far()

        def launches(*inputs):
            return [take_step(*self.parts, *(Tensor(x, images.device) for x in inputs)).array]
        try:
            self.graph = images.device.graph(launches, images.array, labels.array)
        except Exception as error:  # whatever it is: the step itself has been taken before
            self.failed = True
            warnings.warn(f"no CUDA graph, kernels are launched one by one: {type(error).__name__}: {error}", RuntimeWarning, stacklevel=3)
        self.calls = before, calls_so_far() - before
        skip_calls(-self.calls[1])  # nothing was drawn
        self.gradients = [(p, p.grad) for group in optimizer.param_groups for p in group["params"]]

    def _repeat(self, images, labels):
        first, each = self.calls
        loss, = self.graph(images.array, labels.array, later=calls_so_far() - first)
        skip_calls(each)
        for p, gradient in self.gradients:
            p.grad = gradient
            p.version[0] += 1
        for buffer in self.parts[0].buffers():
            buffer.version[0] += 1
        return Tensor(loss, images.device)
