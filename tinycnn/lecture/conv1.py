"""Claim 1: what AlexNet's first layer makes of an image, and with how many parameters. Asked of the layer itself, and computed by the slides' formulas."""
from .. import nn, zeros
from .claim import HELD, IN_PART, Report
from .plots import BLUE, RED

TITLE = "AlexNet's first layer: 55x55x96 numbers out of 227x227x3, 35 thousand parameters"
SLIDES = ("Input: 227x227x3 images (224x224 before padding). First layer: 96 11x11 filters applied at stride 4. Output volume size? (N-F)/s+1 = (227-11)/4+1 = 55 -> "
          "[55x55x96]. Number of parameters in this layer? (11x11x3)x96 = 35K")
PAPER = ("“The first convolutional layer filters the 224x224x3 input image with 96 kernels of size 11x11x3 with a stride of 4 pixels” (Krizhevsky, Sutskever, "
         "Hinton 2012, section 3.5; figure 2 draws 55x55 maps)")


def cells(plan):
    return [{"image": 227, "padding": 0}, {"image": 224, "padding": 0}, {"image": 224, "padding": 2}]


def compute(cell, place):
    layer = nn.Conv2d(3, 96, kernel_size=11, stride=4, padding=cell["padding"])
    _, K, P, Q = layer(zeros(1, 3, cell["image"], cell["image"])).shape
    return {"formula": (cell["image"] + 2 * cell["padding"] - 11) / 4 + 1, "output": [P, Q, K], "weights": layer.weight.numel(), "biases": layer.bias.numel()}


def report(rows):
    table = [(f"{row['image']} pixels, padding {row['padding']}", f"{row['formula']:g}", "x".join(map(str, row["output"])), f"{row['weights']:,}",
              f"{row['weights'] + row['biases']:,}") for row in rows]
    slides = rows[0]
    right = slides["formula"] == 55 and slides["output"] == [55, 55, 96] and round(slides["weights"], -3) == 35_000
    words = (f"Images of 227 pixels give {'x'.join(map(str, slides['output']))}. The 35K are {slides['weights']:,} weights; {slides['biases']} biases come on top. The "
             f"224 pixels of the paper do not fit: (224-11)/4+1 = {rows[1]['formula']:g} is not whole, and rounded down gives {rows[1]['output'][0]}. With two pixels "
             f"of zeros on every side the layer does make {rows[2]['output'][0]} of them (its last step ends one pixel short of the border); 227 needs one and a half.")
    return Report(("image", "(N+2p-F)/s+1", "output", "weights", "with biases"), table, HELD if right else IN_PART, words,
                  ("On the paper's two GPUs each computes 48 of the 96 maps.",))


def draw(figure, rows):
    """The right end of a line of pixels, and where the filter stands in its last steps."""
    axes = figure.subplots()
    for line, row in enumerate(rows):
        axes.barh(line, row["image"], height=0.8, color="gainsboro")
        axes.barh(line, row["padding"], left=row["image"], height=0.8, color="white", edgecolor="grey", hatch="//")
        for step in range(row["output"][0] - 2, row["output"][0] + 2):  # the last three, and the one that would go beyond the end
            start, fits = 4 * (step - 1) - row["padding"], step <= row["output"][0]
            bar = axes.barh(line + 0.2 * (step - row["output"][0] + 0.5), 11, left=start, height=0.16, color=BLUE if fits else "none", edgecolor=BLUE if fits else RED)
            axes.bar_label(bar, [str(step) if fits else "does not fit"], label_type="center", color="white" if fits else RED)
    axes.set(xlim=(203, 233), ylim=(len(rows) - 0.5, -0.5), xlabel="pixel", title="The last steps of conv1's filter: 11 pixels wide, 4 pixels a step (hatched: zeros)")
    axes.set_yticks(range(len(rows)), [f"{row['image']} pixels,\npadding {row['padding']}:\n{row['output'][0]} steps" for row in rows])
