"""Batch normalisation on the CPU: what the two memory orders have in common. pixels.py has the kernels for channels-last memory, planes.py those for contiguous memory.

Results lie as x does. What a channel does to its elements is worked out first, in float64 (C numbers), so that an element costs a few instructions in its own precision:

    y = (x - centre) * scale + shift                        centre: the mean in x's precision;  scale = weight / sqrt(var + eps);  shift = bias - (mean - centre) * scale
    dx = scale * (dy - common - (x - centre) * along)       along = dweight / sqrt(var + eps) / M;  common = dbias / M - (mean - centre) * along

The mean's last digits, which float32 has no room for, go into shift and common; subtracting centre is exact where x is near it, so a large mean costs no digits.

Measured (float32, batch 16, ms, contiguous / channels-last, on two cores of an Intel Xeon (Sapphire Rapids, AVX-512) virtual machine; copy 23 GB/s; behind, PyTorch 2.13
likewise, its rectifier and sum in place; minima of 25 alternating rounds, always on the same arrays):

                           64x112x112                  256x56x56                   192x28x28
    forward                5.3 / 4.9   14.2 / 11.2     5.4 / 5.7   14.4 / 10.7     1.1 / 0.9    2.6 / 1.4
    with rectifier         5.4 / 4.9   17.0 / 14.2     5.4 / 5.6   16.5 / 13.7     1.1 / 0.8    2.9 / 1.8
    and residual           6.6 / 6.5   21.0 / 17.2     7.2 / 7.0   20.1 / 17.7     1.4 / 1.2    3.5 / 2.4
    backward               5.6 / 8.2    8.6 / 14.6     6.0 / 8.4    8.4 / 12.0     1.3 / 1.5    1.5 / 2.1
    with rectifier         5.9 / 8.2   14.7 / 19.7     6.3 / 8.3   14.0 / 18.1     1.1 / 1.1    2.6 / 3.3
    and residual           9.7 / 10.0  14.7 / 19.7     9.5 / 10.3  14.1 / 17.8     1.7 / 1.8    2.6 / 3.2

All 59 of GoogLeNet's, with rectifiers, in a step of its training at batch 16: forward 30 ms, backward 49.
"""
from math import prod

import numpy as np

from ..memory import empty, flat, in_order_of, lies_channels_last, ordered, past_cache
from ..runtime import contiguous
from . import channel, pixels, planes


def batch_forward(x, weight, bias, eps, relu=False, added=None):
    """(y, mean, var), the last two float64 (C,). weight and bias (C,) or None; added: an array of x's shape or None."""
    x, C = ordered(x), x.shape[1]
    y, mean, var = empty(x.shape, x.dtype, x), np.zeros(C), np.zeros(C)
    if x.size:
        (kernels, sizes), out = kernels_for(x), flat(y)
        kernels.forward(flat(x), *sizes, per_channel(weight, 1, x), per_channel(bias, 0, x), float(eps), alike(x, added), relu,
                        past_cache(out, sizes[-1]), out, mean, var)
    return y, mean, var


def batch_backward(dy, x, weight, mean, var, eps):
    """(dx, dweight, dbias), the last two (C,) also where weight is None (it is 1 then)."""
    return _backward(dy, x, None, weight, None, mean, var, eps, False)[:3]


def batch_relu_backward(dy, x, y, weight, bias, mean, var, eps):
    """(dx, dweight, dbias, dadded) of the rectified batch_forward. y: what that gave, if something was added; else None, and dadded is None."""
    return _backward(dy, x, y, weight, bias, mean, var, eps, True)


def batch_inference(x, weight, bias, mean, var, eps, relu=False, added=None):
    """y = weight * (x - mean) / sqrt(var + eps) + bias [+ added], with the given mean and variance; rectified if relu."""
    x = ordered(x)
    y = empty(x.shape, x.dtype, x)
    if x.size:
        (kernels, sizes), out = kernels_for(x), flat(y)
        kernels.normalise(flat(x), *sizes, per_channel(weight, 1, x), per_channel(bias, 0, x), contiguous(mean), contiguous(var), float(eps), alike(x, added), relu,
                          past_cache(out, sizes[-1]), out)
    return y


def follow_(running_mean, running_var, batches, mean, var, M, momentum):
    """Move running_mean and running_var (C,), unless None, towards a batch's mean and var; count it in batches (), unless that is None. See the reference."""
    nothing = np.empty(0, mean.dtype)
    running_mean, running_var = (nothing if running is None or not M else running for running in (running_mean, running_var))
    batches = np.zeros((), np.int64) if batches is None else batches
    channel.follow(running_mean, running_var, batches, mean, var, M / max(1, M - 1), np.nan if momentum is None else float(momentum))


def _backward(dy, x, y, weight, bias, mean, var, eps, relu):
    x, C = ordered(x), x.shape[1]
    dx, dweight, dbias = empty(x.shape, x.dtype, x), np.zeros(C, x.dtype), np.zeros(C, x.dtype)
    passed = None if y is None else empty(x.shape, x.dtype, x)
    if x.size:
        (kernels, sizes), out = kernels_for(x), flat(dx)
        dy = pixels.pieces(dy, x) if kernels is pixels else (alike(x, dy),)
        kernels.backward(*dy, flat(x), alike(x, y), *sizes, per_channel(weight, 1, x), per_channel(bias, 0, x), contiguous(mean), contiguous(var), float(eps), relu,
                         past_cache(out, sizes[-1]), alike(x, passed), out, dweight, dbias)
    return dx, dweight, dbias, passed


def kernels_for(x):
    """(pixels or planes, the sizes that its kernels want): pixels where the C values of a pixel lie side by side."""
    N, C, *places = x.shape
    if lies_channels_last(x) or prod(places) == 1 or C == 1:
        return pixels, (pixels.period(C, x.dtype),)
    return planes, (N, C, prod(places))


def per_channel(values, default, x):
    """values (C,), or where there are none as many times the default."""
    return np.full(x.shape[1], default, x.dtype) if values is None else contiguous(values)


def alike(x, other):
    """The elements of another array, or of none, in the order of x's."""
    return np.empty(0, x.dtype) if other is None else flat(in_order_of(x, other))
