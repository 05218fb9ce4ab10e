"""Claim 6: a network spread over two GPUs. In some layers each GPU reads only its own half of the maps: that is a convolution with two groups.

Shown on AlexNet's own layers: the one convolution with groups=2 against two convolutions of half the size, each with its half of maps and filters, forward and
backward. With whole numbers for pixels and weights there is no rounding, so "equal" means every bit; with ordinary numbers the order of additions may differ, and
then so do last bits. Where MPI is installed, the whole network is then split over two processes (two_processes.py).
"""
import numpy as np

from .. import cat, from_numpy, manual_seed, models, nn, randn
from ..nn import functional as F
from . import two_processes
from .claim import DID_NOT_HOLD, HELD, Report
from .plots import RED

TITLE = "AlexNet on two GPUs: conv2, conv4, conv5 read only the maps of their own GPU; conv3 and the fully connected layers read all"
SLIDES = ("Network spread across 2 GPUs, half the neurons (feature maps) on each GPU. CONV1, CONV2, CONV4, CONV5: connections only with feature maps on same GPU. "
          "CONV3, FC6, FC7, FC8: connections with all feature maps in preceding layer, communication across GPUs.")
PAPER = ("“The parallelization scheme that we employ essentially puts half of the kernels (or neurons) on each GPU, with one additional trick: the GPUs communicate "
         "only in certain layers. This means that, for example, the kernels of layer 3 take input from all kernel maps in layer 2. However, kernels in layer 4 take "
         "input only from those kernel maps in layer 3 which reside on the same GPU” (Krizhevsky, Sutskever, Hinton 2012, section 3.2)")
LAYERS = {"conv2": 27, "conv4": 13, "conv5": 13}  # and the width of the maps that they read
IMAGES = 2


def cells(plan):
    return [*({"layer": layer, "numbers": numbers} for layer in LAYERS for numbers in ("whole", "ordinary")), *two_processes.CELLS]


def compute(cell, place):
    return two_processes.compute(cell) if "processes" in cell else in_halves(cell)


def in_halves(cell):
    """A layer of AlexNet, as one convolution and as two."""
    manual_seed(0)
    with nn.init.skip():
        convolutions = [layer for layer in models.alexnet().features if isinstance(layer, nn.Conv2d)]
    layer = dict(zip(("conv1", "conv2", "conv3", "conv4", "conv5"), convolutions))[cell["layer"]]
    size = LAYERS[cell["layer"]]
    x, w, b = (randn(*shape) for shape in ((IMAGES, layer.in_channels, size, size), layer.weight.shape, layer.bias.shape))
    dy = randn(IMAGES, layer.out_channels, size, size)
    if cell["numbers"] == "whole":
        x, w, b, dy = (from_numpy(np.round(tensor.numpy())) for tensor in (x, w, b, dy))

    def grouped(x, w, b):
        return F.conv2d(x, w, b, padding=layer.padding, groups=2)

    def on_two_gpus(x, w, b):
        halves = zip(x.chunk(2, 1), w.chunk(2), b.chunk(2))  # of the maps of x (N, C, H, W), of the filters, of the biases
        return cat([F.conv2d(*half, padding=layer.padding) for half in halves], 1)
    together, split = (with_gradients(function, x, w, b, dy) for function in (grouped, on_two_gpus))
    return {"groups": layer.groups, "weights": w.numel(), **{what: compared(split[what], together[what]) for what in together}}


def with_gradients(function, x, w, b, dy):
    """{"y": function(x, w, b), "dx", "dw", "db": the gradients} for the gradient dy of y, as arrays."""
    x, w, b = (tensor.detach().requires_grad_() for tensor in (x, w, b))
    y = function(x, w, b)
    y.backward(dy)
    return {"y": y.detach().numpy(), "dx": x.grad.numpy(), "dw": w.grad.numpy(), "db": b.grad.numpy()}


def compared(a, b):
    """How many numbers differ, and the largest difference over the largest number."""
    return {"numbers": int(a.size), "differ": int(np.count_nonzero(a != b)), "error": float(np.abs(a - b).max() / np.abs(b).max())}


def report(rows):
    layers, split = [row for row in rows if "layer" in row], [row for row in rows if "processes" in row]
    parts = ("y", "dx", "dw", "db")
    table = [(row["layer"], f"{row['numbers']} numbers", *(f"{row[part]['differ']} of {row[part]['numbers']:,}" for part in parts),
              two_processes.shown(max(row[part]["error"] for part in parts))) for row in layers]
    right = all(row[part]["differ"] == 0 for row in layers if row["numbers"] == "whole" for part in parts) and all(row["groups"] == 2 for row in layers)
    error = max(row[part]["error"] for row in layers for part in parts)
    words = (f"conv2, conv4 and conv5 have two groups, and one convolution with groups=2 {'is' if right else 'is not'} the two halves side by side: with whole "
             f"numbers, which floating point adds without rounding, {'every bit is equal' if right else 'there are differences'}, forward and backward. With ordinary "
             f"numbers the largest difference is {error:.0e} of the largest number. Half of the weights of a layer go, each GPU having filters for its own maps only.")
    different, second = ["Processor cores instead of two GPUs: what is shown is that they would compute the same, not how fast."], None
    if len(split) < len(two_processes.CELLS):
        different.append(f"All of AlexNet in two processes was left out, as that needs MPI: {two_processes.INSTALL}, then this command again.")
    else:
        second, (exchanged, told) = (two_processes.HEADER, two_processes.table(*split)), two_processes.judge(*split)
        right, words = right and exchanged, f"{words} {told}"
        different.append("In two processes the response normalisation ends at the border of a half; to look across, maps would have to be sent for it too. Weights are "
                         "random, images are noise; float64 at half of the width.")
    return Report(("layer", "", "y differs in", "dx", "dw", "db", "largest error"), table, HELD if right else DID_NOT_HOLD, words, tuple(different), second)


def draw(figure, rows):
    """Which maps each filter reads, layer by layer; and what the layers send."""
    single = [row for row in rows if row.get("dtype") == "float32"]
    above, *below = figure.subfigures(1 + len(single), squeeze=False)[:, 0]
    for axes, (layer, inputs, filters, groups) in zip(above.subplots(1, 5), (("conv1", 3, 96, 1), ("conv2", 96, 256, 2), ("conv3", 256, 384, 1), ("conv4", 384, 384, 2),
                                                                             ("conv5", 384, 256, 2))):
        reads = np.kron(np.eye(groups), np.ones((filters // groups, inputs // groups)))
        axes.imshow(reads, cmap="Blues", vmin=0, vmax=1.5, aspect="auto", extent=(0, inputs, filters, 0))
        axes.axhline(filters / 2, color=RED, linestyle=":")
        axes.set(title=f"{layer}: {reads.mean():.0%}", xlabel="maps read", ylabel="filters" if layer == "conv1" else "")
    above.suptitle("Which maps the filters read (above the red line: filters of the first GPU; below it: of the second)")
    for part in below:
        two_processes.draw(part.subplots(), *single)
