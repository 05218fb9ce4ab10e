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
    (teams_, sizes), (weight, bias) = _shares(x), map(_contiguous, (weight, bias))
    partial, mean, var, numbers = empty((teams_.parts, 2, C), np.float64), empty((C,), np.float64), empty((C,), np.float64), empty((3, C), x.dtype)
    launch(SOURCE, "sums", (teams_.blocks, teams_.parts), BLOCK, flat(x), partial, *sizes, teams_.part, teams_.size, real=x.dtype)
    launch(SOURCE, "statistics", blocks(C, BLOCK), BLOCK, flat(x), partial, teams_.parts, weight, bias, eps, mean, var, numbers, *sizes, real=x.dtype)
    return _normalise(x, numbers, relu, added), mean, var


def batch_backward(dy, x, weight, mean, var, eps):
    """(dx, dweight, dbias), the last two (C,) also where weight is None (it is 1 then)."""
    return _backward(dy, x, None, weight, None, mean, var, eps, False)[:3]


def batch_relu_backward(dy, x, y, weight, bias, mean, var, eps):
    """(dx, dweight, dbias, dadded) of the rectified batch_forward. y: what that gave, if something was added; else None, and dadded is None."""
    return _backward(dy, x, y, weight, bias, mean, var, eps, True)


def batch_inference(x, weight, bias, mean, var, eps, relu=False, added=None):
    """y = weight * (x - mean) / sqrt(var + eps) + bias [+ added], with the given mean and variance; rectified if relu."""
    x, C = ordered(x), x.shape[1]
    if mean.dtype == var.dtype == x.dtype:
        kernel, mean, var = "running_coefficients", contiguous(mean), contiguous(var)
    else:
        kernel, mean, var = "coefficients", _double(mean), _double(var)
    numbers = empty((3, C), x.dtype)
    launch(SOURCE, kernel, blocks(C, BLOCK), BLOCK, _contiguous(weight), _contiguous(bias), mean, var, eps, numbers, C, real=x.dtype)
    return _normalise(x, numbers, relu, added)


def follow_(running_mean, running_var, batches, mean, var, M, momentum):
    """Move running_mean and running_var (C,), unless None, towards a batch's mean and var; count it in batches (), unless that is None. See the reference."""
    unbiased, fresh = M / max(1, M - 1), -1 if momentum is None else momentum
    followers = [running_mean, running_var] if M else [None, None]
    real = next((running.dtype for running in followers if running is not None), np.float32)
    launch(SOURCE, "follow", 1, BLOCK, *followers, batches, mean, var, unbiased, fresh, mean.size, real=real)


def _shares(x):
    """The teams for sums of every channel, and (elements to a channel, channels, elements to a map if they lie side by side)."""
    before, C, after = around(x, 1)
    return teams(C, before * after, after > 1), (before * after, C, after)


def _contiguous(values):
    return values if values is None else contiguous(values)


def _double(values):
    return contiguous(values) if values.dtype == np.float64 else cast(values, np.dtype(np.float64))


def _normalise(x, numbers, relu, added):
    y = empty_like(x)
    _, C, after = around(x, 1)
    launch(SOURCE, "normalise", blocks(x.size, BLOCK), BLOCK, flat(x), _flat(x, added), numbers, relu, flat(y), x.size, C, after, real=x.dtype)
    return y


def _flat(x, other):
    """The elements of another array in the order of x's, or None."""
    return None if other is None else flat(in_order_of(x, other))


def _backward(dy, x, y, weight, bias, mean, var, eps, relu):
    x, C = ordered(x), x.shape[1]
    dx, passed = empty_like(x), None if y is None else empty_like(x)
    if x.size == 0:
        return dx, *(array_module().zeros((C,), x.dtype) for _ in range(2)), passed
    dweight, dbias, numbers = empty((C,), x.dtype), empty((C,), x.dtype), empty((5, C), x.dtype)
    (teams_, sizes), arrays = _shares(x), (_flat(x, dy), flat(x), _flat(x, y))
    channels = _contiguous(weight), _contiguous(bias), _double(mean), _double(var), eps
    partial = empty((teams_.parts, 2, C), np.float64)
    launch(SOURCE, "gradient_sums", (teams_.blocks, teams_.parts), BLOCK, *arrays, *channels, relu, partial, *sizes, teams_.part, teams_.size, real=x.dtype)
    launch(SOURCE, "parameter_gradients", blocks(C, BLOCK), BLOCK, partial, teams_.parts, *channels, dweight, dbias, numbers, *sizes[:2], real=x.dtype)
    launch(SOURCE, "project", blocks(x.size, BLOCK), BLOCK, *arrays, numbers, relu, flat(dx), _flat(x, passed), x.size, *sizes[1:], real=x.dtype)
    return dx, dweight, dbias, passed
