"""Initial values, drawn in place from the engine's seeded generator. Names and arguments are those of torch.nn.init.

Each unit of a layer adds up fan_in products. For the signal to keep its size from layer to layer the weights need a variance of gain^2 / fan_in (forwards) or
gain^2 / fan_out (backwards): Xavier takes the mean of both fans (Glorot, Bengio 2010), Kaiming one of them, with the gain sqrt(2) that makes up for the half
that a ReLU cuts off (He et al. 2015). A uniform distribution over (-a, a) has the variance a^2 / 3.

Weights that will be overwritten or never looked at need not be drawn: VGG-16 has 138 million of them. `with skip():` builds such a network at once.
"""
import math
import threading
from contextlib import contextmanager

import numpy as np

from ..autograd import no_grad
from ..random import generator as engine_generator
from ..tensor import Tensor


class _Skipping(threading.local):
    on = False


_skipping = _Skipping()  # per thread: whether random values are left out


@contextmanager
def skip():
    """Within this block nothing random is drawn: such values stay whatever memory holds, and the generator stays where it is. Constants are still set.

        with nn.init.skip():
            model = models.vgg16()
        model.load_state_dict(weights)
    """
    before, _skipping.on = _skipping.on, True
    try:
        yield
    finally:
        _skipping.on = before


def uniform_(tensor, a=0.0, b=1.0, generator=None):
    """Uniform over [a, b)."""
    if _skipping.on:
        return tensor
    rng = generator or engine_generator()
    return _fill(tensor, a + (b - a) * rng.random(tensor.shape, _drawn(tensor)))


def normal_(tensor, mean=0.0, std=1.0, generator=None):
    """Normal with the given mean and standard deviation."""
    if std < 0:
        raise ValueError(f"normal_: std is {std}; it cannot be negative")
    if _skipping.on:
        return tensor
    rng = generator or engine_generator()
    return _fill(tensor, mean + std * rng.standard_normal(tensor.shape, _drawn(tensor)))


def trunc_normal_(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None):
    """Normal, but values outside [a, b] (absolute bounds, not multiples of std) are drawn again."""
    inside = _normal_cdf((b - mean) / std) - _normal_cdf((a - mean) / std)
    if inside < 0.01:
        raise ValueError(f"trunc_normal_: only {inside:.2%} of a normal distribution with mean {mean} and std {std} lies within [{a}, {b}]")
    if _skipping.on:
        return tensor
    rng = generator or engine_generator()
    values = mean + std * rng.standard_normal(tensor.shape, _drawn(tensor)).reshape(-1)
    outside = np.flatnonzero((values < a) | (values > b))
    while outside.size:
        values[outside] = mean + std * rng.standard_normal(outside.size, _drawn(tensor))
        outside = outside[(values[outside] < a) | (values[outside] > b)]
    return _fill(tensor, values.reshape(tensor.shape))


def constant_(tensor, val):
    """`val` everywhere."""
    return _fill(tensor, np.full((), val))


def ones_(tensor):
    """1 everywhere."""
    return constant_(tensor, 1.0)


def zeros_(tensor):
    """0 everywhere."""
    return constant_(tensor, 0.0)


def eye_(tensor):
    """The identity matrix: a linear layer that passes its input on."""
    if tensor.ndim != 2:
        raise ValueError(f"eye_: only matrices can be an identity, the tensor has shape {tensor.shape}")
    return _fill(tensor, np.eye(*tensor.shape))


def dirac_(tensor, groups=1):
    """The identity of convolutions: in each group, filter k passes channel k on. For filters (K, C/groups, R, S) or with 1 or 3 spatial dimensions."""
    if not 3 <= tensor.ndim <= 5 or tensor.shape[0] % groups:
        raise ValueError(f"dirac_: expected filters of 3 to 5 dimensions, their number divisible by groups={groups}; the tensor has shape {tensor.shape}")
    values = np.zeros(tensor.shape)
    per_group = tensor.shape[0] // groups
    centre = tuple(size // 2 for size in tensor.shape[2:])
    for group in range(groups):
        for k in range(min(per_group, tensor.shape[1])):
            values[(group * per_group + k, k, *centre)] = 1
    return _fill(tensor, values)


def xavier_uniform_(tensor, gain=1.0, generator=None):
    """Uniform with the variance gain^2 * 2 / (fan_in + fan_out)."""
    a = math.sqrt(3.0) * _xavier_std(tensor, gain)
    return uniform_(tensor, -a, a, generator)


def xavier_normal_(tensor, gain=1.0, generator=None):
    """Normal with the variance gain^2 * 2 / (fan_in + fan_out)."""
    return normal_(tensor, 0.0, _xavier_std(tensor, gain), generator)


def kaiming_uniform_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """Uniform with the variance gain^2 / fan. a: the slope of the leaky ReLU that follows, if it is one. mode: whose variance to keep, "fan_in" (the signal's) or
    "fan_out" (the gradient's)."""
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """Normal with the variance gain^2 / fan; arguments as for kaiming_uniform_."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def calculate_gain(nonlinearity, param=None):
    """By how much weights must grow so that the signal keeps its size through a nonlinearity. param: the negative slope of "leaky_relu" (default 0.01)."""
    gains = {"linear": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv3d": 1.0, "conv_transpose1d": 1.0, "conv_transpose2d": 1.0, "conv_transpose3d": 1.0,
             "sigmoid": 1.0, "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4}
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain: unknown nonlinearity {nonlinearity!r}: there are {', '.join([*gains, 'leaky_relu'])}")
    return gains[nonlinearity]


def fans(tensor):
    """(fan_in, fan_out): how many products one output adds up, and in how many outputs one input takes part (at stride 1)."""
    if tensor.ndim < 2:
        raise ValueError(f"fan_in and fan_out need a weight of at least 2 dimensions, the tensor has shape {tensor.shape}")
    taps = math.prod(tensor.shape[2:])
    return tensor.shape[1] * taps, tensor.shape[0] * taps


def _xavier_std(tensor, gain):
    return gain * math.sqrt(2.0 / sum(fans(tensor)))


def _kaiming_std(tensor, a, mode, nonlinearity):
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"kaiming: mode is {mode!r}; it can be 'fan_in' or 'fan_out'")
    fan_in, fan_out = fans(tensor)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan_in if mode == "fan_in" else fan_out)


def _normal_cdf(x):
    return (1 + math.erf(x / math.sqrt(2))) / 2


def _drawn(tensor):
    """The dtype to draw in: NumPy draws float32 and float64."""
    return np.float64 if tensor.dtype == np.float64 else np.float32


def _fill(tensor, values):
    if not isinstance(tensor, Tensor) or not tensor.is_floating:
        raise TypeError(f"init: expected a floating-point tensor, got {tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__}")
    with no_grad():
        return tensor.copy_(values)
