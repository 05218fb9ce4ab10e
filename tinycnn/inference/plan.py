"""A network for images of one shape, worked out as far as it can be: a list of functions, each with its arguments.

Results in planned buffers are in the argument lists from the beginning. Those that come in memory of their own (and the image) are put there when they exist, and
taken out again by their reader, so that memory is free as early as it can be.
"""
from functools import partial

import numpy as np

from ..kernels.layout import from_nhwc
from ..tools.graph import trace
from .captured import Captured
from .describe import line
from .memory import Places, assign
from .rewrite import rewritten
from .steps import AS_THEY_ARE, FUNCTIONS

ALIGNMENT = 64  # bytes in a cache line


class Plan:
    """steps: what is run. buffers: bytes that the results of convolutions take together. scores: how the results are given: a tensor, or a tuple of some type."""

    def __init__(self, model, x_shape, dtype, device):
        graph = trace(model, x_shape, dtype, AS_THEY_ARE)
        own_pool = hasattr(device.xp, "get_default_memory_pool")  # an array module that has freed memory at hand needs no buffers planned
        self.steps = rewritten(graph, x_shape, not own_pool, getattr(device.kernels.conv, "pools", None))
        self.outputs, self.structure = graph.outputs, graph.structure
        for step in self.steps:
            step.weights = {part: device.xp.asarray(array) for part, array in step.weights.items()}
        places = Places(self.steps, self.outputs, not own_pool)
        arrays, self.buffers = allocate(self.steps, places)
        self.x_shape, self.dtype = tuple(x_shape), np.dtype(dtype)
        self._bind(places, arrays, device)

    def _bind(self, places, arrays, device):
        """The functions, and whose result is whose argument."""
        arguments = {}  # name of a result -> [(list of arguments, position)] of those who read it
        self._run = []
        for step in self.steps:
            step.overwrites = places.overwritten.get(step.name)
            step.in_place = [k for k, name in enumerate(step.inputs) if places.slices.get(name, ("",))[0] == step.name]
            step.place = places.slices.get(step.name)
            given = [arrays.get(name) for name in step.inputs]
            function = FUNCTIONS[step.op](step, device, arrays.get(step.name), given)
            brought = [k for k, array in enumerate(given) if array is None]
            for k in brought:
                arguments.setdefault(step.inputs[k], []).append((given, k))
            if step.op != "cat" or len(step.in_place) < len(step.inputs):
                self._run.append((function, given, step.name, brought))
            step.weights = step.options = None  # the function has what it needs
        kept = set(self.outputs)
        self._run = [(function, given, [] if name in arrays else arguments.get(name, []), brought, name if name in kept else None)
                     for function, given, name, brought in self._run]
        self._results = Captured(partial(one_by_one, self._run, arguments.get("image", []), self.outputs, device.kernels.elementwise.copy), device)

    def __call__(self, image):
        """[the results] for an image batch, an array of the planned shape and dtype."""
        return self._results(image)

    def __repr__(self):
        head = f"{'x'.join(map(str, self.x_shape))} {self.dtype}: {len(self._run)} steps, {self.buffers / 2**20:.1f} MiB of buffers"
        return "\n".join([head, *(f"  {line(step)}" for step in self.steps)])


def one_by_one(steps, readers_of_image, outputs, copy, image):
    """The results, when all steps have run."""
    for arguments, position in readers_of_image:
        arguments[position] = image
    results = {}
    for function, arguments, readers, brought, name in steps:
        y = function(*arguments)
        for position in brought:
            arguments[position] = None
        for other, position in readers:
            other[position] = y
        if name is not None:
            results[name] = y
    return [copy(image) if name == "image" else results[name] for name in outputs]


def allocate(steps, places):
    """({name: its array}, bytes in all) of the results that lie in planned buffers."""
    buffers = places.buffers()
    slot_of, sizes = assign(buffers)
    slots = [aligned(size) for size in sizes]
    made, arrays = {step.name: step for step in steps}, {}
    for name, _, _, size in buffers:
        slot = slots[slot_of[name]]
        start = (slot.size - size) // 2 // ALIGNMENT * ALIGNMENT  # in the middle, where the halves of what was there before meet, too: cores keep theirs
        arrays[name] = channels_last(slot[start:start + size], made[name])
    for name, (whole, channel) in places.slices.items():
        arrays[name] = arrays[whole][:, channel:channel + made[name].shape[1]]
    for step in steps:
        for name, channel, end in step.parts:
            arrays[name] = arrays[step.name][:, channel:end]
        if step.name in places.overwritten and step.inputs[places.overwritten[step.name]] in arrays:
            arrays[step.name] = arrays[step.inputs[places.overwritten[step.name]]]
    return arrays, sum(sizes)


def aligned(size):
    """Memory that begins on a cache line."""
    memory = np.empty(size + ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % ALIGNMENT
    return memory[first:first + size]


def channels_last(memory, step):
    """Memory as the result (N, K, P, Q) of a step."""
    N, K, P, Q = step.shape
    return from_nhwc(memory.view(step.dtype).reshape(N, P, Q, K))
