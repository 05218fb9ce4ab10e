"""ResNet: He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition (2015), table 1, and the plain networks that it is compared with.

A block adds what it computes to what it was given, relu(x + F(x)), so that a block that has nothing to add can be silent, and gradients reach every layer through
a chain of additions. Plain networks are the same without the addition: beyond some twenty layers they train worse the deeper they are.

    conv1 7x7/2   pool   layer1  layer2  layer3  layer4  average   fc
    112           56     56      28      14      7       1               wide (of 224)
    64            64     64      128     256     512     512       1000  maps with basic blocks; with bottlenecks layer1 to layer4 have four times as many
"""
from functools import partial

from .. import flatten, nn
from ..nn import functional as F
from .initialise import SCHEMES, draw, initialise
from .parts import then_relu
from .scaling import Halvings, scaled


class BasicBlock(nn.Module):
    """x + (3x3, 3x3), each with BatchNorm."""

    expansion = 1

    def __init__(self, C, K, stride, shortcut):
        super().__init__()
        self.conv1 = nn.Conv2d(C, K, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(K)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(K, K, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(K)
        self.downsample = make_shortcut(shortcut, C, K, stride)
        self.plain = shortcut is None

    def forward(self, x):
        y = then_relu(self.bn1, self.relu, self.conv1(x))
        return then_relu(self.bn2, self.relu, self.conv2(y), None if self.plain else shortcut_of(x, self.downsample))


class Bottleneck(nn.Module):
    """x + (1x1 to a quarter of the maps, 3x3 on these, 1x1 back), each with BatchNorm. A stride stands in the 3x3, or in the first 1x1 (stride_in="1x1")."""

    expansion = 4

    def __init__(self, C, K, stride, shortcut, stride_in="3x3"):
        super().__init__()
        if stride_in not in ("3x3", "1x1"):
            raise ValueError(f"stride_in is {stride_in!r}; it can be '3x3' (torchvision, \"v1.5\") or '1x1' (the paper)")
        first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
        self.conv1 = nn.Conv2d(C, K, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(K)
        self.conv2 = nn.Conv2d(K, K, 3, second, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(K)
        self.conv3 = nn.Conv2d(K, K * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(K * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = make_shortcut(shortcut, C, K * self.expansion, stride)
        self.plain = shortcut is None

    def forward(self, x):
        y = then_relu(self.bn1, self.relu, self.conv1(x))
        y = then_relu(self.bn2, self.relu, self.conv2(y))
        return then_relu(self.bn3, self.relu, self.conv3(y), None if self.plain else shortcut_of(x, self.downsample))


class ZeroPadding(nn.Module):
    """Shortcut A: every stride-th pixel, and zeros for the new maps. No parameters."""

    def __init__(self, new_maps, stride):
        super().__init__()
        self.new_maps, self.stride = new_maps, stride

    def forward(self, x):
        return F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, 0, self.new_maps))


def make_shortcut(option, C, K, stride):
    """What x passes through to be added to a block's result of K maps; None where it can be added as it is (or, in a plain network, is not)."""
    if option not in ("A", "B", "C", None):
        raise ValueError(f"shortcut is {option!r}; it can be 'A' (zero padding), 'B' (projections where the shape changes), 'C' (all projections), "
                         "or None (no shortcuts: a plain network)")
    same_shape = C == K and stride == 1
    if option == "C" or (option == "B" and not same_shape):
        return nn.Sequential(nn.Conv2d(C, K, 1, stride, bias=False), nn.BatchNorm2d(K))
    return ZeroPadding(K - C, stride) if option == "A" and not same_shape else None


def shortcut_of(x, downsample):
    return x if downsample is None else downsample(x)


class ResNet(nn.Module):
    """A stem of one convolution (and a pool), stages of blocks called layer1, layer2, ..., the average over each map, and a linear classifier.

    make_block(C, K, stride): a block. stages: (blocks, maps, stride of the first block) of each stage. Parameter names are torchvision's.
    """

    def __init__(self, stem, maxpool, make_block, expansion, stages, num_classes):
        super().__init__()
        C = stem.out_channels
        self.conv1 = stem
        self.bn1 = nn.BatchNorm2d(C)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = maxpool
        self.stages = [f"layer{i}" for i in range(1, len(stages) + 1)]
        for name, (blocks, maps, stride) in zip(self.stages, stages):
            layer = []
            for i in range(blocks):
                layer.append(make_block(C, maps, stride if i == 0 else 1))
                C = maps * expansion
            self.add_module(name, nn.Sequential(*layer))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(C, num_classes)

    def forward(self, x):
        x = self.maxpool(then_relu(self.bn1, self.relu, self.conv1(x)))
        for name in self.stages:
            x = getattr(self, name)(x)
        return self.fc(flatten(self.avgpool(x), 1))


def imagenet_resnet(block, blocks, num_classes, in_channels, width, image_size, init, **block_options):
    """The networks of table 1: `blocks` of the kind `block` in the four stages.

    init="paper" is He's: weights N(0, 2/fan_in), BatchNorm 1 and 0.
    """
    halvings = Halvings(image_size)
    stem = nn.Conv2d(in_channels, scaled(64, width), **halvings.filter(7, stride=2, padding=3), bias=False)
    maxpool = halvings.pool(nn.MaxPool2d(3, 2, padding=1))
    strides = (1, halvings.stride(), halvings.stride(), halvings.stride())
    stages = [(n, scaled(maps, width), stride) for n, maps, stride in zip(blocks, (64, 128, 256, 512), strides)]
    network = ResNet(stem, maxpool, partial(block, **block_options), block.expansion, stages, num_classes)
    return initialise(network, init, partial(draw, weight=SCHEMES["he"]))


def resnet18(num_classes=1000, in_channels=3, width=1.0, image_size=224, shortcut="B", init="paper"):
    """ResNet-18: 11,689,512 parameters, 1,814,073,344 MACs. shortcut: "A" zero padding, "B" projections where the shape changes, "C" all projections."""
    return imagenet_resnet(BasicBlock, (2, 2, 2, 2), num_classes, in_channels, width, image_size, init, shortcut=shortcut)


def resnet34(num_classes=1000, in_channels=3, width=1.0, image_size=224, shortcut="B", init="paper"):
    """ResNet-34: 21,797,672 parameters, 3,663,761,408 MACs."""
    return imagenet_resnet(BasicBlock, (3, 4, 6, 3), num_classes, in_channels, width, image_size, init, shortcut=shortcut)


def resnet50(num_classes=1000, in_channels=3, width=1.0, image_size=224, shortcut="B", stride_in="3x3", init="paper"):
    """ResNet-50: 25,557,032 parameters, 4,089,184,256 MACs; with stride_in="1x1", as the paper has it, 3,857,973,248."""
    return imagenet_resnet(Bottleneck, (3, 4, 6, 3), num_classes, in_channels, width, image_size, init, shortcut=shortcut, stride_in=stride_in)


def resnet101(num_classes=1000, in_channels=3, width=1.0, image_size=224, shortcut="B", stride_in="3x3", init="paper"):
    """ResNet-101: 44,549,160 parameters, 7,801,405,440 MACs."""
    return imagenet_resnet(Bottleneck, (3, 4, 23, 3), num_classes, in_channels, width, image_size, init, shortcut=shortcut, stride_in=stride_in)


def resnet152(num_classes=1000, in_channels=3, width=1.0, image_size=224, shortcut="B", stride_in="3x3", init="paper"):
    """ResNet-152: 60,192,808 parameters, 11,513,626,624 MACs."""
    return imagenet_resnet(Bottleneck, (3, 8, 36, 3), num_classes, in_channels, width, image_size, init, shortcut=shortcut, stride_in=stride_in)


def plain18(num_classes=1000, in_channels=3, width=1.0, image_size=224, init="paper"):
    """ResNet-18 without shortcuts: 11,515,688 parameters, 1,794,805,760 MACs."""
    return resnet18(num_classes, in_channels, width, image_size, shortcut=None, init=init)


def plain34(num_classes=1000, in_channels=3, width=1.0, image_size=224, init="paper"):
    """ResNet-34 without shortcuts: 21,623,848 parameters, 3,644,493,824 MACs."""
    return resnet34(num_classes, in_channels, width, image_size, shortcut=None, init=init)
