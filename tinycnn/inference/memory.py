"""Where results lie, decided before anything runs.

A step reads results of earlier steps; after its last reader a result is dead, and its memory serves for another. The results of convolutions, by far the most of the
memory, are written to buffers that are planned here: a buffer for each result that lives at the time, and a dead one is used again before a new one is made. (Other
kernels bring memory of their own.) Five kinds of results share memory with another one:

    a flattened one             is a view
    of joined convolutions      all write side by side
    of a concatenation          a convolution whose result is only put beside others writes it to its place among their channels
    of an operation in place    ReLU, an addition: where what it overwrites is dead afterwards
    of a convolution that adds  it is written over what was added, which is dead afterwards: those lines are in the cache already
"""
from .rewrite import readers

IN_PLACE = ("relu", "add")


class Places:
    """For each result whose memory it is in, and when that is free again. planned: that there are buffers at all; else each result brings memory of its own."""

    def __init__(self, steps, outputs, planned=True):
        self.steps, self.outputs, self.planned = steps, outputs, planned
        self.last = {name: i for i, step in enumerate(steps) for name in step.inputs} | dict.fromkeys(outputs, len(steps))  # the last reader of each
        self.root = {"image": "image"}  # name -> name of the result whose memory it is in
        self.members = {"image": ["image"]}  # the other way round
        self.slices = {}  # name of a convolution's result -> (name of the concatenation, its first channel there)
        self.overwritten = {}  # name of a result made in place -> position of the input that it overwrites
        self._share()
        if planned:
            self._concatenate()

    def alive(self, root):
        """The last step that reads any of the results in this memory."""
        return max(self.last.get(name, 0) for name in self.members[root])

    def _share(self):
        made = {step.name: step for step in self.steps}
        for i, step in enumerate(self.steps):
            root = step.name
            if step.op == "flatten":
                root = self.root[step.inputs[0]]
            elif step.op in IN_PLACE:
                dying = [name for name in step.inputs if self.root[name] != "image" and self.alive(self.root[name]) == i]
                if dying:
                    self.overwritten[step.name] = step.inputs.index(dying[0])
                    root = self.root[dying[0]]
            elif step.added and self.planned:
                image, added = (self.root[name] for name in step.inputs)
                if added != image and self.alive(added) == i and added in made and made[added].op == "conv" and made[added].shape == step.shape:
                    self.overwritten[step.name] = 1
                    root = added
            for name in [step.name, *(name for name, _, _ in step.parts)]:
                self.root[name] = root
                self.members.setdefault(root, []).append(name)

    def _concatenate(self):
        counts = readers(self.steps, self.outputs)
        made = {step.name: step for step in self.steps}
        for step in self.steps:
            if step.op == "cat" and len(step.shape) == 4 and self.alive(step.name) < len(self.steps):
                channel = 0
                for name, shape in zip(step.inputs, step.input_shapes):
                    if name in made and made[name].op == "conv" and counts[name] == 1 and name not in self.overwritten:
                        self.slices[name] = step.name, channel
                    channel += shape[1]

    def buffers(self):
        """[(name, step at which it begins, last step that needs it, bytes)] of all memory to be planned, in the order of their beginnings."""
        begins = {}
        for i, step in enumerate(self.steps):
            if step.op == "conv" and self.planned and step.name not in self.overwritten:
                name = self.slices[step.name][0] if step.name in self.slices else step.name
                if self.alive(name) < len(self.steps):  # results of the network get new memory each time
                    begins.setdefault(name, i)
        made = {step.name: step for step in self.steps}
        return [(name, i, self.alive(name), size(made[name])) for name, i in begins.items()]


def size(step):
    """Bytes of a step's result."""
    total = step.dtype.itemsize
    for extent in step.shape:
        total *= extent
    return total


def assign(buffers):
    """({name: number of its slot}, [bytes of each slot]) for buffers as above, none of which shares a slot while both live."""
    slots, free, taken, of = [], [], [], {}
    for name, begin, end, wanted in buffers:
        for other in [entry for entry in taken if entry[0] < begin]:  # whose last reader has run
            taken.remove(other)
            free.append(other[1])
        enough = [slot for slot in free if slots[slot] >= wanted]
        if enough:
            slot = min(enough, key=slots.__getitem__)
        elif free:
            slot = max(free, key=slots.__getitem__)
            slots[slot] = wanted
        else:
            slot = len(slots)
            slots.append(wanted)
        if slot in free:
            free.remove(slot)
        of[name] = slot
        taken.append((end, slot))
    return of, slots
