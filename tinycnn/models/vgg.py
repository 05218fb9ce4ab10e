"""VGG: Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition (2015), table 1.

Only 3x3 convolutions that keep the map's size, and 2x2 pools that halve it: 224 -> 112 -> 56 -> 28 -> 14 -> 7. Three 3x3 layers see as much as one 7x7, with
27 C^2 weights instead of 49 C^2 and three nonlinearities instead of one.
"""
from functools import partial

from .. import nn
from .initialise import SCHEMES, draw, initialise
from .parts import FeaturesThenClassifier, fully_connected, response_norm
from .scaling import HALVINGS, halvings_left_out, map_size, scaled

# Table 1, one column a line: the number of 3x3 filters (1x1 where marked), each followed by a ReLU.
CONFIGURATIONS = {
    "A": "64 pool 128 pool 256 256 pool 512 512 pool 512 512 pool",
    "A-LRN": "64 lrn pool 128 pool 256 256 pool 512 512 pool 512 512 pool",
    "B": "64 64 pool 128 128 pool 256 256 pool 512 512 pool 512 512 pool",
    "C": "64 64 pool 128 128 pool 256 256 256@1x1 pool 512 512 512@1x1 pool 512 512 512@1x1 pool",
    "D": "64 64 pool 128 128 pool 256 256 256 pool 512 512 512 pool 512 512 512 pool",
    "E": "64 64 pool 128 128 pool 256 256 256 256 pool 512 512 512 512 pool 512 512 512 512 pool",
}


def vgg(configuration, num_classes, in_channels, width, image_size, dropout, init):
    """The network of one column of table 1. Parameter names are torchvision's, whose weights it takes (configurations A, B, D, E).

    torchvision averages the last maps down to 7x7, so larger images than image_size can be given too.
    init="paper" is Glorot's, which the paper says it could have used from the start instead of training the deeper networks from A's layers; A itself began with
    "normal_0.1". Both shrink or blow up the signal of narrow or deep networks: those want "he".
    """
    pools_kept = HALVINGS - halvings_left_out(image_size)
    features, channels = [], in_channels
    for entry in CONFIGURATIONS[configuration].split():
        if entry == "pool":
            features.append(nn.MaxPool2d(2, 2) if pools_kept > 0 else nn.Identity())
            pools_kept -= 1
        elif entry == "lrn":
            features.append(response_norm("paper"))
        else:
            filters, _, one_by_one = entry.partition("@")
            maps = scaled(int(filters), width)
            features += [nn.Conv2d(channels, maps, 1) if one_by_one else nn.Conv2d(channels, maps, 3, padding=1), nn.ReLU(inplace=True)]
            channels = maps
    size = min(7, map_size(features, image_size))
    classifier = fully_connected(channels * size ** 2, scaled(4096, width), num_classes, dropout)
    network = FeaturesThenClassifier(nn.Sequential(*features), classifier, nn.AdaptiveAvgPool2d(size))
    return initialise(network, init, partial(draw, weight=SCHEMES["glorot"]))


def vgg11(num_classes=1000, in_channels=3, width=1.0, image_size=224, dropout=0.5, init="paper"):
    """VGG A, 11 layers: 132,863,336 parameters, 7,609,090,048 MACs."""
    return vgg("A", num_classes, in_channels, width, image_size, dropout, init)


def vgg11_lrn(num_classes=1000, in_channels=3, width=1.0, image_size=224, dropout=0.5, init="paper"):
    """VGG A-LRN: A with AlexNet's response normalisation after the first convolution (the paper found that it does not help). Counts as A."""
    return vgg("A-LRN", num_classes, in_channels, width, image_size, dropout, init)


def vgg13(num_classes=1000, in_channels=3, width=1.0, image_size=224, dropout=0.5, init="paper"):
    """VGG B, 13 layers: 133,047,848 parameters, 11,308,466,176 MACs."""
    return vgg("B", num_classes, in_channels, width, image_size, dropout, init)


def vgg16c(num_classes=1000, in_channels=3, width=1.0, image_size=224, dropout=0.5, init="paper"):
    """VGG C, 16 layers, three of them 1x1: 133,638,952 parameters, 11,770,888,192 MACs. More nonlinear than B, but D, whose layers all look around, is better."""
    return vgg("C", num_classes, in_channels, width, image_size, dropout, init)


def vgg16(num_classes=1000, in_channels=3, width=1.0, image_size=224, dropout=0.5, init="paper"):
    """VGG D, 16 layers: 138,357,544 parameters, 15,470,264,320 MACs."""
    return vgg("D", num_classes, in_channels, width, image_size, dropout, init)


def vgg19(num_classes=1000, in_channels=3, width=1.0, image_size=224, dropout=0.5, init="paper"):
    """VGG E, 19 layers: 143,667,240 parameters, 19,632,062,464 MACs."""
    return vgg("E", num_classes, in_channels, width, image_size, dropout, init)
