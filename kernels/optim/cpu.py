"""The optimisers' steps on the CPU, each in one pass over memory (see the reference for the formulas).

An update is a handful of operations per weight, so memory is all that counts. Written with NumPy, Adam makes a dozen passes over arrays of the parameter's
size; here it reads param, grad, m, v and writes param, m, v once: 28 bytes per float32 weight. AlexNet's 61 million weights are 1.7 GB a step.

A tile stays in the cache while one loop after another goes over it. The loops are functions of their own that start at 0, and touch few arrays, because
LLVM vectorises only where it sees that an index is not negative (Python's x[-1]) and that at most eight pairs of arrays need checking for overlap: the same
update in one loop inside the prange runs 3-7x slower.

Measured (8 million float32 weights, two cores of an Intel Xeon (Sapphire Rapids, AVX-512) virtual machine; copy 23 GB/s; PyTorch 2.13's fused form, and its usual one, in
brackets): SGD with momentum 3.6 ms (3.9, 10.1), Adam 6.4 (5.4, 16.6).
"""
from functools import lru_cache

import numpy as np
from numba import prange

from ..runtime import jit
from . import reference

TILE = 1 << 12  # weights to a tile: 16 KB of each float32 array


def sgd_(param, grad, buffer, lr, momentum, dampening, weight_decay, nesterov, first):
    """Update param, and buffer unless it is None (no momentum).  first: the buffer holds nothing yet."""
    if not _in_memory_order(param, grad, buffer):
        return reference.sgd_(param, grad, buffer, lr, momentum, dampening, weight_decay, nesterov, first)
    if first and buffer is not None:
        buffer[...] = 0
    numbers = _scalars(param.dtype, -lr, momentum, 1 if first else 1 - dampening, weight_decay)
    _sgd(_flat(param), _flat(grad), _flat(buffer, param), *numbers, bool(nesterov))


def adam_(param, grad, m, v, vmax, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    """Update param, m, v, and vmax unless it is None (AMSGrad: the largest v so far takes v's place).  decoupled: AdamW.  step counts from 1."""
    if not _in_memory_order(param, grad, m, v, vmax):
        return reference.adam_(param, grad, m, v, vmax, lr, beta1, beta2, eps, weight_decay, decoupled, step)
    scalar = param.dtype.type
    shrink, decay = (1 - lr * weight_decay, 0) if decoupled else (1, weight_decay)
    minus_lr, correction = -lr / (1 - beta1**step), (1 - beta2**step) ** -0.5
    _adam(_flat(param), _flat(grad), _flat(m), _flat(v), _flat(vmax, param), scalar(minus_lr), scalar(1 - beta1), scalar(beta2), scalar(1 - beta2),
          scalar(correction), scalar(eps), scalar(shrink), scalar(decay))


def rmsprop_(param, grad, square_avg, grad_avg, buffer, lr, alpha, eps, weight_decay, momentum):
    """Update param, square_avg, and unless they are None grad_avg (centred) and buffer (momentum)."""
    if not _in_memory_order(param, grad, square_avg, grad_avg, buffer):
        return reference.rmsprop_(param, grad, square_avg, grad_avg, buffer, lr, alpha, eps, weight_decay, momentum)
    scalar = param.dtype.type
    _rmsprop(_flat(param), _flat(grad), _flat(square_avg), _flat(grad_avg, param), _flat(buffer, param), scalar(-lr), scalar(alpha), scalar(1 - alpha),
             scalar(eps), scalar(weight_decay), scalar(momentum))


def _in_memory_order(*arrays):
    """Whether all of them (None aside) can be seen as one flat array without a copy. Where not, the reference updates them through their strides."""
    for array in arrays:
        if array is not None and not array.flags.c_contiguous:
            return False
    return True


@lru_cache
def _scalars(dtype, *numbers):
    """Numbers in the parameters' precision: the same ones for every parameter."""
    return tuple(dtype.type(number) for number in numbers)


def _flat(array, like=None):
    """The flat view of `array`; for None an empty array of like's dtype, by which a kernel knows that it is absent."""
    return np.empty(0, like.dtype) if array is None else array.reshape(-1)


@jit(parallel=True)
def _sgd(param, grad, buffer, minus_lr, momentum, take, decay, nesterov):
    for tile in prange((param.size + TILE - 1) // TILE):
        t = slice(tile * TILE, (tile + 1) * TILE)
        if buffer.size:
            _momentum_tile(param[t], grad[t], buffer[t], minus_lr, momentum, take, decay, nesterov)
        else:
            _descend_tile(param[t], grad[t], minus_lr, decay)


@jit
def _momentum_tile(param, grad, buffer, minus_lr, momentum, take, decay, nesterov):
    for i in range(param.size):
        g = grad[i] + decay * param[i]
        buffer[i] = momentum * buffer[i] + take * g
        param[i] += minus_lr * (g + momentum * buffer[i] if nesterov else buffer[i])


@jit
def _descend_tile(param, grad, minus_lr, decay):
    for i in range(param.size):
        param[i] += minus_lr * (grad[i] + decay * param[i])


@jit(parallel=True)
def _adam(param, grad, m, v, vmax, minus_lr, take1, beta2, take2, correction, eps, shrink, decay):
    for tile in prange((param.size + TILE - 1) // TILE):
        t = slice(tile * TILE, (tile + 1) * TILE)
        _moments_tile(param[t], grad[t], m[t], v[t], take1, beta2, take2, decay)
        if vmax.size:
            _largest_tile(vmax[t], v[t])
        _adam_tile(param[t], m[t], vmax[t] if vmax.size else v[t], minus_lr, correction, eps, shrink)


@jit
def _moments_tile(param, grad, m, v, take1, beta2, take2, decay):
    for i in range(param.size):
        g = grad[i] + decay * param[i]
        m[i] += take1 * (g - m[i])
        v[i] = beta2 * v[i] + take2 * g * g


@jit
def _largest_tile(vmax, v):
    for i in range(v.size):
        vmax[i] = max(vmax[i], v[i])


@jit
def _adam_tile(param, m, v, minus_lr, correction, eps, shrink):
    for i in range(param.size):
        param[i] = shrink * param[i] + minus_lr * (m[i] / (np.sqrt(v[i]) * correction + eps))  # of two divisions one: they take as long as memory


@jit(parallel=True)
def _rmsprop(param, grad, square_avg, grad_avg, buffer, minus_lr, alpha, take, eps, decay, momentum):
    for tile in prange((param.size + TILE - 1) // TILE):
        t = slice(tile * TILE, (tile + 1) * TILE)
        _averages_tile(param[t], grad[t], square_avg[t], grad_avg[t], alpha, take, decay)
        _rmsprop_tile(param[t], grad[t], square_avg[t], grad_avg[t], buffer[t], minus_lr, eps, decay, momentum)


@jit
def _averages_tile(param, grad, square_avg, grad_avg, alpha, take, decay):
    for i in range(param.size):
        g = grad[i] + decay * param[i]
        square_avg[i] = alpha * square_avg[i] + take * g * g
        if grad_avg.size:
            grad_avg[i] += take * (g - grad_avg[i])


@jit
def _rmsprop_tile(param, grad, square_avg, grad_avg, buffer, minus_lr, eps, decay, momentum):
    for i in range(param.size):
        g = grad[i] + decay * param[i]
        variance = square_avg[i]
        if grad_avg.size:
            variance -= grad_avg[i] * grad_avg[i]
        g /= np.sqrt(variance) + eps
        if buffer.size:
            buffer[i] = g = momentum * buffer[i] + g
        param[i] += minus_lr * g
