"""A network as a list of operations, in the order in which they run.

A module is Python code; what is done to its network as a whole (fusing it for inference, writing it in another library's form) wants a list. So the module is run
once, on shapes alone (trace.py), and its calls are translated: a Graph of Nodes, each with a plain name for what it does, and the names of its weights.

What depends on weights alone (filters that are put together from parameters) is computed once, and is a weight from then on.
"""
import math
from typing import Any, NamedTuple

import numpy as np

from ..autograd import no_grad
from ..tensor import Tensor, zeros
from .trace import IMAGE, Untraceable, describe, leading_to, record

IMAGE_NAME = "image"
AS_IT_IS = "as it is"


class Node(NamedTuple):
    """One operation."""

    name: str  # of its result
    op: str  # one of those in OPERATIONS, or AS_IT_IS
    inputs: tuple  # names of results
    options: dict
    weights: dict  # {"weight": name of an array in Graph.values, ...}, without those that it does without
    shape: tuple  # of the result for one image
    dtype: Any = np.dtype(np.float32)
    layer: str = ""  # the path of the module that did it
    whole: tuple = ()  # the shape of the result in the trace, with its batch


class Graph:
    """nodes; values: {name: array} of all weights and statistics; outputs: names of results (the first: the scores; then those of auxiliary classifiers).

    structure: the type of tuple that the module gives, None if it gives a single tensor.
    """

    def __init__(self, input_shape, nodes, values, outputs, structure=None):
        self.input_shape, self.nodes, self.values, self.outputs, self.structure = tuple(input_shape), nodes, values, outputs, structure
        self.shapes = {IMAGE_NAME: self.input_shape, **{node.name: node.shape for node in nodes}}

    def shape(self, name):
        """(C, H, W) or (features,) of a result; the input is called "image"."""
        return self.shapes[name]


# ---- what an operation is called, what it takes, how it is done: from the arguments of its Function.apply

def conv(x, w, bias, geometry):
    return "conv", (x,), geometry._asdict(), {"weight": w, "bias": bias}


def linear(x, w, bias):
    return "linear", (x,), {}, {"weight": w, "bias": bias}


def relu(x, inplace):
    return "relu", (x,), {}, {}


def max_pool(x, window):
    return "max_pool", (x,), window._asdict(), {}


def avg_pool(x, window, count_include_pad, divisor):
    if divisor is not None:
        raise Untraceable("average pools with a divisor of their own have no translation")
    return "avg_pool", (x,), {**window._asdict(), "count_include_pad": count_include_pad}, {}


def adaptive_avg_pool(x, output_size):
    """Mostly it is an ordinary pool, or none."""
    H, W = x.shape[2:]
    if (H, W) == tuple(output_size):
        return "nothing", (x,), {}, {}
    if H % output_size[0] or W % output_size[1]:
        return "adaptive_avg_pool", (x,), {"output_size": tuple(output_size)}, {}
    size = (H // output_size[0], W // output_size[1])
    return "avg_pool", (x,), {"size": size, "stride": size, "padding": (0, 0), "dilation": (1, 1), "ceil_mode": False, "count_include_pad": True}, {}


def lrn(x, size, alpha, beta, k):
    return "lrn", (x,), {"size": size, "alpha": alpha, "beta": beta, "k": k}, {}  # y = x / (k + alpha * sum)^beta: alpha as in AlexNet's paper


def batch_norm(x, weight, bias, *rest):
    *statistics, eps = rest
    weights = {"weight": weight, "bias": bias}
    return "batch_norm", (x,), {"eps": eps}, weights | (dict(zip(("mean", "var"), statistics)) if statistics else {})


def dropout(x, p, seed, call, part):
    return "dropout", (x,), {"p": p}, {}


def add(a, b):
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)) or a.shape != b.shape:
        raise Untraceable("only results of one shape are added, not a number or a smaller tensor")
    return "add", (a, b), {}, {}


def cat(dim, *tensors):
    if dim != 1:
        raise Untraceable(f"only channels are put together (dim 1), not dim {dim}")
    return "cat", tensors, {}, {}


def assign(x, value):
    """x <- value, in place: from here on x is that value."""
    return "nothing", (value,), {}, {}


def reshape(x, shape):
    if tuple(shape) != (x.shape[0], math.prod(x.shape[1:])):
        raise Untraceable(f"a reshape from {x.shape} to {tuple(shape)} is no flattening")
    return "flatten", (x,), {}, {}


OPERATIONS = {"Conv2d": conv, "Linear": linear, "ReLU": relu, "MaxPool2d": max_pool, "AvgPool2d": avg_pool, "AdaptiveAvgPool2d": adaptive_avg_pool,
              "LocalResponseNorm": lrn, "BatchNorm": batch_norm, "BatchNormInference": batch_norm, "Dropout": dropout, "Add": add, "Cat": cat, "Reshape": reshape,
              "Assign": assign}


# ---- the translation

def trace(model, x_shape, dtype=np.float32, as_it_is=()):
    """The Graph of a module in its present mode (train or eval), for images of x_shape (N, C, H, W).

    as_it_is: names of Functions that become nodes as they are where OPERATIONS has no word for them: their options say how to call them again (arguments: those of
    `apply`, with None at the positions `results`, where the inputs go).
    """
    image = zeros(x_shape, dtype=dtype)
    recording = record(model, image)
    return Translator(model, recording, as_it_is).graph(image.shape[1:])


class Translator:
    def __init__(self, model, recording, as_it_is):
        self.model, self.recording, self.as_it_is = model, recording, as_it_is
        self.names, self.nodes, self.values = {IMAGE: IMAGE_NAME}, [], {}
        self.constants = {}  # number of a call -> the tensor that it makes of weights
        self.name_of = {id(tensor.array): name for name, tensor in [*model.named_parameters(), *model.named_buffers()]}

    def graph(self, input_shape):
        """Of those calls that lead to the results."""
        calls, ends = self.recording.calls, self.recording.ends
        for number in sorted(leading_to([end.call for end in ends], calls)):
            if calls[number].depends:
                self.translate(number, calls[number])
            elif self.model.training:
                raise self.unknown(calls[number], "what is computed from weights alone is a constant only once they are trained: call eval()")
            else:
                self.constants[number] = self.again(calls[number])
        return Graph(input_shape, self.nodes, self.values, [self.result(end, self.model) for end in ends], self.recording.structure)

    def translate(self, number, call):
        """One more Node."""
        tensors = {id(argument): call.origins.get(i) for i, argument in enumerate(call.arguments) if isinstance(argument, Tensor)}
        op, inputs, options, weights = self.described(call, tensors)
        inputs = tuple(self.result(tensors[id(x)], call) for x in inputs)
        if op == "nothing":
            self.names[number] = inputs[0]
            return
        self.names[number] = f"t{number}"
        weights = {part: self.value(tensor, tensors[id(tensor)]) for part, tensor in weights.items() if tensor is not None}
        self.nodes.append(Node(self.names[number], op, inputs, options, weights, call.shape[1:], call.dtype, call.layer, call.shape))

    def described(self, call, tensors):
        """(op, inputs, options, weights), the last two of tensors."""
        kind = call.function.__name__
        why = f"the operation {kind} has no translation (there are {', '.join({**OPERATIONS, **dict.fromkeys(self.as_it_is)})})"
        try:
            if kind in OPERATIONS and call.function.is_ours:
                described = OPERATIONS[kind](*call.arguments)
                if all(self.is_result(tensors[id(x)]) for x in described[1]):
                    return described
                why = f"the operation {kind} has no translation where it takes weights"
        except Untraceable as error:
            why = str(error)
        if kind not in self.as_it_is or not call.function.is_ours:
            raise self.unknown(call, why)
        results = [i for i, x in enumerate(call.arguments) if isinstance(x, Tensor) and self.is_result(tensors[id(x)])]
        arguments = [self.constants[call.origins[i].call] if i in call.origins and i not in results else x for i, x in enumerate(call.arguments)]
        for i in results:
            arguments[i] = None  # or all results of the trace would live on
        return AS_IT_IS, tuple(call.arguments[i] for i in results), {"function": call.function, "arguments": arguments, "results": results}, {}

    def is_result(self, origin):
        return origin is not None and origin.depends

    def result(self, origin, call):
        """The name of a result that is used."""
        if origin.stale:
            raise self.unknown(call, "a result was changed in place through another view of its memory")
        if origin.output:
            raise self.unknown(call, f"only the first result of {self.recording.calls[origin.call].function.__name__} can be used")
        if origin.call not in self.names:
            raise self.unknown(call, "the result does not depend on the images")
        return self.names[origin.call]

    def value(self, tensor, origin):
        """The name of a weight."""
        if self.is_result(origin):
            raise Untraceable(f"{type(self.model).__name__}: weights that are computed from the images")
        array = (self.constants[origin.call] if origin is not None else tensor).array
        name = self.name_of.setdefault(id(array), f"constant{len(self.values)}")
        self.values[name] = array
        return name

    def again(self, call):
        """What a call makes of weights, this time with numbers."""
        arguments = [self.constants[call.origins[i].call] if i in call.origins else argument for i, argument in enumerate(call.arguments)]
        with no_grad():
            result = call.function.apply(*arguments)
        return result[0] if isinstance(result, tuple) else result

    def unknown(self, call, why):
        """The error."""
        layer = getattr(call, "layer", "")
        where = f" in {describe(layer, self.model.get_submodule(layer))}" if layer else ""
        return Untraceable(f"{type(self.model).__name__}: {why}{where}")
