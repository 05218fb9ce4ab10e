"""AlexNet: Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks (2012), section 3 and figure 2; and the one-tower form
of Krizhevsky: One weird trick for parallelizing convolutional neural networks (2014), which torchvision ships.

                conv1 11x11/4   pool   conv2 5x5   pool   conv3   conv4   conv5 3x3   pool   fc6    fc7    fc8
    paper       96 x 55x55     27x27   256        13x13   384     384     256         6x6    4096   4096   1000
    2014        64 x 55x55     27x27   192        13x13   384     256     256         6x6    4096   4096   1000

The paper trained on two GPUs, each with half of the maps; conv2, conv4 and conv5 read only the maps of their own GPU, the other layers all. That is a convolution
with two groups: group g of the filters reads group g of the maps.
"""
from functools import partial

from .. import nn
from ..nn import init as draws
from .initialise import SCHEMES, draw, initialise, weighted
from .parts import FeaturesThenClassifier, fully_connected, response_norm
from .parts import activation as nonlinearity
from .scaling import Halvings, map_size, scaled


def alexnet(num_classes=1000, in_channels=3, width=1.0, image_size=227, groups=2, lrn="paper", pool_size=3, activation="relu", dropout=0.5, init="paper"):
    """AlexNet as published: 60,965,224 parameters, 724,406,816 MACs.

    The options switch off, one by one, what the paper argues for: groups=1 (no split), lrn=None (or "torch", Caffe's and PyTorch's reading of alpha),
    pool_size=2 (pools that do not overlap), activation="tanh", dropout=0.
    The paper prints 224 pixels, from which conv1 cannot make its 55x55 maps; 227 can. Its figure pools after normalising, as here. Dropout stands behind fc6 and
    fc7, where the paper has it (torchvision's stands before them).
    Paper's initialisation: N(0, 0.01^2); biases 1 in conv2, conv4, conv5, fc6, fc7 (so that ReLUs start in their linear part), 0 elsewhere.
    """
    w = partial(scaled, width=width, groups=groups)
    relu = partial(nonlinearity, activation)
    halvings = Halvings(image_size)
    features = nn.Sequential(
        nn.Conv2d(in_channels, w(96), **halvings.filter(11, stride=4)), relu(), response_norm(lrn), halvings.pool(nn.MaxPool2d(pool_size, 2)),
        nn.Conv2d(w(96), w(256), 5, padding=2, groups=groups), relu(), response_norm(lrn), halvings.pool(nn.MaxPool2d(pool_size, 2)),
        nn.Conv2d(w(256), w(384), 3, padding=1), relu(),
        nn.Conv2d(w(384), w(384), 3, padding=1, groups=groups), relu(),
        nn.Conv2d(w(384), w(256), 3, padding=1, groups=groups), relu(), halvings.pool(nn.MaxPool2d(pool_size, 2)))
    classifier = fully_connected(w(256) * map_size(features, image_size) ** 2, scaled(4096, width), num_classes, dropout, activation)
    return initialise(FeaturesThenClassifier(features, classifier), init, _as_published)


def alexnet_owt(num_classes=1000, in_channels=3, width=1.0, image_size=224, dropout=0.5, init="paper"):
    """AlexNet in one tower, without groups and LRN: 61,100,840 parameters, 714,188,480 MACs. Parameter names are torchvision's, whose weights it takes.

    torchvision averages the last maps down to 6x6, so larger images than image_size can be given too; smaller image_size classifies the maps as they are.
    The 2014 report gives no initialisation: "paper" is that of 2012, N(0, 0.01^2), with all biases 0.
    """
    w = partial(scaled, width=width)
    halvings = Halvings(image_size)
    features = nn.Sequential(
        nn.Conv2d(in_channels, w(64), **halvings.filter(11, stride=4, padding=2)), nn.ReLU(inplace=True), halvings.pool(nn.MaxPool2d(3, 2)),
        nn.Conv2d(w(64), w(192), 5, padding=2), nn.ReLU(inplace=True), halvings.pool(nn.MaxPool2d(3, 2)),
        nn.Conv2d(w(192), w(384), 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(w(384), w(256), 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(w(256), w(256), 3, padding=1), nn.ReLU(inplace=True), halvings.pool(nn.MaxPool2d(3, 2)))
    maps = min(6, map_size(features, image_size))
    classifier = nn.Sequential(
        nn.Dropout(dropout), nn.Linear(w(256) * maps ** 2, w(4096)), nn.ReLU(inplace=True),
        nn.Dropout(dropout), nn.Linear(w(4096), w(4096)), nn.ReLU(inplace=True),
        nn.Linear(w(4096), num_classes))
    return initialise(FeaturesThenClassifier(features, classifier, nn.AdaptiveAvgPool2d(maps)), init, partial(draw, weight=SCHEMES["normal_0.01"]))


def _as_published(model):
    draw(model, SCHEMES["normal_0.01"])
    _, conv2, _, conv4, conv5, fc6, fc7, _ = weighted(model)
    for layer in (conv2, conv4, conv5, fc6, fc7):
        draws.ones_(layer.bias)
