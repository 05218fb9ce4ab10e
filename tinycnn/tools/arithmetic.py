"""The arithmetic behind a summary, with the numbers put in: sizes, parameters, multiply-adds, receptive fields; and what else the same could have cost.

    output      (input + 2*padding - window)/stride + 1, rounded down; window = dilation*(size - 1) + 1
    weights     size * size * input maps (of the group) * output maps
    MACs        weights * places of the output
    sees        what the input's elements see + (window - 1) * their distance; the distance is multiplied by each stride (Araujo, Norris, Sim 2019)

Comparisons (Simonyan and Zisserman 2014; Szegedy et al. 2015): n stacked k x k convolutions see as much as one of n(k-1)+1, with fewer weights and more rectifiers
between; and a large filter becomes cheap where a 1x1 first reduces the maps that it looks at.
"""
from itertools import pairwise
from typing import NamedTuple

from ..nn import Conv2d, Linear
from ..nn.norm import BatchNorm2d
from ..nn.pooling import AvgPool2d, MaxPool2d
from ..ops.common import pair


class Run(NamedTuple):
    """One call of a layer. Shapes are of one image; the fields are those of an element of its input and of its output."""

    name: str
    layer: object
    x_shape: tuple
    y_shape: tuple
    x_field: object
    y_field: object
    source: int | None  # number of the run of the convolution before it, with nothing but elementwise layers between


def arithmetic(runs):
    """[(name of the layer, [lines])] of the layers that change sizes or have parameters."""
    return [(run.name, lines) for run in runs if (lines := _lines(run))]


def comparisons(runs):
    """Lines: stacks of small filters against one large, reductions before large filters against none. Those that differ in names alone count as one."""
    alike, stack = {}, []

    def compare(first, last, text):
        alike.setdefault(text, []).append(f"{first.name} ... {last.name}")
    for i, run in enumerate(runs):
        size = _square(run)
        if size is None:
            continue
        before = runs[run.source] if run.source is not None else None
        if stack and run.source == stack[-1] and size == _square(before) > 1 and run.layer.stride == (1, 1):
            stack.append(i)
        else:
            _stacked([runs[j] for j in stack], compare)
            stack = [i] if run.layer.stride == (1, 1) else []
        if before is not None and size > 1 and _square(before) == 1 and before.y_shape[0] < before.x_shape[0]:
            _reduced(before, run, size, compare)
    _stacked([runs[j] for j in stack], compare)
    return [f"{names[0]}{f' (and {len(names) - 1} alike)' if len(names) > 1 else ''}: {text}" for text, names in alike.items()]


def _square(run):
    """k of a k x k convolution without groups or dilation; None of everything else."""
    layer = run.layer
    plain = isinstance(layer, Conv2d) and layer.groups == 1 and layer.dilation == (1, 1) and layer.kernel_size[0] == layer.kernel_size[1]
    return layer.kernel_size[0] if plain else None


def _lines(run):
    layer = run.layer
    if isinstance(layer, Linear):
        weights = layer.in_features * layer.out_features
        return [f"weights  {layer.in_features:,}*{layer.out_features:,} = {weights:,}{_biases(layer)}; as many MACs"]
    if isinstance(layer, BatchNorm2d):
        return [f"weights  2*{layer.num_features} = {2 * layer.num_features:,} (scale and shift of each map)"] if layer.weight is not None else []
    if not isinstance(layer, (Conv2d, MaxPool2d, AvgPool2d)):
        return []
    size, stride = pair("arithmetic", layer.kernel_size, "kernel_size"), pair("arithmetic", layer.stride, "stride")
    dilation = pair("arithmetic", getattr(layer, "dilation", 1), "dilation")
    lines = [f"output   {_both(lambda i: _output(run, size[i], stride[i], dilation[i], i))}"]
    if isinstance(layer, Conv2d):
        maps, K, places = layer.in_channels // layer.groups, layer.out_channels, run.y_shape[1:]
        weights = size[0] * size[1] * maps * K
        seen = f" (each filter sees {layer.in_channels}/{layer.groups} maps)" if layer.groups > 1 else ""
        lines.append(f"weights  {size[0]}*{size[1]}*{maps}*{K} = {weights:,}{_biases(layer)}{seen}")
        lines.append(f"MACs     {weights:,}*{places[0]}*{places[1]} = {weights * places[0] * places[1]:,}")
    lines.append(f"sees     {_both(lambda i: _field(run, dilation[i] * (size[i] - 1) + 1, stride[i], i))}")
    return lines


def _biases(layer):
    return f", and {layer.bias.numel():,} biases" if layer.bias is not None else ""


def _both(text):
    """The text for the vertical axis, and for the horizontal one where it differs."""
    vertical, horizontal = text(0), text(1)
    return vertical if vertical == horizontal else f"{vertical} high, {horizontal} wide"


def _output(run, size, stride, dilation, axis):
    """(227 - 11)/4 + 1 = 55"""
    length, out, window = run.x_shape[1 + axis], run.y_shape[1 + axis], dilation * (size - 1) + 1
    padding = run.layer.padding
    if padding == "same":
        return f"{out}, the padding makes it as large as the input"
    padding = 0 if padding == "valid" else pair("arithmetic", padding, "padding")[axis]
    padded = f"{length} + 2*{padding}" if padding else str(length)
    room = length + 2 * padding - window
    rounded = "" if room % stride == 0 else " rounded up" if room // stride + 1 < out else " rounded down"
    wide = f" (the {size} taps, {dilation} apart, span {window})" if dilation > 1 else ""
    return f"({padded} - {window})/{stride} + 1 = {out}{rounded}{wide}"


def _field(run, window, stride, axis):
    """7 + (3 - 1)*2 = 11, neighbours 2*2 = 4 apart"""
    before, after = run.x_field, run.y_field
    moved = f"{before.jump[axis]}*{stride} = {after.jump[axis]}" if stride > 1 else str(after.jump[axis])
    return f"{before.size[axis]} + ({window} - 1)*{before.jump[axis]} = {after.size[axis]} pixels, neighbours {moved} apart"


def _stacked(stack, compare):
    """k x k convolutions after each other."""
    if len(stack) < 2:
        return
    n, k, maps = len(stack), _square(stack[0]), [stack[0].x_shape[0], *(run.y_shape[0] for run in stack)]
    large = n * (k - 1) + 1
    weights = sum(k * k * C * K for C, K in pairwise(maps))
    same = len(set(maps)) == 1  # then the slides' 27 C^2 against 49 C^2
    small = f"{n}*{k}*{k} C^2 = {n * k * k} C^2" if same else " + ".join(f"{k}*{k}*{C}*{K}" for C, K in pairwise(maps))
    one = f"{large}*{large} C^2" if same else f"{large}*{large}*{maps[0]}*{maps[-1]}"
    compare(stack[0], stack[-1], f"{n} of {k}x{k} see {large}x{large}, as one {large}x{large} would: {small} = {weights:,} weights"
            f"{f' for C = {maps[0]}' if same else ''} against {one} = {large * large * maps[0] * maps[-1]:,}, and {n} rectifiers rather than 1")


def _reduced(one, large, k, compare):
    """A 1x1 that makes a k x k cheap."""
    C, m, K = one.x_shape[0], one.y_shape[0], large.y_shape[0]
    places, out = one.y_shape[1] * one.y_shape[2], large.y_shape[1] * large.y_shape[2]
    reduced, direct = C * m * places + k * k * m * K * out, k * k * C * K * out
    compare(one, large, f"{C} maps reduced to {m} before {k}x{k}: {C}*{m}*{places} + {k}*{k}*{m}*{K}*{out} = {reduced:,} MACs "
            f"against {k}*{k}*{C}*{K}*{out} = {direct:,} without")
