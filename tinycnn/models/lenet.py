"""LeNet-5: LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition (1998), section II; as it is written today, and as published.

            C1 5x5      S2          C3 5x5      S4        C5    F6   output
    1998    6 x 28x28   6 x 14x14   16 x 10x10  16 x 5x5  120   84   10 radial basis functions      (of 32x32)
    today   6 x 28x28   pool        16 x 10x10  pool      120   84   10 scores

The paper puts 28x28 digits in the middle of 32x32 images, so that strokes can be centred on every filter. Here C1 pads smaller images to that size.
"""
import random
from functools import partial

from .. import flatten, nn, no_grad, tensor
from ..nn import functional as F
from ..nn import init as draws
from .initialise import draw, initialise
from .parts import FeaturesThenClassifier
from .parts import activation as nonlinearity
from .scaling import check_image_size, map_size, scaled

IMAGE = 32

# Table I: which maps of S2 each map of C3 reads. Not all, "to break the symmetry": maps that see different things find different things.
C3_READS = ((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
            (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5), (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
            (0, 1, 2, 3, 4, 5))

# What F6 should look like for each digit: the digit itself, on 7x12 units (in the manner of figure 3).
DIGITS = """
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
..###..  ...##..  ..###..  .#####.  ....##.  .#####.  ...###.  .######  ..###..  ..###..
.##.##.  ..###..  .##.##.  ....##.  ...###.  .##....  ..##...  ....##.  .##.##.  .##.##.
##...##  .####..  ##...##  ...##..  ..####.  .##....  .##....  ....##.  ##...##  ##...##
##...##  ...##..  .....##  ..###..  .##.##.  .####..  ##.....  ...##..  ##...##  ##...##
##...##  ...##..  ....##.  ....##.  ##..##.  ...###.  ##.###.  ...##..  .##.##.  ##...##
##...##  ...##..  ...##..  .....##  #######  .....##  ###..##  ...##..  ..###..  .######
##...##  ...##..  ..##...  .....##  ....##.  .....##  ##...##  ..##...  .##.##.  .....##
##...##  ...##..  .##....  .....##  ....##.  .....##  ##...##  ..##...  ##...##  .....##
.##.##.  ...##..  ##.....  ##..##.  ....##.  ##..##.  .##.##.  ..##...  .##.##.  ...##..
..###..  .######  #######  .####..  ....##.  .####..  ..###..  ..##...  ..###..  ..##...
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
"""


def lenet5(num_classes=10, in_channels=1, width=1.0, image_size=32, activation="relu", pool="max", init="he"):
    """LeNet-5 as it is written today: every map of C3 reads every map of S2, plain pools, a linear output. 61,706 parameters, 416,520 MACs.

    activation: "relu" or "tanh"; pool: "max" or "avg". init="paper" is 1998's, uniform within +-2.4/fan_in.
    """
    if pool not in ("max", "avg"):
        raise ValueError(f"pool is {pool!r}; it can be 'max' or 'avg'")
    w, act = partial(scaled, width=width), partial(nonlinearity, activation)
    half = nn.MaxPool2d if pool == "max" else nn.AvgPool2d
    features = nn.Sequential(
        nn.Conv2d(in_channels, w(6), 5, padding=_border(image_size)), act(), half(2),
        nn.Conv2d(w(6), w(16), 5), act(), half(2))
    classifier = nn.Sequential(
        nn.Linear(w(16) * map_size(features, image_size) ** 2, w(120)), act(),
        nn.Linear(w(120), w(84)), act(),
        nn.Linear(w(84), num_classes))
    return initialise(FeaturesThenClassifier(features, classifier), init, partial(draw, weight=_lecun_))


def lenet5_1998(num_classes=10, in_channels=1, width=1.0, image_size=32, init="paper"):
    """LeNet-5 as published: 60,000 trainable parameters.

    Every layer up to F6 ends in 1.7159 tanh(2a/3). Returns minus the squared distances of F6 to the classes' codes: the largest is the answer, and cross
    entropy of these scores is the paper's loss (equation 9) without its constant for "none of the classes" (j = infinity).
    Paper's initialisation: all weights and biases uniform within +-2.4/fan_in. The codes are not trained.
    """
    return LeNet1998(num_classes, in_channels, width, image_size, init)


class LeNet1998(nn.Module):
    """Modules are called as the paper calls its layers."""

    def __init__(self, num_classes, in_channels, width, image_size, init):
        super().__init__()
        w = partial(scaled, width=width)
        padding = _border(image_size)
        size = ((image_size + 2 * padding - 4) // 2 - 4) // 2  # of S4's maps: 5 of 32
        self.c1 = nn.Conv2d(in_channels, w(6), 5, padding=padding)
        self.s2 = Subsampling(w(6))
        self.c3 = PartialConv2d(w(6), w(16), 5, C3_READS)
        self.s4 = Subsampling(w(16))
        self.c5 = nn.Conv2d(w(16), w(120), size)
        self.f6 = nn.Linear(w(120), w(84))
        self.output = RadialBasis(w(84), num_classes)
        self.squash = nn.ScaledTanh()
        initialise(self, init, _as_published)

    def forward(self, x):
        for layer in (self.c1, self.s2, self.c3, self.s4, self.c5):
            x = self.squash(layer(x))
        return self.output(self.squash(self.f6(flatten(x, 1))))


class Subsampling(nn.Module):
    """coefficient * (sum over each 2x2 window) + bias, one of each per map, both trained."""

    def __init__(self, maps):
        super().__init__()
        self.weight = nn.Parameter(tensor([0.25] * maps))  # the average
        self.bias = nn.Parameter(tensor([0.0] * maps))

    def forward(self, x):
        return F.avg_pool2d(x, 2, divisor_override=1) * self.weight.reshape(-1, 1, 1) + self.bias.reshape(-1, 1, 1)


class PartialConv2d(nn.Module):
    """A convolution in which each output map reads some of the input maps only: there are weights for these connections, and no others.

    reads: for each of the published output maps, the input maps that it reads. Other numbers of maps stretch this table.
    """

    def __init__(self, in_channels, out_channels, kernel_size, reads):
        super().__init__()
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        inputs = [_stretched(reads[k * len(reads) // out_channels], in_channels) for k in range(out_channels)]
        pairs = [(k, c) for k in range(out_channels) for c in inputs[k]]
        self.outputs = [k for k, _ in pairs]  # which map each connection leads to
        self.weight = nn.Parameter(tensor([[0.0] * kernel_size ** 2] * len(pairs)))
        self.bias = nn.Parameter(tensor([0.0] * out_channels))
        places = [k * in_channels + c for k, c in pairs]  # of the connections among all
        self.register_buffer("spread", tensor([[float(place == at) for place in places] for at in range(out_channels * in_channels)]), persistent=False)
        self.draw(lambda fan_in: fan_in ** -0.5)

    def draw(self, reach):
        """Weights and biases uniform within +-reach(fan_in); the fan-in differs from map to map."""
        fan_in = [self.outputs.count(k) * self.kernel_size ** 2 for k in range(self.out_channels)]
        draws.uniform_(self.weight, -1, 1)
        draws.uniform_(self.bias, -1, 1)
        with no_grad():
            self.weight.mul_(tensor([[reach(fan_in[k])] for k in self.outputs]))
            self.bias.mul_(tensor([reach(n) for n in fan_in]))

    def forward(self, x):
        # (K * C, R * S) = (K * C, connections) @ (connections, R * S): zeros where there is no connection
        dense = (self.spread @ self.weight).reshape(self.out_channels, self.in_channels, self.kernel_size, self.kernel_size)
        return F.conv2d(x, dense, self.bias)


def _stretched(row, in_channels, published=6):
    """The maps that a row of C3_READS means where there are `in_channels` instead of six; all, where so few are left that it means none."""
    return [c for c in range(in_channels) if c * published // in_channels in row] or list(range(in_channels))


class RadialBasis(nn.Module):
    """Scores: minus the squared distance of the input to the code of each class.

    Ten classes on 84 units have the digits' drawings as codes; otherwise codes are random, as the paper says they could be. Elements are +1 and -1.
    """

    def __init__(self, units, num_classes):
        super().__init__()
        drawn = units == 84 and num_classes == 10
        self.register_buffer("codes", tensor(_drawings() if drawn else _random_codes(num_classes, units)))

    def forward(self, x):
        return -((x.unsqueeze(1) - self.codes) ** 2).sum(2)  # (N, 1, units) - (classes, units)


def _drawings():
    """[84 numbers] for each digit, row by row: +1 where it is drawn."""
    rows = [line.split() for line in DIGITS.split("\n") if line]
    return [[1.0 if mark == "#" else -1.0 for row in rows for mark in row[digit]] for digit in range(10)]


def _random_codes(num_classes, units):
    draw_from = random.Random(1998)  # always the same codes: they are part of the network, not of its initialisation
    return [[draw_from.choice((-1.0, 1.0)) for _ in range(units)] for _ in range(num_classes)]


def _border(image_size):
    """What C1 adds around an image to bring it to 32 pixels or just above."""
    check_image_size(image_size)
    return max(0, (IMAGE - image_size + 1) // 2)


def _reach(fan_in):
    return 2.4 / fan_in


def _lecun_(weight):
    reach = _reach(weight[0].numel())
    return draws.uniform_(weight, -reach, reach)


def _as_published(model):
    model.c3.draw(_reach)
    for layer in (model.c1, model.s2, model.s4, model.c5, model.f6):
        reach = _reach(4 if isinstance(layer, Subsampling) else layer.weight[0].numel())
        for parameter in (layer.weight, layer.bias):
            draws.uniform_(parameter, -reach, reach)
