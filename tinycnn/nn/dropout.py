"""Dropout: in training, random parts of the signal are set to zero (Srivastava et al. 2014)."""
from . import functional as F
from .module import Module


class _Dropout(Module):
    def __init__(self, p=0.5, inplace=False):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: p is {p}; the probability of dropping must be between 0 and 1")
        self.p = p
        self.inplace = inplace

    def extra_repr(self):
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """In training each element is dropped with probability p, and the others are divided by 1 - p, so that the mean stays. In evaluation nothing happens."""

    def forward(self, x):
        return F.dropout(x, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """Dropout of whole channels: neighbouring pixels are so alike that dropping them one by one would hide little."""

    def forward(self, x):
        return F.dropout2d(x, self.p, self.training, self.inplace)
