"""A Graph in ncnn's own format: a text that lists layers, and their weights one after the other.

What ncnn's optimiser would do is done here: BatchNorm is folded into the convolution before it, and a ReLU becomes that layer's activation. In ncnn's text

    Convolution  conv1  1 1  image conv1  0=64 1=7 ...        kind, name, number of inputs and of outputs, their names, then key=value

a result that several layers read must pass through a Split that gives each its own name.
"""
import numpy as np

from .base import Unsupported


def ncnn_model(graph):
    """(text, bytes) of the files .param and .bin. The input is called "image", the output "scores"."""
    layers = fuse(graph)
    lines, weights = [("Input", "image", (), ("image",), {})], []
    for layer in layers:
        lines.append((layer.kind, layer.name, layer.inputs, (layer.name,), layer.keys))
        weights += [b"\0\0\0\0"] if layer.weighted else []  # which says that plain float32 follow
        weights += [np.ascontiguousarray(array, np.float32).tobytes() for array in layer.arrays]
    lines.append(("Noop", "end", (layers[-1].name,), ("scores",), {}))
    lines = split(lines)
    blobs = sum(len(outputs) for _, _, _, outputs, _ in lines)
    text = [f"{kind} {name} {len(inputs)} {len(outputs)} {' '.join((*inputs, *outputs, *(f'{key}={value}' for key, value in keys.items())))}"
            for kind, name, inputs, outputs, keys in lines]
    return "\n".join(["7767517", f"{len(lines)} {blobs}", *text]) + "\n", b"".join(weights)


class Layer:
    """A line of the text, still changeable."""

    def __init__(self, kind, name, inputs, keys, arrays=()):
        self.kind, self.name, self.inputs, self.keys, self.arrays = kind, name, inputs, keys, list(arrays)

    @property
    def weighted(self):
        return self.kind in ("Convolution", "ConvolutionDepthWise", "InnerProduct")


def fuse(graph):
    """[Layer] of the nodes, with BatchNorms and ReLUs in the convolution or linear layer before them, where nobody else reads what that gives."""
    readers = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers[name] = readers.get(name, 0) + 1
    layers, made_by = [], {}  # made_by: name of a result -> its Layer
    for node in graph.nodes:
        before = made_by.get(node.inputs[0])
        into = before is not None and before.weighted and 9 not in before.keys and readers[node.inputs[0]] == 1  # 9: there is an activation already
        if node.op == "batch_norm" and into and before.kind != "InnerProduct":
            fold(before, node, graph.values)
        elif node.op == "relu" and into:
            before.keys[9] = 1
        else:
            before = layer_of(node, tuple(made_by[name].name if name in made_by else name for name in node.inputs), graph)
            layers.append(before)
        made_by[node.name] = before
    return layers


def fold(layer, node, values):
    """y = scale * conv(x) + shift is a convolution with other weights and bias."""
    weight, bias, mean, var = (values[node.weights[part]].astype(np.float64) for part in ("weight", "bias", "mean", "var"))
    scale = weight / np.sqrt(var + node.options["eps"])
    filters, *biases = layer.arrays
    layer.arrays = [filters * scale.reshape(-1, 1, 1, 1), (biases[0] if biases else 0) * scale + bias - mean * scale]
    layer.keys[5] = 1


def layer_of(node, inputs, graph):
    options, values = node.options, {part: graph.values[name] for part, name in node.weights.items()}
    arrays = [values[part] for part in ("weight", "bias") if part in values]
    if node.op == "conv":
        keys = {0: node.shape[0], **window(arrays[0].shape[2:], options), 5: int("bias" in values), 6: arrays[0].size}
        kind, keys = ("Convolution", keys) if options["groups"] == 1 else ("ConvolutionDepthWise", {**keys, 7: options["groups"]})
        return Layer(kind, node.name, inputs, keys, arrays)
    if node.op == "linear":
        return Layer("InnerProduct", node.name, inputs, {0: node.shape[0], 1: int("bias" in values), 2: arrays[0].size}, arrays)
    if node.op in ("max_pool", "avg_pool"):
        return Layer("Pooling", node.name, inputs, pooling(node))
    if node.op == "lrn":  # it divides alpha by the size of the window
        return Layer("LRN", node.name, inputs, {0: 0, 1: options["size"], 2: options["alpha"] * options["size"], 3: options["beta"], 4: options["k"]})
    if node.op == "batch_norm":
        return Layer("BatchNorm", node.name, inputs, {0: node.shape[0], 1: options["eps"]}, [values[part] for part in ("weight", "mean", "var", "bias")])
    kinds = {"relu": ("ReLU", {}), "add": ("BinaryOp", {0: 0}), "cat": ("Concat", {0: 0}), "flatten": ("Flatten", {})}
    if node.op not in kinds:
        raise Unsupported(f"{node.op} is not translated")
    return Layer(kinds[node.op][0], node.name, inputs, dict(kinds[node.op][1]))


def window(size, options):
    """Keys 1 to 4 and 11 to 16 of a convolution: horizontal first, as ncnn counts."""
    (down, right), (vertical, horizontal), (top, left) = options["dilation"], options["stride"], options["padding"]
    return {1: size[1], 11: size[0], 2: right, 12: down, 3: horizontal, 13: vertical, 4: left, 14: top, 15: left, 16: top}


def pooling(node):
    options = node.options
    if options["dilation"] != (1, 1):
        raise Unsupported("pools with dilation")
    (vertical, horizontal), (top, left) = options["stride"], options["padding"]
    keys = {0: int(node.op == "avg_pool"), 1: options["size"][1], 11: options["size"][0], 2: horizontal, 12: vertical, 3: left, 13: top, 14: left, 15: top}
    return keys | {5: 0 if options["ceil_mode"] else 1, 6: int(options.get("count_include_pad", False))}


def split(lines):
    """The lines, with a Split behind every result that is read more than once."""
    readers = {}
    for _, _, inputs, _, _ in lines:
        for name in inputs:
            readers[name] = readers.get(name, 0) + 1
    result, copies = [], {name: [f"{name}_{i}" for i in range(count)] for name, count in readers.items() if count > 1}
    unread = {name: list(names) for name, names in copies.items()}
    for kind, name, inputs, outputs, keys in lines:
        result.append((kind, name, tuple(unread[i].pop(0) if i in unread else i for i in inputs), outputs, keys))
        result += [("Split", f"split_{output}", (output,), tuple(copies[output]), {}) for output in outputs if output in copies]
    return result
