"""Nonlinearities."""
from ..autograd.function import recording
from . import functional as F
from .module import Module


class ReLU(Module):
    """max(0, x). inplace: written over x, which nobody must need any more."""

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, x):
        return F.relu(x, self.inplace)

    def extra_repr(self):
        return "inplace=True" if self.inplace else ""


def together(layer, relu):
    """Whether relu(layer(x)) may be computed as one operation, layer.forward_relu(x).

    Not where somebody listens to either of the two, has given it another forward, or notes what each layer does (tools/trace.py, for `tinycnn.fuse`).
    """
    return (type(relu) is ReLU and not recording.apart
            and not any(one._forward_pre_hooks or one._forward_hooks or one._backward_hooks or "forward" in vars(one) for one in (layer, relu)))


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x):
        return F.tanh(x)


class ScaledTanh(Module):
    """1.7159 tanh(2x/3): the nonlinearity of the 1998 LeNet-5, which maps 1 to 1 and -1 to -1 (LeCun, Bottou, Bengio, Haffner 1998, appendix A)."""

    def forward(self, x):
        return F.tanh(x * (2 / 3)) * 1.7159


class Sigmoid(Module):
    """1 / (1 + e^-x)"""

    def forward(self, x):
        return F.sigmoid(x)


class Softmax(Module):
    """e^x / (the sum of e^x over dimension dim)"""

    def __init__(self, dim=None):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return F.softmax(x, self.dim)

    def extra_repr(self):
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """The logarithm of Softmax, without computing it."""

    def __init__(self, dim=None):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return F.log_softmax(x, self.dim)

    def extra_repr(self):
        return f"dim={self.dim}"
