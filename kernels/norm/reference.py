"""Batch normalisation (Ioffe & Szegedy 2015): every channel is shifted and scaled to mean 0 and variance 1 over the batch, then to what the network learns.

    mean[c] = sum of x[n, c, ...] / M        var[c] = sum of (x[n, c, ...] - mean[c])^2 / M        M = number of values in a channel: N * H * W
    z = (x - mean) / sqrt(var + eps)         y = weight * z + bias

mean and var depend on x as well, so the gradient has three terms: dy itself, minus its mean (a common shift of x changes nothing), minus its component along z
(nor does a common scale):

    dbias = sum of dy      dweight = sum of dy * z      dx = weight / sqrt(var + eps) * (dy - dbias / M - z * dweight / M)

A rectifier often follows, and in residual networks a sum before it: y = relu(weight * z + bias + add). Then dy counts only where y > 0, and that much of it is the
gradient of `add` as well.

The variance is biased (divided by M): it normalises. The running variance that inference uses follows the unbiased one, M / (M-1) of it.
Both are float64 whatever x is: rounded to float32, a mean 1000 times the deviation would be off by 3e-5 of the deviation.
In two passes, mean first: E[x^2] - E[x]^2 would lose every digit of float32 when the mean is 1000 times the deviation. x is (N, C) or (N, C, any...).
"""
import numpy as np


def batch_forward(x, weight, bias, eps, relu=False, added=None):
    """(y, mean, var), the last two float64 (C,). weight and bias (C,) or None; added: an array of x's shape or None."""
    M = max(1, x.size // x.shape[1])  # an empty batch has mean and variance 0
    mean = _channel_sums(x) / M
    var = _channel_sums((x - _spread(mean, x)) ** 2) / M
    return batch_inference(x, weight, bias, mean, var, eps, relu, added), mean, var


def batch_backward(dy, x, weight, mean, var, eps):
    """(dx, dweight, dbias), the last two (C,) also where weight is None (it is 1 then)."""
    M = max(1, x.size // x.shape[1])
    scale = 1 / np.sqrt(var + eps)
    z = (x - _spread(mean, x)) * _spread(scale, x)
    dbias, dweight = _channel_sums(dy), _channel_sums(dy * z)
    if weight is not None:
        scale = weight * scale
    dx = _spread(scale, x) * (dy - _spread(dbias / M, x) - z * _spread(dweight / M, x))
    return dx.astype(x.dtype), dweight.astype(x.dtype), dbias.astype(x.dtype)


def batch_relu_backward(dy, x, y, weight, bias, mean, var, eps):
    """(dx, dweight, dbias, dadded) of the rectified batch_forward. y: what that gave, if something was added; else None, and dadded is None."""
    rectified = batch_inference(x, weight, bias, mean, var, eps, relu=True) if y is None else y
    passed = np.where(rectified <= 0, dy.dtype.type(0), dy)
    return *batch_backward(passed, x, weight, mean, var, eps), None if y is None else passed


def batch_inference(x, weight, bias, mean, var, eps, relu=False, added=None):
    """y = weight * (x - mean) / sqrt(var + eps) + bias [+ added], with the given mean and variance; rectified if relu."""
    z = (x - _spread(mean, x)) / np.sqrt(_spread(var, x) + eps)
    if weight is not None:
        z = z * _spread(weight, x)
    if bias is not None:
        z = z + _spread(bias, x)
    if added is not None:
        z = z + added
    return (np.maximum(z, 0) if relu else z).astype(x.dtype)


def follow_(running_mean, running_var, batches, mean, var, M, momentum):
    """Move running_mean and running_var (C,), unless None, towards mean and var, float64 (C,), of a batch with M values in a channel:

        running = (1 - momentum) * running + momentum * the batch's         the variance unbiased

    batches, an int64 () or None, counts: it is raised by 1, and with momentum None 1 / batches takes its place, which makes plain averages of all batches.
    """
    if batches is not None:
        batches += 1
    if momentum is None:
        momentum = 1 / batches.item()
    for running, seen in ((running_mean, mean), (running_var, var * (M / max(1, M - 1)))):
        if running is not None and M:  # an empty batch says nothing
            running[...] = (1 - momentum) * running + momentum * seen.astype(running.dtype)


def _channel_sums(a):
    """(C,): the sum of every channel, in float64 at least: M can be a million."""
    return a.sum(axis=(0, *range(2, a.ndim)), dtype=np.result_type(a, np.float64))


def _spread(values, x):
    """values (C,) in a shape that broadcasts over x (N, C, ...)."""
    return values.reshape(-1, *[1] * (x.ndim - 2))
