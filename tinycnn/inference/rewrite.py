"""A traced network as steps, and rewritten into fewer with the same result.

    batch norm after a convolution      (conv(x, w) + b - mean) * s + shift = conv(x, s*w) + (b - mean)*s + shift,    s = weight / sqrt(var + eps)
    an addition                         done by whichever convolution runs last, on its results while they are in registers
    ReLU                                the same
    2x2 maximum after a convolution     done by the convolution before its results are written, where its algorithm can
    1x1 convolutions of the same input  one with the filters of all, if other convolutions read their results (the reductions of an inception)

A result that somebody else reads too must stay what it is: only a step with a single reader takes that reader over.
"""
from collections import Counter

import numpy as np

from ..kernels.conv.geometry import Geometry
from .describe import options

WEIGHTED = ("conv", "linear")
RECTIFYING = (*WEIGHTED, "batch_norm")


class Step:
    """A node of the graph on its way to being run.

    inputs: names of what it reads, and their shapes; an addition that was taken over has the other operand as the last. relu: done at the end.
    taken: for people, what was taken over.
    """

    def __init__(self, node, graph, shapes):
        self.name, self.op, self.inputs, self.options = node.name, node.op, list(node.inputs), node.options
        self.weights = {part: graph.values[name] for part, name in node.weights.items()}
        self.shape, self.dtype, self.layer = node.whole, node.dtype, node.layer
        self.input_shapes = [shapes[name] for name in node.inputs]
        self.added = self.relu = self.pool = False
        self.taken = []
        self.parts = []  # of a joined convolution: (name, first channel, end) of each result
        self.text = options(self.op, self.options, self.weights)

    def take(self, reader):
        """Give the reader's result from now on."""
        self.name, self.shape = reader.name, reader.shape
        self.taken.append(reader.layer if reader.op == "batch_norm" else reader.op)

    def join(self, sibling):
        """Give the sibling's result too, behind one's own."""
        if not self.parts:
            self.parts.append((self.name, 0, self.shape[1]))
            self.name += " and others"
        end = self.shape[1] + sibling.shape[1]
        self.parts.append((sibling.name, self.shape[1], end))
        self.weights = {part: np.concatenate([array, sibling.weights[part]]) for part, array in self.weights.items()}
        self.shape = (self.shape[0], end, *self.shape[2:])
        self.taken.append(sibling.layer)

    def __repr__(self):
        return f"<{self.op} {self.name} of {', '.join(self.inputs)}>"


def rewritten(graph, x_shape, join=True, pools=None):
    """The Steps of a graph in evaluation mode, for images of the shape that it was traced on.

    join: whether results may be channels of a larger array. pools: the kernel table's function that says which convolutions take the maximum of 2x2 results.
    """
    shapes = {"image": tuple(x_shape), **{node.name: node.whole for node in graph.nodes}}
    steps = [Step(node, graph, shapes) for node in graph.nodes]
    for rule in (fold_batch_norms, fuse_additions, fuse_relus, *([join_siblings] if join else [])):
        steps = rule(steps, graph.outputs)
    return fuse_pools(steps, graph.outputs, pools) if pools else steps


def readers(steps, outputs):
    """How often each result is read; a result of the network counts as read by its user."""
    return Counter([name for step in steps for name in step.inputs] + list(outputs))


def fold_batch_norms(steps, outputs):
    """Batch norm with known statistics disappears in the weights of the convolution (or linear layer) before it."""
    def fold(before, step):
        before.weights = folded(before.weights, step.weights, step.options["eps"])
        before.take(step)
    return merged(steps, outputs, fold, lambda step, before: step.op == "batch_norm" and "mean" in step.weights and before.op in WEIGHTED)


def folded(weights, norm, eps):
    """Weights of the convolution that includes a batch norm. In float64, rounded once."""
    exact = {part: array.astype(np.float64) for part, array in norm.items()}
    w = weights["weight"]
    scale = exact.get("weight", 1.0) / np.sqrt(exact["var"] + eps)
    bias = (weights["bias"].astype(np.float64) if "bias" in weights else 0.0) - exact["mean"]
    return {"weight": (w * scale.reshape(-1, *(1,) * (w.ndim - 1))).astype(w.dtype), "bias": (bias * scale + exact.get("bias", 0.0)).astype(w.dtype)}


def fuse_relus(steps, outputs):
    """ReLU as the last thing that a convolution, a linear layer, or a batch norm by itself does."""
    def fuse(before, step):
        before.relu = True
        before.take(step)
    return merged(steps, outputs, fuse, lambda step, before: step.op == "relu" and before.op in RECTIFYING)


def fuse_pools(steps, outputs, pools):
    """The maximum of 2x2 results, none of which is in two windows, by the convolution that computes them."""
    def fuse(before, step):
        before.pool = True
        before.take(step)

    def fits(step, before):
        plain = step.op == "max_pool" and step.options == {**step.options, "size": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1), "ceil_mode": False}
        able = before.op == "conv" and not (before.added or before.pool or before.parts)
        return plain and able and pools(before.input_shapes[0], before.weights["weight"].shape, Geometry(**before.options), before.dtype)
    return merged(steps, outputs, fuse, fits)


def merged(steps, outputs, merge, fits):
    """Steps in which merge(before, step) has been done wherever step is the only reader of `before` and the two fit."""
    counts, made, kept = readers(steps, outputs), {}, []
    for step in steps:
        before = made.get(step.inputs[0])
        if before is not None and counts[before.name] == 1 and fits(step, before):
            merge(before, step)
            made[step.name] = before
        else:
            made[step.name] = step
            kept.append(step)
    return kept


def fuse_additions(steps, outputs):
    """An addition of a convolution's result that nobody else reads: the convolution adds. It runs where the addition stood, when both operands are there."""
    counts, made, kept = readers(steps, outputs), {}, []
    for step in steps:
        last = None
        if step.op == "add":
            able = [made[name] for name in step.inputs if name in made and made[name].op == "conv" and counts[name] == 1 and not made[name].added]
            last = max(able, key=kept.index, default=None)
        if last is not None:
            kept.remove(last)
            other = step.inputs[1 - step.inputs.index(last.name)]
            last.inputs.append(other)
            last.added = True
            last.take(step)
            step = last
        made[step.name] = step
        kept.append(step)
    return kept


def join_siblings(steps, outputs):
    """1x1 convolutions that differ in nothing but their filters read their input once, together, if each one's result goes into another convolution and nowhere else."""
    counts, reader = readers(steps, outputs), {name: step for step in steps for name in step.inputs}
    first, kept = {}, []
    for step in steps:
        key = None
        if step.op == "conv" and step.weights["weight"].shape[2:] == (1, 1) and not step.added and counts[step.name] == 1 and step.name in reader:
            if reader[step.name].op == "conv" and reader[step.name].inputs[0] == step.name:
                key = step.inputs[0], tuple(step.options.items()), step.relu, "bias" in step.weights
        if key not in first or step.options["groups"] > 1:
            kept.append(step)
            if key:
                first[key] = step
        else:
            first[key].join(step)
    return kept
