"""Claim 8: VGG has 140 million parameters in 16 to 19 layers, and VGG-19 takes more memory than VGG-16 for little. All configurations of table 1, side by side.

Memory and multiply-adds follow from the shapes of the layers; the time of one image through VGG-16 and VGG-19 is taken here.
"""
import time

from .. import manual_seed, models, nn, no_grad, randn
from ..tools import summary
from .claim import HELD, IN_PART, Report
from .depth import depth
from .plots import GREEN, ORANGE, bars

TITLE = "VGG has 140 million parameters and 16 to 19 layers; VGG-19 is only slightly better and takes more memory"
SLIDES = "140 million parameters. AlexNet: 8 layers, VGGNet: 16 - 19 layers. Use VGG16 or VGG19 (VGG19 only slightly better, more memory)"
PAPER = ("Number of parameters (in millions): A, A-LRN 133; B 133; C 134; D 138; E 144 (Simonyan, Zisserman 2015, table 2). Top-5 error of one network on "
         "ILSVRC-2012's validation images, trained with scale jitter: D (VGG-16) 8.1%, E (VGG-19) 8.0%")
NETWORKS = {"vgg11": 133, "vgg13": 133, "vgg16c": 134, "vgg16": 138, "vgg19": 144}  # the paper's millions
MIB = 2 ** 20


def cells(plan):
    return [*({"network": name} for name in ("alexnet", *NETWORKS)), {"timed": ["vgg16", "vgg19"], "repeats": plan.choose(5, 20, 50)}]


def compute(cell, place):
    if "timed" in cell:
        return {"seconds": seconds(cell["timed"], cell["repeats"])}
    with nn.init.skip():  # only shapes are looked at
        network = models.build(cell["network"]).eval()
    counted = summary(network, models.default_input(cell["network"]))
    return {"parameters": counted.params, "macs": counted.macs, "activation_bytes": counted.activation_bytes, "depth": depth(cell["network"])}


def seconds(names, repeats):
    """{name: the shortest time for one image}. Everybody in turn, so that whatever else the machine does hits all alike."""
    manual_seed(0)
    networks, image = {name: models.build(name).eval() for name in names}, randn(1, 3, 224, 224)
    times = {name: [] for name in names}
    with no_grad():
        for _ in range(repeats + 1):
            for name, network in networks.items():
                start = time.perf_counter()
                network(image)
                times[name].append(time.perf_counter() - start)
    return {name: min(measured[1:]) for name, measured in times.items()}  # the first had kernels to load


def report(rows):
    *counted, timed = rows
    found = {row["network"]: {**row, "seconds": timed["seconds"].get(row["network"])} for row in counted}
    table = [(name, str(row["depth"]), f"{row['parameters']:,}", f"{4 * row['parameters'] / MIB:.0f}", f"{row['activation_bytes'] / MIB:.1f}",
              f"{row['macs'] / 1e9:.2f}", f"{1000 * row['seconds']:.0f}" if row["seconds"] else "") for name, row in found.items()]
    d, e = found["vgg16"], found["vgg19"]
    more = {name: e[name] / d[name] - 1 for name in ("parameters", "activation_bytes", "macs", "seconds")}
    right = (all(round(found[name]["parameters"] / 1e6) == millions for name, millions in NETWORKS.items()) and (d["depth"], e["depth"]) == (16, 19)
             and min(more["parameters"], more["activation_bytes"], more["macs"]) > 0)
    words = (f"\"140 million\" is {d['parameters']:,} for VGG-16 and {e['parameters']:,} for VGG-19. VGG-19 has {more['parameters']:.1%} more parameters, "
             f"{more['activation_bytes']:.1%} more activations and {more['macs']:.1%} more multiply-adds; its time for an image was {more['seconds']:+.0%} here. "
             f"How much better it is cannot be tried without ImageNet; the paper has 8.1% and 8.0%.")
    header = ("network", "layers", "parameters", "weights, MiB", "activations of an image, MiB", "billion multiply-adds", "ms an image")
    return Report(header, table, HELD if right else IN_PART, words, ("The times are of random weights, the shortest of several.",))


def draw(figure, rows):
    shown = [row for row in rows if row.get("network") in NETWORKS]
    names = [row["network"] for row in shown]
    left, middle, right = figure.subplots(1, 3)
    bars(left, names, [row["parameters"] / 1e6 for row in shown], "{:.0f}")
    bars(middle, names, [row["activation_bytes"] / MIB for row in shown], "{:.0f}", ORANGE)
    bars(right, names, [row["macs"] / 1e9 for row in shown], "{:.1f}", GREEN)
    for axes, what in ((left, "million parameters"), (middle, "MiB of activations, one image"), (right, "billion multiply-adds, one image")):
        axes.set_ylabel(what)
        axes.tick_params(axis="x", rotation=45)
