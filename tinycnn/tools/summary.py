"""What a network consists of: for each layer the shape of its output, parameters, multiply-adds, receptive field and the memory of its output."""
import json
from dataclasses import asdict, dataclass
from functools import partial

from ..autograd import no_grad
from ..nn import BatchNorm2d, Conv2d, Identity, ReLU
from ..tensor import Tensor, float32, zeros
from .arithmetic import Run, arithmetic, comparisons
from .shapes import only_shapes, owner


@dataclass(frozen=True)
class Layer:
    """One layer of a summary. Sizes are for one image."""

    name: str
    kind: str
    output_shape: tuple
    params: int
    macs: int
    receptive_field: tuple  # (height, width) of the part of the image that one element of the output depends on
    activation_bytes: int  # of the output; 0 where it lies in memory that was there before


class Summary:
    """layers, in the order in which they ran, and the totals `params`, `trainable`, `macs`, `activation_bytes`. Prints as a table."""

    def __init__(self, model, input_size, layers, macs, runs):
        parameters = list(model.parameters())
        self.kind, self.input_size, self.layers, self.macs = type(model).__name__, input_size, layers, macs
        self.params = sum(parameter.numel() for parameter in parameters)
        self.trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
        self.activation_bytes = sum(layer.activation_bytes for layer in layers)
        self.runs = runs  # what explain() needs

    def explain(self):
        """The arithmetic behind the table as text: each layer's formulas with the numbers put in, and comparisons; see tools/arithmetic.py."""
        shapes = {run.name: f"{type(run.layer).__name__}, {by(run.x_shape)} -> {by(run.y_shape)}" for run in self.runs}
        layers = [f"{name}: {shapes[name]}\n" + "\n".join(f"  {line}" for line in lines) for name, lines in arithmetic(self.runs)]
        compared = comparisons(self.runs)
        return "\n\n".join([*layers, *(["compared\n" + "\n".join(f"  {line}" for line in compared)] if compared else [])])

    def to_json(self, explain=False, **options):
        """JSON text; explain: with the lines of `explain`. Options are those of json.dumps."""
        totals = {"kind": self.kind, "input_size": self.input_size, "params": self.params, "trainable": self.trainable, "macs": self.macs,
                  "activation_bytes": self.activation_bytes}
        explained = {"arithmetic": [{"layer": name, "lines": lines} for name, lines in arithmetic(self.runs)], "comparisons": comparisons(self.runs)}
        return json.dumps({**totals, "layers": [asdict(layer) for layer in self.layers], **(explained if explain else {})}, **options)

    def _repr_html_(self):
        from ..pages import notebook
        return notebook.summary(self)

    def __repr__(self):
        rows = [("layer", "kind", "output", "parameters", "MACs", "sees", "memory")]
        rows += [(layer.name, layer.kind, by(layer.output_shape), count(layer.params), count(layer.macs), by(layer.receptive_field), bytes_(layer.activation_bytes))
                 for layer in self.layers]
        totals = ("total", self.kind, "", f"{self.params:,}", f"{self.macs:,}", "", bytes_(self.activation_bytes))
        widths = [max(map(len, column)) for column in zip(*rows, totals)]
        lines = ["  ".join(cell.ljust(width) if i < 2 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in [*rows, totals]]
        rule = "-" * max(map(len, lines))
        idle = self.params - sum(layer.params for layer in self.layers)
        notes = [f"{idle:,} of the parameters are in layers that do not run in this mode."] if idle else []
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], *notes])


def summary(model, input_size):
    """The Summary of `model` for one image of input_size (C, H, W). Nothing is computed but shapes, and nothing in the model changes.

    A model in training mode (as it is when just made) is shown with what runs only then, such as GoogLeNet's auxiliary classifiers; after model.eval() without.
    """
    input_size = tuple(input_size)
    if len(input_size) != 3:
        raise ValueError(f"summary: input_size is {input_size}; it must be (C, H, W), the size of one image")
    modes = [(module, module.training) for module in model.modules()]
    for module, _ in modes:
        if not list(module.children()):
            module.eval()  # layers themselves neither update statistics nor draw random numbers
    try:
        with no_grad(), only_shapes() as shapes:
            watch = Watch(model, shapes)
            try:
                model(zeros(1, *input_size, dtype=next((parameter.dtype for parameter in model.parameters()), float32)))
            finally:
                watch.stop()
    finally:
        for module, training in modes:
            module.training = training
    return Summary(model, input_size, watch.layers, shapes.macs, watch.runs)


class Watch:
    """Hooks on every module that turn its calls into Layers, except those of modules that only call others."""

    def __init__(self, model, shapes):
        self.shapes, self.layers, self.counted = shapes, [], set()  # counted: ids of parameters and of arrays
        self.open = []  # for each call under way: [multiply-adds when it began, those of its parts, the field of its input]
        self.runs, self.made_by = [], {}  # made_by: id of an array -> number of the run of the convolution behind it
        self.handles = []
        for name, module in model.named_modules():
            self.handles.append(module.register_forward_pre_hook(self.begin))
            self.handles.append(module.register_forward_hook(partial(self.end, name or "(itself)")))

    def stop(self):
        for handle in self.handles:
            handle.remove()

    def begin(self, module, inputs):
        for x in inputs:
            if not self.open and isinstance(x, Tensor):
                self.first(owner(x.array))  # the image is no activation
        x = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
        self.open.append([self.shapes.macs, 0, None if x is None else self.shapes.field(x.array)])

    def end(self, name, module, inputs, output):
        before, of_parts, x_field = self.open.pop()
        macs = self.shapes.macs - before
        if self.open:
            self.open[-1][1] += macs
        y = output if isinstance(output, Tensor) else output[0]
        field = self.shapes.field(y.array)
        params = sum(parameter.numel() for parameter in module.parameters(recurse=False) if self.first(parameter))
        new_bytes = y.numel() * y.element_size() if self.first(owner(y.array)) else 0
        is_layer = not list(module.children()) and not isinstance(module, Identity)
        if is_layer and x_field is not None:
            self.note(Run(name, module, inputs[0].shape[1:], y.shape[1:], x_field, field, self.made_by.get(id(owner(inputs[0].array)))), y)
        if is_layer or params or new_bytes or macs > of_parts:
            self.layers.append(Layer(name, type(module).__name__, y.shape[1:], params, macs - of_parts, field.size, new_bytes))

    def note(self, run, y):
        """Keep a run, and remember for its result which convolution is behind it: itself, or that of its input if the layer is elementwise."""
        self.runs.append(run)
        convolution = len(self.runs) - 1 if isinstance(run.layer, Conv2d) else run.source if isinstance(run.layer, (BatchNorm2d, ReLU)) else None
        self.made_by[id(owner(y.array))] = convolution

    def first(self, thing):
        """Whether a parameter or an array has not been counted before."""
        if id(thing) in self.counted:
            return False
        self.counted.add(id(thing))
        return True


def by(shape):
    """64 x 55 x 55"""
    return " x ".join(map(str, shape))


def count(number):
    """With commas; nothing for 0."""
    return f"{number:,}" if number else ""


def bytes_(number):
    """In the largest unit that leaves at least one."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.4g} {unit}" if number else ""
        number /= 1024
    return f"{number:.4g} GiB"
