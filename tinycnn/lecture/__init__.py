"""A lecture on AlexNet, VGG, GoogLeNet and ResNet says thirteen things; each is a file here that computes it or tries it out.

    tinycnn lecture             lists them
    tinycnn lecture relu        tries one: table, plot, and whether it held here

claim.py says what such a file consists of. What they share: runner.py (compute, stop, go on), training.py, noise.py (what is an effect), report.py and plots.py.
"""
from importlib import import_module

# In the order of the slides. A name is that of a file, with - for _.
NAMES = ("conv1", "parameters", "relu", "ablations", "ensemble", "two-gpus", "small-filters", "vgg", "fc7", "googlenet", "degradation", "gradients", "winners")


def find(name):
    """The claim, a module, called `name`."""
    if name not in NAMES:
        raise ValueError(f"unknown claim {name!r}: there are {', '.join(NAMES)}")
    return import_module(f"{__name__}.{name.replace('-', '_')}")
