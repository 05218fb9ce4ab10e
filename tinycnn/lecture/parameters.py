"""Claim 2: AlexNet has 60 million parameters, LeNet-5 60 thousand. Both counted, layer by layer."""
from .. import models, nn
from .claim import HELD, IN_PART, Report
from .plots import BLUE

TITLE = "AlexNet has 60 million parameters, LeNet-5 60 thousand"
SLIDES = "Has 60 Million parameter compared to 60k parameter of LeNet-5"
PAPER = ("“The neural network, which has 60 million parameters and 650,000 neurons, consists of five convolutional layers, some of which are followed by max-pooling "
         "layers, and three fully-connected layers” (Krizhevsky, Sutskever, Hinton 2012, abstract); LeNet-5 has “only 60,000 trainable free parameters because of the "
         "weight sharing” (LeCun et al. 1998, section II.B)")
NETWORKS = {"lenet5_1998": "LeNet-5, as published", "lenet5": "LeNet-5, as written today", "alexnet": "AlexNet, as published", "alexnet_owt": "AlexNet in one tower"}


def cells(plan):
    return [{"network": name} for name in NETWORKS]


def compute(cell, place):
    with nn.init.skip():  # counting needs no weights
        network = models.build(cell["network"])
    layers = {name: sum(parameter.numel() for parameter in layer.parameters(recurse=False)) for name, layer in network.named_modules()}
    return {"parameters": sum(layers.values()), "layers": {name: count for name, count in layers.items() if count}}


def report(rows):
    counts = {row["network"]: row["parameters"] for row in rows}
    alexnet = next(row for row in rows if row["network"] == "alexnet")
    connected = sum(count for name, count in alexnet["layers"].items() if name.startswith("classifier"))
    table = [(NETWORKS[name], f"{count:,}", f"{count / counts['lenet5_1998']:,.0f}x") for name, count in counts.items()]
    right = round(counts["alexnet"], -6) in (60_000_000, 61_000_000) and counts["lenet5_1998"] == 60_000
    words = (f"{counts['alexnet']:,} against {counts['lenet5_1998']:,}, a factor of {counts['alexnet'] / counts['lenet5_1998']:,.0f}. LeNet-5 has its 60,000 to the "
             f"last one if built as published, where not every map of C3 reads every map below it; as it is written today it has {counts['lenet5']:,}. "
             f"{connected / counts['alexnet']:.0%} of AlexNet's parameters are in its three fully connected layers.")
    return Report(("network", "parameters", "LeNet-5s"), table, HELD if right else IN_PART, words)


def draw(figure, rows):
    left, right = figure.subplots(1, 2)
    for axes, network, names in ((left, "lenet5_1998", None), (right, "alexnet", ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"))):
        layers = next(row["layers"] for row in rows if row["network"] == network)
        drawn = axes.barh(names or list(layers), list(layers.values()), color=BLUE)
        axes.bar_label(drawn, [f"{count:,}" for count in layers.values()], padding=3)
        axes.invert_yaxis()
        axes.set(title=f"{NETWORKS[network]}: {sum(layers.values()):,}", xlabel="parameters", xticks=[])
        axes.margins(x=0.4)
