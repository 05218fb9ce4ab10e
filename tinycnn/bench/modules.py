"""An operation of a Graph as a module: of torch.nn, or of tinycnn.nn, whose names and arguments are the same."""
import math


def pooling(node):
    """The arguments that both kinds of pools share."""
    options = node.options
    return {"kernel_size": options["size"], "stride": options["stride"], "padding": options["padding"], "ceil_mode": options["ceil_mode"]}


def convolution(nn, node, values):
    K, C, R, S = values["weight"].shape
    return nn.Conv2d(C * node.options["groups"], K, (R, S), bias="bias" in values, **node.options)


MODULES = {
    "conv": convolution,
    "linear": lambda nn, node, values: nn.Linear(*values["weight"].shape[::-1], bias="bias" in values),
    "relu": lambda nn, node, values: nn.ReLU(inplace=True),
    "max_pool": lambda nn, node, values: nn.MaxPool2d(dilation=node.options["dilation"], **pooling(node)),
    "avg_pool": lambda nn, node, values: nn.AvgPool2d(count_include_pad=node.options["count_include_pad"], **pooling(node)),
    "adaptive_avg_pool": lambda nn, node, values: nn.AdaptiveAvgPool2d(node.options["output_size"]),
    # both divide alpha by the size of the window
    "lrn": lambda nn, node, values: nn.LocalResponseNorm(node.options["size"], node.options["alpha"] * node.options["size"], node.options["beta"], node.options["k"]),
    "batch_norm": lambda nn, node, values: nn.BatchNorm2d(node.shape[0], eps=node.options["eps"]),
    "dropout": lambda nn, node, values: nn.Dropout(node.options["p"]),
    "flatten": lambda nn, node, values: nn.Flatten(),
}
NAMES = {"mean": "running_mean", "var": "running_var"}


def module_of(nn, node, values):
    """A module of the library `nn` (torch.nn or tinycnn.nn) that does what the node says; its weights are not yet `values`, {"weight": array, ...}."""
    return MODULES[node.op](nn, node, values)


def signature(graph, node):
    """What makes two nodes the same layer."""
    return (node.op, tuple(node.options.items()), tuple(graph.shape(name) for name in node.inputs),
            tuple((part, graph.values[name].shape) for part, name in node.weights.items()))


def describe(graph, node):
    """The layer in a few words."""
    shape = "x".join(map(str, graph.shape(node.inputs[0])))
    if node.op == "conv":
        K, _, R, S = graph.values[node.weights["weight"]].shape
        text = f"conv {R}x{S} {shape} -> {K}"
    elif node.op == "linear":
        text = f"linear {shape} -> {node.shape[0]}"
    elif node.op.endswith("pool") and "size" in node.options:
        text = f"{node.op} {'x'.join(map(str, node.options['size']))} {shape}"
    else:
        text = f"{node.op} {shape}"
    stride = node.options.get("stride", (1, 1))
    return text + (f" stride {stride[0] if stride[0] == stride[1] else stride}" if math.prod(stride) > 1 else "")
