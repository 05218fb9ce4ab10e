"""Borders around images."""
from . import functional as F
from .module import Module


class ConstantPad2d(Module):
    """Images with a border of `value`. padding: one width for all sides, or (left, right, top, bottom); negative widths crop."""

    def __init__(self, padding, value):
        super().__init__()
        self.padding = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
        self.value = value
        if len(self.padding) != 4:
            raise ValueError(f"{type(self).__name__}: padding must be one width or (left, right, top, bottom), got {padding!r}")

    def forward(self, x):
        return F.pad(x, self.padding, "constant", self.value)

    def extra_repr(self):
        return f"padding={self.padding}, value={self.value}"


class ZeroPad2d(ConstantPad2d):
    """Images with a border of zeros."""

    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self):
        return f"{self.padding}"
