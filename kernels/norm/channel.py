"""What belongs to a channel: the few numbers by which its elements are computed (the formulas of kernels/norm/cpu.py), worked out in float64, given in x's precision."""
import numpy as np

from ..runtime import jit


@jit
def coefficients(x, weight, bias, mean, var, eps):
    """(centre, scale, shift)"""
    real = x.dtype.type
    centre, scale = real(mean), weight / np.sqrt(var + eps)
    return centre, real(scale), real(bias - (mean - centre) * scale)


@jit
def gradients(x, dbias, product, mean, centre, var, eps, M):
    """(dweight, common, along) from the sum of dy and the sum of dy * (x - centre); dweight in float64."""
    real, inverse_std = x.dtype.type, 1 / np.sqrt(var + eps)
    dweight = (product - (mean - centre) * dbias) * inverse_std
    along = dweight * inverse_std / M
    return dweight, real(dbias / M - (mean - centre) * along), real(along)


@jit
def follow(running_mean, running_var, batches, mean, var, unbiased, momentum):
    """Count a batch, and move the running statistics, of which each may be empty: running = (1 - momentum) * running + momentum * the batch's.

    momentum NaN: 1 / batches.
    """
    batches[()] += 1
    if np.isnan(momentum):
        momentum = 1 / batches[()]
    _move(running_mean, mean, 1.0, momentum)
    _move(running_var, var, unbiased, momentum)


@jit
def _move(running, seen, factor, momentum):
    real = running.dtype.type
    for c in range(running.size):
        running[c] = real(1 - momentum) * running[c] + real(momentum) * real(seen[c] * factor)
