"""The pages of an inception module and of a residual block: real blocks of the networks here, small, run forward and backward by the engine.

A block is a list of nodes. Each is what a few layers make of other nodes, and shows its result and the gradient of that. How a gradient is put together from the nodes
that used the result is worked out by the page, and checked against the engine's.
"""
import inspect
from pathlib import Path

import numpy as np

from .. import nn
from ..autograd import grad
from ..models.googlenet import Inception
from ..models.resnet import BasicBlock
from ..tensor import Tensor, from_numpy
from .page import pack

INCEPTION = (2, 2, 3, 2, 2, 2)  # maps: 1x1; before and of the 3x3; before and of the 5x5; behind the pool


def inception(x, numbers, rng, origin=""):
    """The page's data, for an array x (N, C, H, W)."""
    C = x.shape[1]
    one, reduce3, three, reduce5, five, projection = INCEPTION
    block = Inception(C, *INCEPTION, as_published=True)
    nodes = [
        ("one", "1 × 1", f"{C} → {one} maps", (3, 1), ["x"], ["branch1.conv", "branch1.relu"]),
        ("reduce3", "1 × 1 before the 3 × 3", f"{C} → {reduce3}", (2, 2), ["x"], ["branch2.0.conv", "branch2.0.relu"]),
        ("three", "3 × 3", f"{reduce3} → {three}", (3, 2), ["reduce3"], ["branch2.1.conv", "branch2.1.relu"]),
        ("reduce5", "1 × 1 before the 5 × 5", f"{C} → {reduce5}", (2, 3), ["x"], ["branch3.0.conv", "branch3.0.relu"]),
        ("five", "5 × 5", f"{reduce5} → {five}", (3, 3), ["reduce5"], ["branch3.1.conv", "branch3.1.relu"]),
        ("pool", "3 × 3 max pool", f"{C} maps", (2, 4), ["x"], ["branch4.0"]),
        ("projection", "1 × 1 behind the pool", f"{C} → {projection}", (3, 4), ["pool"], ["branch4.1.conv", "branch4.1.relu"]),
        ("y", "y", "the four, stacked", (4, 1), ["one", "three", "five", "projection"], ["cat"]),
    ]
    facts = [("four branches", "look at the same x, through 1 × 1, 3 × 3 and 5 × 5 filters and a pool",
              "each sends x a gradient of its own: dx is the sum of the four"),
             ("stacking", "y is their maps, one after the other",
              "dy is cut into the same pieces: a branch gets the gradient of its own maps and of no others"),
             ("1 × 1 before", "makes the large filters cheap: of 192 maps (inception 3a) 16 are left for the 5 × 5",
              "the gradient goes back through the same narrow place"),
             ("3a in GoogLeNet", "192 maps of 28 × 28 become 64 + 128 + 32 + 32 = 256", "the same sizes")]
    lines = {"forward": ["y = cat([relu(conv1(x)),", "         relu(conv3(relu(reduce3(x)))),", "         relu(conv5(relu(reduce5(x)))),",
                         "         relu(projection(maxpool(x)))])"],
             "backward": ["d_one, d_three, d_five, d_projection = split(dy)", "dx = 0", "for each branch, last layer first:", "  dx += the gradient that it gives for x"]}
    return _page("Inception module", block, x, nodes, facts, lines, numbers, rng, origin)


def residual(x, filters, stride, numbers, rng, origin=""):
    """The same for a residual block that makes `filters` maps."""
    C = x.shape[1]
    block = BasicBlock(C, filters, stride, "B")
    projected = block.downsample is not None
    maps = f"{C} → {filters}" + (f", stride {stride}" if stride > 1 else "")
    shortcut = [("shortcut", "1 × 1, norm", maps, (2, 2), ["x"], ["downsample.0", "downsample.1"])] if projected else []
    nodes = [
        ("first", "3 × 3, norm, ReLU", maps, (2, 1), ["x"], ["conv1", "bn1", "relu"]),
        ("second", "3 × 3, norm", f"{filters} → {filters}", (3, 1), ["first"], ["conv2", "bn2"]),
        *shortcut,
        ("y", "y", "the sum, ReLU", (4, 1), ["second", "shortcut" if projected else "x"], ["add", "relu"]),
    ]
    facts = [("the addition", "y = relu(F(x) + " + ("a projection of x)" if projected else "x): a block with nothing to add can be silent"),
              "hands its gradient to both sides, unchanged"),
             ("the shortcut", "1 × 1 filters, for the shapes of x and y differ" if projected else "x as it is",
              "the gradient passes one linear layer" if projected
              else "the gradient arrives at x without passing any weight, however deep the network"),
             ("ReLU", "after the addition", "where y is 0 nothing comes back, on neither path"),
             ("BatchNorm", "makes each map's mean 0 and variance 1, over all images and places",
              "makes each map's gradient sum to 0 at its input: every number there depends on all of dy")]
    lines = {"forward": ["f = relu(bn1(conv1(x)))", "f = bn2(conv2(f))", f"y = relu(f + {'bn(conv(x))' if projected else 'x'})"],
             "backward": ["d = dy where y > 0, else 0", "dx = d through bn2, conv2, relu, bn1, conv1", f"dx += {'d through the shortcut' if projected else 'd'}"]}
    return _page("Residual block", block, x, nodes, facts, lines, numbers, rng, origin)


def _page(title, block, x, nodes, facts, lines, numbers, rng, origin):
    C, H, W = x.shape[1:]
    for parameter in block.parameters():
        if parameter.ndim == 4 and numbers == "whole":
            parameter.data = Tensor(rng.choice((-1, 0, 1, 1), parameter.shape).astype(np.float32))
    results, layers = _run(block, x)
    tensors = {"x": results["x"], **{name: results[steps[-1]] if name != "y" else results["y"] for name, *_, steps in nodes}}
    dy = rng.choice((-2, -1, 1, 2), tensors["y"].shape).astype(np.float32)
    wanted = [name for name in tensors if name != "y"]
    gradients = {"y": dy, **{name: found.numpy() for name, found in zip(wanted, grad(tensors["y"], [tensors[name] for name in wanted], from_numpy(dy)))}}
    described = [("x", "x", f"{C} maps", (1, 1), [], []), *nodes]
    source, first = inspect.getsourcelines(type(block))
    path = Path(inspect.getsourcefile(type(block))).relative_to(Path(__file__).parents[1])
    return {
        "kind": "block", "title": f"{title}: {C} maps of {H} × {W}", "origin": origin,
        "formula": f"x {x.shape} → y {tensors['y'].shape}", "facts": (("forward", "backward"), facts), "source": (f"tinycnn/{path.as_posix()}", first, "".join(source)),
        "loops": {name: [{"text": line, "index": None, "line": None} for line in text] for name, text in lines.items()},
        "nodes": [{"id": name, "title": heading, "say": say, "place": place, "inputs": inputs, "steps": [_step(layers.get(step), step) for step in steps],
                   "value": pack(tensors[name].detach().numpy()), "gradient": pack(gradients[name])} for name, heading, say, place, inputs, steps in described],
    }


def _run(block, x):
    """({name: tensor} of x, of each layer's (first) result and of y, {name: layer}), with gradients recorded."""
    x = from_numpy(x).requires_grad_()
    layers = {name: module for name, module in block.named_modules() if not list(module.children())}
    results, names = {"x": x}, {layer: name for name, layer in layers.items()}

    def note(layer, _, output):
        results.setdefault(names[layer], output)
    for layer in names:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # what it was given is shown too
        layer.register_forward_hook(note)
    results["y"] = block.train()(x)
    return results, layers


def _step(layer, name):
    """A layer as the page's script wants it."""
    if isinstance(layer, nn.Conv2d):
        arrays = {"w": layer.weight, "bias": layer.bias}
        packed = {key: pack(tensor.detach().numpy()) for key, tensor in arrays.items() if tensor is not None}
        return {"op": "conv", "stride": layer.stride, "padding": layer.padding, **packed}
    if isinstance(layer, nn.BatchNorm2d):
        return {"op": "norm", "eps": layer.eps, "weight": pack(layer.weight.detach().numpy()), "bias": pack(layer.bias.detach().numpy())}
    if isinstance(layer, nn.MaxPool2d):
        return {"op": "maxpool", "size": 3, "padding": 1}
    return {"op": "relu" if isinstance(layer, nn.ReLU) else name}
