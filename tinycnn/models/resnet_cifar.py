"""The ResNets and plain networks for small images: He, Zhang, Ren, Sun (2015), section 4.2.

A 3x3 convolution, three stages of n basic blocks on 32x32, 16x16 and 8x8 maps, the average, one linear layer: 6n + 2 layers with weights. Shortcuts are of kind A
(no parameters), so the plain network of the same depth has exactly as many parameters.

The test errors on CIFAR-10 are the paper's, in percent.
"""
from functools import partial

from .. import nn
from .initialise import SCHEMES, draw, initialise
from .resnet import BasicBlock, ResNet
from .scaling import Halvings, scaled


def cifar_resnet(n, num_classes, in_channels, width, image_size, shortcut, init):
    """n basic blocks in each of three stages of 16, 32 and 64 maps. init="paper" is He's: weights N(0, 2/fan_in), BatchNorm 1 and 0."""
    halvings = Halvings(image_size, halvings=2)
    stem = nn.Conv2d(in_channels, scaled(16, width), 3, padding=1, bias=False)
    stages = [(n, scaled(maps, width), stride) for maps, stride in ((16, 1), (32, halvings.stride()), (64, halvings.stride()))]
    network = ResNet(stem, nn.Identity(), partial(BasicBlock, shortcut=shortcut), BasicBlock.expansion, stages, num_classes)
    return initialise(network, init, partial(draw, weight=SCHEMES["he"]))


def resnet20(num_classes=10, in_channels=3, width=1.0, image_size=32, shortcut="A", init="paper"):
    """ResNet-20, n = 3: 269,722 parameters, 40,551,040 MACs, error 8.75% in the paper."""
    return cifar_resnet(3, num_classes, in_channels, width, image_size, shortcut, init)


def resnet32(num_classes=10, in_channels=3, width=1.0, image_size=32, shortcut="A", init="paper"):
    """ResNet-32, n = 5: 464,154 parameters, 68,862,592 MACs, error 7.51% in the paper."""
    return cifar_resnet(5, num_classes, in_channels, width, image_size, shortcut, init)


def resnet44(num_classes=10, in_channels=3, width=1.0, image_size=32, shortcut="A", init="paper"):
    """ResNet-44, n = 7: 658,586 parameters, 97,174,144 MACs, error 7.17% in the paper."""
    return cifar_resnet(7, num_classes, in_channels, width, image_size, shortcut, init)


def resnet56(num_classes=10, in_channels=3, width=1.0, image_size=32, shortcut="A", init="paper"):
    """ResNet-56, n = 9: 853,018 parameters, 125,485,696 MACs, error 6.97% in the paper."""
    return cifar_resnet(9, num_classes, in_channels, width, image_size, shortcut, init)


def resnet110(num_classes=10, in_channels=3, width=1.0, image_size=32, shortcut="A", init="paper"):
    """ResNet-110, n = 18: 1,727,962 parameters, 252,887,680 MACs, error 6.43% in the paper (trained with a warm-up: see the recipe)."""
    return cifar_resnet(18, num_classes, in_channels, width, image_size, shortcut, init)


def resnet1202(num_classes=10, in_channels=3, width=1.0, image_size=32, shortcut="A", init="paper"):
    """ResNet-1202, n = 200: 19,421,274 parameters, 2,829,238,912 MACs, error 7.93% in the paper (it overfits)."""
    return cifar_resnet(200, num_classes, in_channels, width, image_size, shortcut, init)


def plain20(num_classes=10, in_channels=3, width=1.0, image_size=32, init="paper"):
    """ResNet-20 without shortcuts."""
    return cifar_resnet(3, num_classes, in_channels, width, image_size, None, init)


def plain32(num_classes=10, in_channels=3, width=1.0, image_size=32, init="paper"):
    """ResNet-32 without shortcuts."""
    return cifar_resnet(5, num_classes, in_channels, width, image_size, None, init)


def plain44(num_classes=10, in_channels=3, width=1.0, image_size=32, init="paper"):
    """ResNet-44 without shortcuts."""
    return cifar_resnet(7, num_classes, in_channels, width, image_size, None, init)


def plain56(num_classes=10, in_channels=3, width=1.0, image_size=32, init="paper"):
    """ResNet-56 without shortcuts."""
    return cifar_resnet(9, num_classes, in_channels, width, image_size, None, init)


def plain110(num_classes=10, in_channels=3, width=1.0, image_size=32, init="paper"):
    """ResNet-110 without shortcuts."""
    return cifar_resnet(18, num_classes, in_channels, width, image_size, None, init)


def plain1202(num_classes=10, in_channels=3, width=1.0, image_size=32, init="paper"):
    """ResNet-1202 without shortcuts. Not in the paper."""
    return cifar_resnet(200, num_classes, in_channels, width, image_size, None, init)
