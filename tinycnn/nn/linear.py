"""Fully connected layers, and the layers that only rearrange."""
import math

from ..tensor import empty, float32
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter


class Identity(Module):
    """y = x. Takes and ignores any arguments, so that it can stand in for any layer."""

    def __init__(self, *args, **options):
        super().__init__()

    def forward(self, x):
        return x


class Linear(Module):
    """y = x w^T + bias. Weight (out_features, in_features) and bias (out_features,) start uniform over (-b, b), b = 1 / sqrt(in_features)."""

    def __init__(self, in_features, out_features, bias=True, device=None, dtype=None):
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        where = {"device": device or "cpu", "dtype": dtype or float32}
        self.weight = Parameter(empty(out_features, in_features, **where))
        self.register_parameter("bias", Parameter(empty(out_features, **where)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self):
        """Draw the initial weights again."""
        draw_as_pytorch_does(self.weight, self.bias)

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self):
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def draw_as_pytorch_does(weight, bias):
    """PyTorch's default for linear and convolutional layers, a Kaiming rule with a = sqrt(5): uniform over (-b, b) with b = 1 / sqrt(fan_in)."""
    if weight.numel():
        init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        fan_in, _ = init.fans(weight)
        bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
        init.uniform_(bias, -bound, bound)


class Flatten(Module):
    """Dimensions start_dim ... end_dim as one: what lies between convolutions and fully connected layers."""

    def __init__(self, start_dim=1, end_dim=-1):
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x):
        return x.flatten(self.start_dim, self.end_dim)

    def extra_repr(self):
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One dimension as several."""

    def __init__(self, dim, unflattened_size):
        super().__init__()
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, x):
        return x.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self):
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
