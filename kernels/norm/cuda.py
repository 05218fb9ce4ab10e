"""Batch normalisation on the GPU (norm.cu): the kernels in the order in which they are launched. Nothing is waited for."""
import numpy as np

from ..cuda import array_module, blocks, contiguous, empty, empty_like, launch
from ..cuda.block import BLOCK, teams
from ..cuda.memory import around, flat, in_order_of, ordered
from ..elementwise.cuda import cast

SOURCE = "norm/norm.cu"


def batch_forward(x, weight, bias, eps, relu=False, added=None):
    """(y, mean, var), the last two float64 (C,). weight and bias (C,) or None; added: an array of x's shape or None."""
    x, C = ordered(x), x.shape[1]
    if x.size == 0:
        return empty_like(x), *(array_module().zeros((C,), np.float64) for _ in range(2))
    mean = _means("sums", x)
    var = _means("squares", x, mean)
    return _normalise(x, _coefficients(x.dtype, weight, bias, mean, var, eps), relu, added), mean, var


def batch_backward(dy, x, weight, mean, var, eps):
    """(dx, dweight, dbias), the last two (C,) also where weight is None (it is 1 then)."""
    return _backward(dy, x, None, weight, None, mean, var, eps, False)[:3]


def batch_relu_backward(dy, x, y, weight, bias, mean, var, eps):
    """(dx, dweight, dbias, dadded) of the rectified batch_forward. y: what that gave, if something was added; else None, and dadded is None."""
    return _backward(dy, x, y, weight, bias, mean, var, eps, True)


def batch_inference(x, weight, bias, mean, var, eps, relu=False, added=None):
    """y = weight * (x - mean) / sqrt(var + eps) + bias [+ added], with the given mean and variance; rectified if relu."""
    x = ordered(x)
    return _normalise(x, _coefficients(x.dtype, weight, bias, mean, var, eps), relu, added)


def _means(kernel, x, *others):
    """(C,) float64: a sum of every channel over the number of its elements."""
    teams_, sizes = _shares(x)
    partial, mean = empty((teams_.parts, x.shape[1]), np.float64), empty((x.shape[1],), np.float64)
    launch(SOURCE, kernel, (teams_.blocks, teams_.parts), BLOCK, flat(x), *others, partial, *sizes, teams_.part, teams_.size, real=x.dtype)
    launch(SOURCE, "means", blocks(mean.size, BLOCK), BLOCK, partial, teams_.parts, mean, mean.size, sizes[0], real=x.dtype)
    return mean


def _shares(x):
    """The teams for sums of every channel, and (elements to a channel, channels, elements to a map if they lie side by side)."""
    before, C, after = around(x, 1)
    return teams(C, before * after, after > 1), (before * after, C, after)


def _coefficients(dtype, weight, bias, mean, var, eps):
    """centre, scale and shift (C,) of y = (x - centre) * scale + shift."""
    weight, bias = (values if values is None else contiguous(values) for values in (weight, bias))
    numbers = [empty(mean.shape, dtype) for _ in range(3)]
    launch(SOURCE, "coefficients", blocks(mean.size, BLOCK), BLOCK, weight, bias, _double(mean), _double(var), eps, *numbers, mean.size, real=dtype)
    return numbers


def _double(values):
    return contiguous(values) if values.dtype == np.float64 else cast(values, np.dtype(np.float64))


def _normalise(x, coefficients, relu, added):
    y = empty_like(x)
    _, C, after = around(x, 1)
    launch(SOURCE, "normalise", blocks(x.size, BLOCK), BLOCK, flat(x), _flat(x, added), *coefficients, relu, flat(y), x.size, C, after, real=x.dtype)
    return y


def _flat(x, other):
    """The elements of another array in the order of x's, or None."""
    return None if other is None else flat(in_order_of(x, other))


def _backward(dy, x, y, weight, bias, mean, var, eps, relu):
    x, C = ordered(x), x.shape[1]
    dx, passed = empty_like(x), None if y is None else empty_like(x)
    dweight, dbias, common, along = (array_module().zeros((C,), x.dtype) for _ in range(4))
    if x.size == 0:
        return dx, dweight, dbias, passed
    mean, var, (teams_, sizes) = _double(mean), _double(var), _shares(x)
    arrays, coefficients = (_flat(x, dy), flat(x), _flat(x, y)), _coefficients(x.dtype, weight, bias, mean, var, eps)
    partial = empty((teams_.parts, 2, C), np.float64)
    launch(SOURCE, "gradient_sums", (teams_.blocks, teams_.parts), BLOCK, *arrays, *coefficients, relu, partial, *sizes, teams_.part, teams_.size, real=x.dtype)
    launch(SOURCE, "parameter_gradients", blocks(C, BLOCK), BLOCK, partial, teams_.parts, mean, var, eps, coefficients[0], dweight, dbias, common, along, C, sizes[0],
           real=x.dtype)
    launch(SOURCE, "project", blocks(x.size, BLOCK), BLOCK, *arrays, *coefficients, common, along, relu, flat(dx), passed if passed is None else flat(passed), x.size,
           *sizes[1:], real=x.dtype)
    return dx, dweight, dbias, passed
