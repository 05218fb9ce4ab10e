"""ZFNet: Zeiler, Fergus: Visualizing and Understanding Convolutional Networks (2014), figure 3.

    conv1 7x7/2   pool    conv2 5x5/2   pool    conv3   conv4   conv5 3x3   pool   fc6    fc7    fc8
    96 x 110x110  55x55   256 x 26x26   13x13   384     384     256         6x6    4096   4096   1000

AlexNet after looking at what its filters see: conv1's were too coarse (11x11/4 becomes 7x7/2), and conv2 stepped over what conv1 saw. One GPU, so no groups.
"""
from functools import partial

from .. import nn
from .initialise import SCHEMES, draw, initialise
from .parts import FeaturesThenClassifier, fully_connected, response_norm
from .scaling import Halvings, map_size, scaled


def zfnet(num_classes=1000, in_channels=3, width=1.0, image_size=224, lrn="paper", dropout=0.5, init="paper"):
    """ZFNet as published: 62,357,608 parameters, 1,168,032,896 MACs. Normalises after pooling, unlike AlexNet. lrn: "paper", "torch" or None.

    Paper's initialisation: all weights N(0, 0.01^2) (it says "10^-2"), biases 0.
    """
    w = partial(scaled, width=width)
    halvings = Halvings(image_size)
    features = nn.Sequential(
        nn.Conv2d(in_channels, w(96), **halvings.filter(7, stride=2, padding=1)), nn.ReLU(inplace=True),
        halvings.pool(nn.MaxPool2d(3, 2, padding=1)), response_norm(lrn),
        nn.Conv2d(w(96), w(256), **halvings.filter(5, stride=2)), nn.ReLU(inplace=True),
        halvings.pool(nn.MaxPool2d(3, 2, padding=1)), response_norm(lrn),
        nn.Conv2d(w(256), w(384), 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(w(384), w(384), 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(w(384), w(256), 3, padding=1), nn.ReLU(inplace=True), halvings.pool(nn.MaxPool2d(3, 2)))
    classifier = fully_connected(w(256) * map_size(features, image_size) ** 2, w(4096), num_classes, dropout)
    return initialise(FeaturesThenClassifier(features, classifier), init, partial(draw, weight=SCHEMES["normal_0.01"]))
