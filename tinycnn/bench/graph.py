"""A network as a list of operations (tools/graph.py), and what it costs.

Rivals cannot run our modules, and a benchmark in which each library runs its own idea of ResNet-50 compares ideas of ResNet-50. So the network is traced once, and
from the Graph each rival builds its form of the same network, on the same weights (rivals/pytorch.py is an interpreter of it, rivals/onnx_model.py and
rivals/ncnn_model.py write it to files).

Shapes are those of one image: the batch is left out.
"""
from ..tools import graph
from ..tools.graph import Node
from .layers import product

TRACED_BATCH = 2  # BatchNorm cannot train on one value
ON_THE_WAY = ("relu", "batch_norm", "dropout", "add", "cat", "flatten")


class Graph(graph.Graph):
    """A Graph that knows its costs."""

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


def trace(model, x_shape):
    """The Graph of a module in its present mode (train or eval), for images of x_shape (N, C, H, W)."""
    traced = graph.trace(model, (TRACED_BATCH, *x_shape[1:]))
    return Graph(traced.input_shape, traced.nodes, traced.values, traced.outputs)


def one_convolution(layer, w, bias):
    """The Graph of a single convolution: a layers.Layer with these weights."""
    values = {"w": w} | ({} if bias is None else {"bias": bias})
    weights = {"weight": "w"} | ({} if bias is None else {"bias": "bias"})
    return Graph(layer.x_shape[1:], [Node("y", "conv", ("image",), layer.geometry._asdict(), weights, layer.y_shape[1:])], values, ["y"])
