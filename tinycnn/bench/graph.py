"""A network as a list of operations, in the order in which they run.

Rivals cannot run our modules, and a benchmark in which each library runs its own idea of ResNet-50 compares ideas of ResNet-50. So the network is run once, on
shapes alone, and every operation that passes is noted, with the names of its weights: a Graph. From it each rival builds its form of the same network, on the
same weights (rivals/pytorch.py is an interpreter of it, rivals/onnx_model.py and rivals/ncnn_model.py write it to files).

Shapes are those of one image: the batch is left out.
"""
from contextlib import contextmanager
from typing import NamedTuple

from ..autograd import Function, no_grad
from ..tensor import zeros
from ..tools.shapes import only_shapes
from .layers import product

TRACED_BATCH = 2  # BatchNorm cannot train on one value


class Node(NamedTuple):
    """One operation."""

    name: str  # of its result
    op: str  # one of those in OPERATIONS
    inputs: tuple  # names of results
    options: dict
    weights: dict  # {"weight": name of an array in Graph.values, ...}, without those that it does without
    shape: tuple  # of the result for one image


class Graph:
    """nodes; values: {name: array} of all weights and statistics; outputs: names of results (the first: the scores; then those of auxiliary classifiers)."""

    def __init__(self, input_shape, nodes, values, outputs):
        self.input_shape, self.nodes, self.values, self.outputs = tuple(input_shape), nodes, values, outputs
        self.shapes = {"image": self.input_shape, **{node.name: node.shape for node in nodes}}

    def shape(self, name):
        """(C, H, W) or (features,) of a result; the input is called "image"."""
        return self.shapes[name]

    def macs(self, node):
        """Multiply-adds of a node, for one image."""
        if node.op not in ("conv", "linear"):
            return 0
        return product(node.shape) * product(self.values[node.weights["weight"]].shape[1:])

    def flops(self, batch, training=False):
        """Of convolutions and linear layers. Training: forward, both gradients; but nobody needs the gradient of the images."""
        total = 0
        for node in self.nodes:
            passes = 1 if not training else 2 if node.inputs == ("image",) else 3
            total += 2 * batch * passes * self.macs(node)
        return total

    def bytes(self, node, batch):
        """Of its inputs, weights and result in float32, each once; nothing for what can be done on the way (ReLU, BatchNorm, additions, views)."""
        if node.op in ON_THE_WAY:
            return 0
        numbers = product(node.shape) + sum(product(self.shapes[name]) for name in node.inputs)
        return 4 * (batch * numbers + sum(self.values[name].size for name in node.weights.values()))

    def least_seconds(self, batch, peak, training=False):
        """The roofline of the network: each node bound by arithmetic or by memory, one after the other; in training three times, as above."""
        from .machine import attainable
        total = 0.0
        for node in self.nodes:
            passes = 1 if not training else 2 if node.inputs == ("image",) else 3
            total += passes * attainable(2 * batch * self.macs(node), self.bytes(node, batch), peak)[0]
        return total

    def moved(self, batch, training=False):
        """Bytes in all, by the same count."""
        return sum((1 if not training else 2 if node.inputs == ("image",) else 3) * self.bytes(node, batch) for node in self.nodes)


ON_THE_WAY = ("relu", "batch_norm", "dropout", "add", "cat", "flatten")


def one_convolution(layer, w, bias):
    """The Graph of a single convolution: a layers.Layer with these weights."""
    values = {"w": w} | ({} if bias is None else {"bias": bias})
    weights = {"weight": "w"} | ({} if bias is None else {"bias": "bias"})
    return Graph(layer.x_shape[1:], [Node("y", "conv", ("image",), layer.geometry._asdict(), weights, layer.y_shape[1:])], values, ["y"])


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
        raise ValueError("average pools with a divisor of their own are not known to other libraries")
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


def dropout(x, p, seed, call):
    return "dropout", (x,), {"p": p}, {}


def add(a, b):
    return "add", (a, b), {}, {}


def cat(dim, *tensors):
    if dim != 1:
        raise ValueError(f"only channels are put together (dim 1), not dim {dim}")
    return "cat", tensors, {}, {}


def reshape(x, shape):
    if tuple(shape) != (x.shape[0], product(x.shape[1:])):
        raise ValueError(f"a reshape from {x.shape} to {tuple(shape)} is no flattening")
    return "flatten", (x,), {}, {}


OPERATIONS = {"Conv2d": conv, "Linear": linear, "ReLU": relu, "MaxPool2d": max_pool, "AvgPool2d": avg_pool, "AdaptiveAvgPool2d": adaptive_avg_pool,
              "LocalResponseNorm": lrn, "BatchNorm": batch_norm, "BatchNormInference": batch_norm, "Dropout": dropout, "Add": add, "Cat": cat, "Reshape": reshape}


# ---- the trace

@contextmanager
def listening(note):
    """Within this block note(class, arguments, result) is called after every operation of the engine."""
    apply = Function.__dict__["apply"]

    def apply_and_note(cls, *arguments):
        result = apply.__func__(cls, *arguments)
        note(cls, arguments, result)
        return result
    Function.apply = classmethod(apply_and_note)
    try:
        yield
    finally:
        Function.apply = apply


def trace(model, x_shape):
    """The Graph of a module in its present mode (train or eval), for images of x_shape (N, C, H, W)."""
    made = {}  # id of a tensor -> (the tensor, kept so that the id stays its own; the number of the call that made it, last)
    calls = []

    def note(cls, arguments, result):
        origins = {id(argument): made[id(argument)][1] for argument in arguments if id(argument) in made}
        results = result if isinstance(result, tuple) else (result,)
        calls.append(Call(cls.__name__, arguments, origins, results[0].shape[1:]))
        for tensor in results:
            made[id(tensor)] = tensor, len(calls) - 1

    image = zeros(TRACED_BATCH, *x_shape[1:])
    made[id(image)] = image, IMAGE
    with no_grad(), only_shapes(), listening(note):  # which leaves running statistics as they are
        results = model(image)
    results = results if isinstance(results, tuple) else (results,)
    return assemble(model, calls, [made[id(result)][1] for result in results], x_shape[1:])


IMAGE = -1  # the "call" that made the input


class Call(NamedTuple):
    """What was noted of one operation."""

    kind: str
    arguments: tuple
    origins: dict  # id of an argument -> number of the call that made it
    shape: tuple


def assemble(model, calls, ends, input_shape):
    """The Graph of those calls that lead to the calls numbered `ends`."""
    tensors = dict([*model.named_parameters(), *model.named_buffers()])
    name_of = {id(tensor): name for name, tensor in tensors.items()}
    names, nodes = {IMAGE: "image"}, []
    for number in sorted(leading_to(ends, calls)):
        kind, arguments, origins, shape = calls[number]
        if kind not in OPERATIONS:
            raise ValueError(f"{type(model).__name__}: the operation {kind} has no form in other libraries (there are {', '.join(OPERATIONS)})")
        op, inputs, options, weights = OPERATIONS[kind](*arguments)
        inputs = tuple(names[origins[id(x)]] for x in inputs)
        if op == "nothing":
            names[number] = inputs[0]
            continue
        names[number] = f"t{number}"
        weights = {part: name_of[id(tensor)] for part, tensor in weights.items() if tensor is not None}
        nodes.append(Node(names[number], op, inputs, options, weights, shape))
    used = {name for node in nodes for name in node.weights.values()}
    return Graph(input_shape, nodes, {name: tensors[name].array for name in tensors if name in used}, [names[number] for number in ends])


def leading_to(ends, calls):
    """The numbers of the calls on whose results the calls numbered `ends` depend, and these themselves."""
    needed, waiting = set(), list(ends)
    while waiting:
        number = waiting.pop()
        if number != IMAGE and number not in needed:
            needed.add(number)
            waiting += calls[number].origins.values()
    return needed
