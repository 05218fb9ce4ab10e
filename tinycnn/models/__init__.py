"""The networks that made the field, each as its paper has it, and each able to shrink to small images (see scaling.py).

    build("resnet20", num_classes=10)       the function of that name, called with these options
    names()                                 all of them
    default_input("resnet20")               (C, H, W) of the images that the published network takes
"""
from inspect import signature

from ..names import nearest
from .alexnet import alexnet, alexnet_owt
from .googlenet import GoogLeNetOutputs, googlenet, googlenet_torchvision
from .lenet import lenet5, lenet5_1998
from .resnet import plain18, plain34, resnet18, resnet34, resnet50, resnet101, resnet152
from .resnet_cifar import (
    plain20,
    plain32,
    plain44,
    plain56,
    plain110,
    plain1202,
    resnet20,
    resnet32,
    resnet44,
    resnet56,
    resnet110,
    resnet1202,
)
from .vgg import vgg11, vgg11_lrn, vgg13, vgg16, vgg16c, vgg19
from .zfnet import zfnet

NETWORKS = {network.__name__: network for network in (
    lenet5, lenet5_1998, alexnet, alexnet_owt, zfnet, vgg11, vgg11_lrn, vgg13, vgg16c, vgg16, vgg19, googlenet, googlenet_torchvision,
    resnet18, resnet34, resnet50, resnet101, resnet152, plain18, plain34,
    resnet20, resnet32, resnet44, resnet56, resnet110, resnet1202, plain20, plain32, plain44, plain56, plain110, plain1202)}

__all__ = ["NETWORKS", "GoogLeNetOutputs", "build", "default_input", "find", "names"]
__all__.extend(NETWORKS)


def names():
    """The names of all networks."""
    return list(NETWORKS)


def find(name):
    """The function that makes the network called `name`."""
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}{nearest(name, NETWORKS)} (all: {', '.join(NETWORKS)})")
    return NETWORKS[name]


def build(name, **options):
    """The network called `name`; options are those of its function (num_classes, in_channels, width, image_size, init, and some networks' own)."""
    network = find(name)
    known = signature(network).parameters
    for option in options:
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}{nearest(option, known)} (it has: {', '.join(known)})")
    return network(**options)


def default_input(name):
    """(C, H, W) of the images that the network called `name` takes unless told otherwise."""
    options = signature(find(name)).parameters
    size = options["image_size"].default
    return options["in_channels"].default, size, size
