"""GoogLeNet: Szegedy et al.: Going Deeper with Convolutions (2015), table 1; and the other network that torchvision ships under this name.

22 layers without large fully connected ones. An inception module looks at its input through 1x1, 3x3 and 5x5 filters and a pool, side by side, and stacks what
they saw; 1x1 convolutions before the large filters keep that cheap. Two auxiliary classifiers half way up give the lower layers a gradient of their own while
training (their losses count 0.3; see the recipe) and are not computed afterwards.

    conv1  pool1  conv2, conv3  pool2  3a   3b   pool3  4a   4b   4c   4d   4e   pool4  5a   5b    average
    112    56     56            28     28   28   14     14   14   14   14   14   7      7    7     1         wide (of 224; pools round up)
    64     64     64, 192       192    256  480  480    512  512  512  528  832  832    832  1024  1024      maps
"""
from collections import namedtuple
from functools import partial

from .. import cat, flatten, nn
from ..nn import init as draws
from .initialise import draw, initialise, weighted
from .parts import response_norm, then_relu
from .scaling import Halvings, map_size, scaled

GoogLeNetOutputs = namedtuple("GoogLeNetOutputs", ("logits", "aux_logits2", "aux_logits1"))  # torchvision's names and order

# Table 1: maps of the 1x1 branch; of the reduction before, and of the 3x3; the same for the 5x5; of the projection behind the pool.
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet(num_classes=1000, in_channels=3, width=1.0, image_size=224, dropout=0.4, aux_logits=True, init="paper"):
    """GoogLeNet as published: biases, LRN, no BatchNorm, real 5x5 filters. 6,998,552 parameters, 1,582,671,872 MACs; with the auxiliary classifiers 13,378,280
    and 1,591,044,096.

    In training mode returns GoogLeNetOutputs(logits, aux_logits2, aux_logits1), in evaluation mode the logits; aux_logits=False leaves the classifiers out.
    The paper gives neither the constants of LRN nor the initialisation. Both are those of Caffe's model of it: n = 5, alpha/n = 1e-4/5, beta = 0.75, k = 1;
    weights uniform with variance 1/fan_in, biases 0.2 but 0 where classes are scored.
    """
    return GoogLeNet(num_classes, in_channels, width, image_size, dropout, aux_logits, init, as_published=True)


def googlenet_torchvision(num_classes=1000, in_channels=3, width=1.0, image_size=224, dropout=0.2, aux_logits=True, init="paper", transform_input=False):
    """torchvision's network of this name: BatchNorm after every convolution instead of biases and LRN, and 3x3 filters where the paper has 5x5.

    6,624,904 parameters, 13,004,888 with the auxiliary classifiers. Parameter names are torchvision's, whose weights it takes; they expect transform_input=True,
    which undoes the usual normalisation of ImageNet's colours in favour of (x - 0.5) / 0.5. init="paper" is torchvision's: normal with deviation 0.01, cut at +-2.
    """
    return GoogLeNet(num_classes, in_channels, width, image_size, dropout, aux_logits, init, as_published=False, transform_input=transform_input)


class ConvReLU(nn.Module):
    """Convolution, BatchNorm unless as published, ReLU."""

    def __init__(self, C, K, as_published, **window):
        super().__init__()
        self.conv = nn.Conv2d(C, K, bias=as_published, **window)
        self.bn = nn.Identity() if as_published else nn.BatchNorm2d(K, eps=0.001)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        if isinstance(self.bn, nn.Identity):
            return then_relu(self.conv, self.relu, x)
        return then_relu(self.bn, self.relu, self.conv(x))


class Inception(nn.Module):
    """Four views of the same maps, stacked: 1x1; 1x1 then 3x3; 1x1 then 5x5; 3x3 max pool then 1x1."""

    def __init__(self, C, one, reduce3, three, reduce5, five, projection, as_published):
        super().__init__()
        conv = partial(ConvReLU, as_published=as_published)
        size = 5 if as_published else 3
        self.branch1 = conv(C, one, kernel_size=1)
        self.branch2 = nn.Sequential(conv(C, reduce3, kernel_size=1), conv(reduce3, three, kernel_size=3, padding=1))
        self.branch3 = nn.Sequential(conv(C, reduce5, kernel_size=1), conv(reduce5, five, kernel_size=size, padding=size // 2))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True), conv(C, projection, kernel_size=1))

    def forward(self, x):
        return cat((self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)), 1)


class AuxiliaryClassifier(nn.Module):
    """5x5 average pool, stride 3 (14x14 maps become 4x4) - 1x1 convolution - fc - dropout 0.7 - scores. On maps below 5x5, one average of all."""

    def __init__(self, C, maps, num_classes, width, as_published):
        super().__init__()
        K, hidden = scaled(128, width), scaled(1024, width)
        pooled = max(0, maps - 5) // 3 + 1
        # torchvision's pool is adaptive: 4x4 windows that overlap less
        self.pool = nn.AvgPool2d(min(5, maps), stride=3) if as_published else nn.AdaptiveAvgPool2d(pooled)
        self.conv = ConvReLU(C, K, as_published, kernel_size=1)
        self.fc1 = nn.Linear(K * pooled ** 2, hidden)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(hidden, num_classes)

    def forward(self, x):
        x = flatten(self.conv(self.pool(x)), 1)
        return self.fc2(self.dropout(self.relu(self.fc1(x))))


class GoogLeNet(nn.Module):
    """Both networks: what differs hangs on as_published."""

    def __init__(self, num_classes, in_channels, width, image_size, dropout, aux_logits, init, as_published, transform_input=False):
        super().__init__()
        if transform_input and in_channels != 3:
            raise ValueError(f"transform_input is for 3 channels, the colours of ImageNet; in_channels is {in_channels}")
        self.transform_input = transform_input
        w, halvings = partial(scaled, width=width), Halvings(image_size)
        conv = partial(ConvReLU, as_published=as_published)
        norm = partial(response_norm, "torch", k=1.0) if as_published else nn.Identity
        last_pool = 3 if as_published else 2

        def inceptions(C, *names):
            """Modules that follow each other, under their names; returns their number of maps."""
            for name in names:
                widths = [w(maps) for maps in INCEPTIONS[name]]
                self.add_module(f"inception{name}", Inception(C, *widths, as_published))
                C = widths[0] + widths[2] + widths[4] + widths[5]
            return C

        self.conv1 = conv(in_channels, w(64), **halvings.filter(7, stride=2, padding=3))
        self.maxpool1 = halvings.pool(nn.MaxPool2d(3, 2, ceil_mode=True))
        self.norm1 = norm()
        self.conv2 = conv(w(64), w(64), kernel_size=1)
        self.conv3 = conv(w(64), w(192), kernel_size=3, padding=1)
        self.norm2 = norm()
        self.maxpool2 = halvings.pool(nn.MaxPool2d(3, 2, ceil_mode=True))
        C3 = inceptions(w(192), "3a", "3b")
        self.maxpool3 = halvings.pool(nn.MaxPool2d(3, 2, ceil_mode=True))
        C4a = inceptions(C3, "4a")
        C4d = inceptions(C4a, "4b", "4c", "4d")
        C4e = inceptions(C4d, "4e")
        self.maxpool4 = halvings.pool(nn.MaxPool2d(last_pool, 2, ceil_mode=True))
        C5 = inceptions(C4e, "5a", "5b")
        if aux_logits:
            maps = map_size((self.conv1.conv, self.maxpool1, self.maxpool2, self.maxpool3), image_size)
            self.aux1 = AuxiliaryClassifier(C4a, maps, num_classes, width, as_published)
            self.aux2 = AuxiliaryClassifier(C4d, maps, num_classes, width, as_published)
        else:
            self.aux1 = self.aux2 = None
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(C5, num_classes)
        initialise(self, init, _as_in_caffe if as_published else _as_in_torchvision)

    def forward(self, x):
        if self.transform_input:
            x = _recentred(x)
        x = self.norm1(self.maxpool1(self.conv1(x)))
        x = self.maxpool2(self.norm2(self.conv3(self.conv2(x))))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x4a = self.inception4a(x)
        x4d = self.inception4d(self.inception4c(self.inception4b(x4a)))
        x = self.maxpool4(self.inception4e(x4d))
        x = self.inception5b(self.inception5a(x))
        logits = self.fc(self.dropout(flatten(self.avgpool(x), 1)))
        if self.training and self.aux1 is not None:
            return GoogLeNetOutputs(logits, self.aux2(x4d), self.aux1(x4a))
        return logits


def _recentred(x):
    """From (pixel - mean) / deviation per colour, as ImageNet is usually normalised, to (pixel - 0.5) / 0.5."""
    colours = ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))  # mean, deviation
    return cat([x[:, i:i + 1] * (deviation / 0.5) + (mean - 0.5) / 0.5 for i, (mean, deviation) in enumerate(colours)], 1)


def _as_in_caffe(model):
    draw(model, partial(draws.kaiming_uniform_, nonlinearity="linear"), bias=0.2)
    for name, layer in model.named_modules():
        if name in ("fc", "aux1.fc2", "aux2.fc2"):
            draws.zeros_(layer.bias)


def _as_in_torchvision(model):
    for layer in weighted(model):
        draws.trunc_normal_(layer.weight, std=0.01, a=-2, b=2)
