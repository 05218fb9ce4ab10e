"""How a published network becomes a smaller one: fewer channels (`width`), and smaller images.

**Width.** Every number of channels or hidden units is multiplied by `width` and rounded, to at least one per group.

**Image size.** The ImageNet networks halve their maps five times, 224 -> 7. A small image cannot afford that, so as many halvings are left out as keep the last map
at least half as wide as the published 7 x 7:

    image     8    16    28    32    64    112    224
    halved    1     2     3     3     4      5      5      times
    to        4     4     3     4     4      3      7      wide, give or take one by each network's padding

Networks that begin with a strided filter leave out their *first* halvings: an image of 32 pixels is to be looked at before it is shrunk. A filter that loses a
factor of two of its stride loses one of its size as well (11x11/4, 5x5/2, 3x3/1) and is padded so that it loses no border. VGG has looked with 3x3 filters before
each of its pools, and its first maps are by far the most expensive: it leaves out its *last* pools.
A pool that is left out becomes an Identity, so parameters have the same names at any size. At the published size nothing is left out.
"""
from .. import nn
from ..kernels.window import positions

HALVINGS = 5  # of AlexNet, ZFNet, VGG, GoogLeNet, ResNet: 224 / 2^5 = 7
LAST_MAP = 3.5


def scaled(channels, width, groups=1):
    """`channels` times `width`, rounded to a multiple of `groups` and at least one channel in each."""
    if not width > 0:
        raise ValueError(f"width is {width}; it multiplies the number of channels and must be above 0 (1 is the published network)")
    return max(1, round(channels * width / groups)) * groups


def check_image_size(image_size):
    if image_size < 1 or image_size != int(image_size):
        raise ValueError(f"image_size is {image_size}; it is the height and width of the images in pixels, a whole number of at least 1")


def halvings_left_out(image_size, halvings=HALVINGS):
    """How many of a network's halvings an image of this size must go without."""
    check_image_size(image_size)
    left_out = 0
    while left_out < halvings and image_size / 2 ** (halvings - left_out) < LAST_MAP:
        left_out += 1
    return left_out


class Halvings:
    """The halvings of a network that leaves out its first ones, asked for one after the other from input to output."""

    def __init__(self, image_size, halvings=HALVINGS):
        self.to_leave_out = halvings_left_out(image_size, halvings)

    def stride(self, stride=2):
        """The stride that is left of `stride`, a power of two."""
        while stride > 1 and self.to_leave_out:
            stride //= 2
            self.to_leave_out -= 1
        return stride

    def filter(self, size, stride, padding=0):
        """kernel_size, stride and padding that are left of a strided filter."""
        kept = self.stride(stride)
        while stride > kept:
            stride, size = stride // 2, size // 2 | 1  # odd, so that it can be centred
            padding = size // 2
        return {"kernel_size": size, "stride": stride, "padding": padding}

    def pool(self, layer):
        """`layer`, a pool of stride two, or an Identity in its place."""
        return layer if self.stride() == 2 else nn.Identity()


def map_size(layers, size):
    """The width of the maps that a sequence of convolutions and pools makes of an image `size` wide."""
    for layer in layers:
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
            window = (getattr(layer, name, default) for name, default in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)))
            size = positions(size, *(axis[0] if isinstance(axis, tuple) else axis for axis in window), getattr(layer, "ceil_mode", False))
    return size
