"""Batch normalisation on the CPU: what the two memory orders have in common. pixels.py has the kernels for channels-last memory, planes.py those for contiguous memory.

Results lie as x does. What a channel does to its elements is worked out first, in float64 (C numbers), so that an element costs a few instructions in its own precision:

    y = (x - centre) * scale + shift                        centre: the mean in x's precision;  scale = weight / sqrt(var + eps);  shift = bias - (mean - centre) * scale
    dx = scale * (dy - common - (x - centre) * along)       along = dweight / sqrt(var + eps) / M;  common = dbias / M - (mean - centre) * along

The mean's last digits, which float32 has no room for, go into shift and common; subtracting centre is exact where x is near it, so a large mean costs no digits.

Measured (float32, batch 16, ms, contiguous / channels-last, on two cores of an Intel Xeon (Sapphire Rapids, AVX-512) virtual machine; copy 23 GB/s; behind, PyTorch 2.13
likewise, its rectifier and sum in place; minima of 25 alternating rounds):

                           64x112x112                  256x56x56                   192x28x28
    forward                5.3 / 5.8   13.7 / 11.1     5.1 / 5.9   13.6 / 9.6      1.1 / 1.3    2.6 / 1.8
    with rectifier         5.3 / 5.5   16.0 / 13.6     5.0 / 5.6   15.7 / 11.3     1.0 / 0.9    2.9 / 1.8
    and residual           6.6 / 6.6   19.6 / 17.1     6.7 / 6.6   19.3 / 15.2     1.1 / 1.3    3.2 / 2.2
    backward               5.7 / 8.1    8.5 / 13.5     5.4 / 8.0    8.1 / 11.3     1.0 / 1.6    1.4 / 2.1
    with rectifier         5.9 / 8.9   14.2 / 20.1     5.6 / 8.7   13.3 / 17.3     1.0 / 1.4    2.3 / 3.0
    and residual           9.6 / 10.5  14.2 / 20.1     8.7 / 10.3  13.3 / 17.3     1.6 / 1.9    2.3 / 3.0
"""
from math import prod

import numpy as np

from ..memory import empty, flat, in_order_of, lies_channels_last, ordered, past_cache
from ..runtime import contiguous
from . import pixels, planes
from .reference import follow_  # noqa: F401 - a few numbers for each channel


def batch_forward(x, weight, bias, eps, relu=False, added=None):
    """(y, mean, var), the last two float64 (C,). weight and bias (C,) or None; added: an array of x's shape or None."""
    x, C = ordered(x), x.shape[1]
    weight, bias = per_channel(weight, 1, C), per_channel(bias, 0, C)
    y, added = empty(x.shape, x.dtype, x), in_order_of(x, added) if added is not None else np.empty(0, x.dtype)
    if x.size == 0:
        return y, np.zeros(C), np.zeros(C)
    if in_pixels(x):
        mean, var = pixels.statistics(flat(x), C)
        pixels.normalise(flat(x), *coefficients(x.dtype, weight, bias, mean, var, eps), flat(added), relu, past_cache(flat(y)), flat(y))
    else:
        mean, var = np.empty(C), np.empty(C)
        planes.forward(flat(x), *rows(x), weight, bias, float(eps), flat(added), relu, past_cache(flat(y), rows(x)[2]), flat(y), mean, var)
    return y, mean, var


def batch_backward(dy, x, weight, mean, var, eps):
    """(dx, dweight, dbias), the last two (C,) also where weight is None (it is 1 then)."""
    return _backward(dy, x, None, weight, None, mean, var, eps, False)[:3]


def batch_relu_backward(dy, x, y, weight, bias, mean, var, eps):
    """(dx, dweight, dbias, dadded) of the rectified batch_forward. y: what that gave, if something was added; else None, and dadded is None."""
    return _backward(dy, x, y, weight, bias, mean, var, eps, True)


def batch_inference(x, weight, bias, mean, var, eps, relu=False, added=None):
    """y = weight * (x - mean) / sqrt(var + eps) + bias [+ added], with the given mean and variance; rectified if relu."""
    x, C = ordered(x), x.shape[1]
    y, added = empty(x.shape, x.dtype, x), in_order_of(x, added) if added is not None else np.empty(0, x.dtype)
    numbers = coefficients(x.dtype, per_channel(weight, 1, C), per_channel(bias, 0, C), mean.astype(np.float64), var, eps)
    if x.size == 0:
        return y
    if in_pixels(x):
        pixels.normalise(flat(x), *numbers, flat(added), relu, past_cache(flat(y)), flat(y))
    else:
        planes.normalise(flat(x), *rows(x), *numbers, flat(added), relu, past_cache(flat(y), rows(x)[2]), flat(y))
    return y


def _backward(dy, x, y, weight, bias, mean, var, eps, relu):
    x, C, M = ordered(x), x.shape[1], max(1, x.size // x.shape[1])
    dy, mean, inverse_std = in_order_of(x, dy), mean.astype(np.float64), 1 / np.sqrt(var + eps)
    dx, passed = empty(x.shape, x.dtype, x), None if y is None else empty(x.shape, x.dtype, x)
    y, written = (np.empty(0, x.dtype),) * 2 if y is None else (flat(in_order_of(x, y)), flat(passed))
    if x.size == 0:
        return dx, np.zeros(C, x.dtype), np.zeros(C, x.dtype), passed
    centre, scale, shift = coefficients(x.dtype, per_channel(weight, 1, C), per_channel(bias, 0, C), mean, var, eps)
    if in_pixels(x):
        dbias, product = pixels.gradient_sums(flat(dy), flat(x), y, centre, scale, shift, relu, past_cache(written), written)
        dweight = (product - (mean - centre) * dbias) * inverse_std
        along = dweight * inverse_std / M
        common = dbias / M - (mean - centre) * along
        source, masks = (written, False) if y.size else (flat(dy), relu)  # dy that has passed needs no mask any more
        pixels.project(source, flat(x), centre, scale, shift, common, along, masks, past_cache(flat(dx)), flat(dx))
    else:
        dweight, dbias = np.empty(C), np.empty(C)
        planes.backward(flat(dy), flat(x), y, *rows(x), mean, centre, scale, shift, inverse_std, relu, past_cache(flat(dx), rows(x)[2]), written, flat(dx),
                        dweight, dbias)
    return dx, dweight.astype(x.dtype), dbias.astype(x.dtype), passed


def coefficients(dtype, weight, bias, mean, var, eps):
    """centre, scale and shift (see above), (C,) in `dtype`."""
    centre, scale = mean.astype(dtype), weight / np.sqrt(var + np.float64(eps))
    return centre, scale.astype(dtype), (bias - (mean - centre) * scale).astype(dtype)


def per_channel(values, default, C):
    """values (C,) in float64, or where there are none as many times the default."""
    return np.full(C, default, np.float64) if values is None else contiguous(values).astype(np.float64)


def in_pixels(x):
    """Whether the C values of a pixel lie side by side."""
    return lies_channels_last(x) or prod(x.shape[2:]) == 1 or x.shape[1] == 1


def rows(x):
    """(N, C, length) of the contiguous x: N * C rows, one for each channel of each image."""
    return (*x.shape[:2], prod(x.shape[2:]))
