"""What a 2-D convolution does besides multiplying: how its filter moves, and which channels see which."""
from typing import NamedTuple

from ..window import positions


class Geometry(NamedTuple):
    """stride, padding, dilation: (vertical, horizontal) pairs. groups: channels are cut into that many independent convolutions."""

    stride: tuple = (1, 1)
    padding: tuple = (0, 0)
    dilation: tuple = (1, 1)
    groups: int = 1

    def output_size(self, image, filter_size):
        """(P, Q) of a filter (R, S) on an image (H, W). Raises ValueError where it does not fit."""
        return tuple(positions(*axis) for axis in zip(image, filter_size, self.stride, self.padding, self.dilation))
