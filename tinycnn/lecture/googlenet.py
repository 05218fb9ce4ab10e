"""Claim 10: GoogLeNet has 22 layers, 5 million parameters, 12 times fewer than AlexNet, and no fully connected layers. Counted on the network as published."""
from .. import models, nn
from ..tools import summary
from .claim import DID_NOT_HOLD, HELD, IN_PART, Report
from .depth import depth
from .plots import bars

TITLE = "GoogLeNet: 22 layers, only 5 million parameters, 12 times fewer than AlexNet, no fully connected layers"
SLIDES = "x12 less parameters than AlexNet. 22 layers. Efficient \"Inception\" module. No FC layers. Only 5 million parameters!"
PAPER = ("“Our GoogLeNet submission to ILSVRC 2014 actually uses 12x fewer parameters than the winning architecture of Krizhevsky et al from two years ago, while being "
         "significantly more accurate. [...] The network is 22 layers deep when counting only layers with parameters” (Szegedy et al. 2015, sections 1 and 5)")


def cells(plan):
    return [{"network": "alexnet"}, {"network": "googlenet", "auxiliary": False}, {"network": "googlenet", "auxiliary": True}, {"network": "googlenet_torchvision",
            "auxiliary": False}]


def compute(cell, place):
    with nn.init.skip():  # counting needs no weights
        network = models.build(cell["network"], **({"aux_logits": cell["auxiliary"]} if "auxiliary" in cell else {}))
    connected = [module for module in network.modules() if isinstance(module, nn.Linear)]
    parts = {}
    for name, parameter in network.named_parameters():
        parts[part(name)] = parts.get(part(name), 0) + parameter.numel()
    counted = summary(network.train(cell.get("auxiliary", False)), (3, *models.default_input(cell["network"])[1:]))
    return {"parameters": counted.params, "macs": counted.macs, "depth": depth(cell["network"]), "connected": [module.weight.numel() for module in connected],
            "parts": parts}


def part(name):
    """The part of the network to which a parameter belongs: "3a" of inception3a.branch1.conv.weight."""
    return name.partition(".")[0].removeprefix("inception")


def report(rows):
    alexnet, googlenet, training, _ = rows
    table = [(label(row), str(row["depth"]), f"{row['parameters']:,}", f"{alexnet['parameters'] / row['parameters']:.1f}x", f"{row['macs'] / 1e9:.2f}",
              f"{len(row['connected'])} with {sum(row['connected']):,}") for row in rows]
    fewer, body = alexnet["parameters"] / googlenet["parameters"], googlenet["parameters"] - sum(googlenet["connected"]) - 1000
    statements = [googlenet["depth"] == 22, round(googlenet["parameters"], -6) == 5_000_000, round(fewer) == 12, not googlenet["connected"]]
    connected = googlenet["connected"][0] if googlenet["connected"] else 0
    words = (f"It does have {googlenet['depth']} layers. But as published it has {googlenet['parameters']:,} parameters, {fewer:.1f} times fewer than AlexNet; "
             f"without its classifier {body:,}, {alexnet['parameters'] / body:.1f} times fewer; with the two auxiliary classifiers that it trains with, "
             f"{training['parameters']:,}. \"12 times\" is the paper's sentence, and 5 million is 60 million over 12. And there is a fully connected layer, the "
             f"classifier, with {connected:,} weights, {connected / googlenet['parameters']:.0%} of all. What it lacks are AlexNet's two large ones.")
    return Report(("network", "layers", "parameters", "AlexNet has", "billion multiply-adds", "fully connected layers, weights"), table,
                  HELD if all(statements) else IN_PART if any(statements) else DID_NOT_HOLD, words)


def label(row):
    return row["network"] + (", with auxiliary classifiers" if row.get("auxiliary") else "")


def draw(figure, rows):
    left, right = figure.subplots(1, 2, width_ratios=(1, 2))
    bars(left, ["AlexNet", "GoogLeNet"], [row["parameters"] / 1e6 for row in rows[:2]], "{:.1f}")
    left.axhline(5, color="black", linestyle=":", label="5 million")
    left.set(ylabel="million parameters")
    left.legend()
    bars(right, rows[1]["parts"], [count / 1000 for count in rows[1]["parts"].values()])
    right.set(title="GoogLeNet, part by part", ylabel="thousand parameters")
    right.tick_params(axis="x", rotation=60)
