"""Claim 7: three 3x3 layers see as much as one 7x7 layer, with fewer parameters and more nonlinearities.

What one element of the result sees is measured: those pixels of the image for which its gradient is not zero.
"""
import numpy as np

from .. import manual_seed, nn, ones
from .claim import HELD, IN_PART, Report
from .plots import RED

TITLE = "Three 3x3 layers see what one 7x7 layer sees: 7x7 pixels, with 27 C^2 instead of 49 C^2 weights"
SLIDES = ("Stack of three 3x3 conv (stride 1) layers has the same effective receptive field as one 7x7 conv layer. But deeper, more non-linearities. And fewer "
          "parameters: 3 * (3^2 C^2) vs. 7^2 C^2 for C channels per layer")
PAPER = ("“It is easy to see that a stack of two 3x3 conv. layers (without spatial pooling in between) has an effective receptive field of 5x5; three such layers have "
         "a 7x7 effective receptive field. [...] the stack is parametrised by 3(3^2 C^2) = 27 C^2 weights; at the same time, a single 7x7 conv. layer would require "
         "7^2 C^2 = 49 C^2 parameters, i.e. 81% more” (Simonyan, Zisserman 2015, section 2.3)")
IMAGE, C = 15, 16


def cells(plan):
    return [{"filter": size, "layers": layers, "channels": C} for size, layers in ((3, 1), (3, 2), (3, 3), (5, 1), (7, 1))]


def compute(cell, place):
    manual_seed(0)
    size, maps = cell["filter"], cell["channels"]
    network = nn.Sequential(*(layer for _ in range(cell["layers"]) for layer in (nn.Conv2d(maps, maps, size, padding=size // 2), nn.ReLU())))
    for layer in network[::2]:
        nn.init.uniform_(layer.weight, 0, 1 / maps)  # all above zero, so that no ReLU stops a gradient and no two of them cancel
        nn.init.zeros_(layer.bias)
    image = ones(1, maps, IMAGE, IMAGE).requires_grad_()
    network(image)[0, 0, IMAGE // 2, IMAGE // 2].backward()
    seen = np.abs(image.grad.numpy()[0]).sum(axis=0)
    rows, columns = np.nonzero(seen.any(axis=1))[0], np.nonzero(seen.any(axis=0))[0]
    return {"sees": [int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)], "weights": sum(layer.weight.numel() for layer in network[::2]),
            "gradient": (seen / seen.max()).round(4).tolist()}


def report(rows):
    table = [(what(row), "x".join(map(str, row["sees"])), f"{row['weights']:,}", f"{row['weights'] // row['channels'] ** 2} C^2", str(row["layers"])) for row in rows]
    three, seven = (next(row for row in rows if (row["filter"], row["layers"]) == wanted) for wanted in ((3, 3), (7, 1)))
    right = three["sees"] == seven["sees"] == [7, 7] and (three["weights"], seven["weights"]) == (27 * C ** 2, 49 * C ** 2)
    words = (f"By the gradient of one output, three 3x3 layers see {'x'.join(map(str, three['sees']))} pixels, one 7x7 layer {'x'.join(map(str, seven['sees']))}. "
             f"{three['weights'] // C ** 2} C^2 weights against {seven['weights'] // C ** 2} C^2, which are {seven['weights'] / three['weights'] - 1:.0%} more. The "
             f"plot shows what \"the same\" leaves out: the stack looks mainly at the middle, since many ways lead there and only one to a corner.")
    return Report(("layers", "sees", f"weights, C = {C}", "in general", "nonlinearities"), table, HELD if right else IN_PART, words,
                  ("Biases are not counted: 3C against C.",))


def what(row):
    return f"{row['layers']} x {row['filter']}x{row['filter']}"


def draw(figure, rows):
    panels = figure.subplot_mosaic([["3x3, 1", "3x3, 2", "3x3, 3"], [".", "5x5, 1", "7x7, 1"]])  # what sees the same, one above the other
    for row in rows:
        axes = panels[f"{row['filter']}x{row['filter']}, {row['layers']}"]
        axes.imshow(row["gradient"], cmap="Blues", vmin=0, vmax=1)
        low, high = IMAGE / 2 - row["sees"][0] / 2 - 0.5, IMAGE / 2 + row["sees"][0] / 2 - 0.5
        axes.plot([low, high, high, low, low], [low, low, high, high, low], color=RED)
        axes.set(title=f"{what(row)} sees {row['sees'][0]}x{row['sees'][1]}", xticks=[], yticks=[])
    figure.suptitle("How much each pixel changes the output in the middle (dark: most)")
