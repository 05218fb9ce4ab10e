"""What a 2-D convolution does besides multiplying: how its filter moves, and which channels see which."""
from typing import NamedTuple

from ..window import Window


class Geometry(NamedTuple):
    """stride, padding, dilation: (vertical, horizontal) pairs. groups: channels are cut into that many independent convolutions."""

    stride: tuple = (1, 1)
    padding: tuple = (0, 0)
    dilation: tuple = (1, 1)
    groups: int = 1

    def window(self, filter_size):
        """The window that a filter of (R, S) looks through."""
        return Window(tuple(filter_size), self.stride, self.padding, self.dilation)

    def output_size(self, image, filter_size):
        """(P, Q) of a filter (R, S) on an image (H, W). Raises ValueError where it does not fit."""
        return self.window(filter_size).positions(image)
