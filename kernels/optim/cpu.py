"""The optimisers' steps on the CPU, each in one pass over memory (see the reference for the formulas).

An update is a handful of operations per weight, so memory is all that counts. Written with NumPy, Adam makes a dozen passes over arrays of the parameter's
size; here it reads param, grad, m, v and writes param, m, v once: 28 bytes per float32 weight. AlexNet's 61 million weights are 1.7 GB a step.

All parameters of a call are one parallel loop. GoogLeNet has 187, 126 of them below 5000 numbers: a step of those takes 0.45 ms (SGD) and 0.55 (Adam) of two Zen 4 cores,
0.52 and 0.85 with a loop for each; larger ones take as long as before.
Numba takes no list of arrays that would not cost as much; so Python writes down a table of tasks, a row for each tile of each parameter: the address at which the tile
begins in each array (0 in one that there is not), and how many weights it has. The lists that the caller holds keep the memory in place.

A tile stays in the cache while one loop after another goes over it. The loops are functions of their own that start at 0, and touch few arrays, because
LLVM vectorises only where it sees that an index is not negative (Python's x[-1]) and that at most eight pairs of arrays need checking for overlap: the same
update in one loop inside the prange runs 3-7x slower.

Measured (8 million float32 weights, two cores of an Intel Xeon (Sapphire Rapids, AVX-512) virtual machine; copy 23 GB/s; PyTorch 2.13's fused form, and its usual one, in
brackets): SGD with momentum 3.6 ms (3.9, 10.1), Adam 6.4 (5.4, 16.6).
"""
from ctypes import addressof, c_char
from itertools import repeat

import numpy as np
from numba import carray, prange, types
from numba.extending import intrinsic

from ..graph.record import constant
from ..runtime import jit
from . import reference

TILE = 1 << 12  # weights to a tile: 16 KB of each float32 array


def sgd_(params, grads, buffers, lr, momentum, dampening, weight_decay, nesterov, first):
    """Update params, and buffers unless that is None (no momentum).  first: the buffers hold nothing yet."""
    for buffer in buffers or () if first else ():
        buffer[...] = 0
    like, tasks, others = _tasks(params, grads, buffers)
    _sgd(like, tasks, *_scalars(like, -lr, momentum, 1 if first else 1 - dampening, weight_decay), bool(nesterov))
    for lists in others:
        reference.sgd_(*lists, lr, momentum, dampening, weight_decay, nesterov, first)


def adam_(params, grads, ms, vs, vmaxs, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    """Update params, ms, vs, and vmaxs unless that is None (AMSGrad: the largest v so far takes v's place).  decoupled: AdamW.  step counts from 1."""
    like, tasks, others = _tasks(params, grads, ms, vs, vmaxs)
    shrink, decay = (1 - lr * weight_decay, 0) if decoupled else (1, weight_decay)
    _adam(like, tasks, *_scalars(like, -lr / (1 - beta1**step), 1 - beta1, beta2, 1 - beta2, (1 - beta2**step) ** -0.5, eps, shrink, decay))
    for lists in others:
        reference.adam_(*lists, lr, beta1, beta2, eps, weight_decay, decoupled, step)


def rmsprop_(params, grads, square_avgs, grad_avgs, buffers, lr, alpha, eps, weight_decay, momentum):
    """Update params, square_avgs, and unless they are None grad_avgs (centred) and buffers (momentum)."""
    like, tasks, others = _tasks(params, grads, square_avgs, grad_avgs, buffers)
    _rmsprop(like, tasks, *_scalars(like, -lr, alpha, 1 - alpha, eps, weight_decay, momentum))
    for lists in others:
        reference.rmsprop_(*lists, lr, alpha, eps, weight_decay, momentum)


def _scalars(like, *numbers):
    """Numbers in the parameters' precision."""
    return [like.dtype.type(number) for number in numbers]


def _tasks(params, *others):
    """(an empty array of the parameters' dtype, the table of tasks, lists of the arrays of each parameter that cannot be seen as flat ones: those are the reference's)"""
    addresses, sizes, rest = [], [], []
    for arrays in zip(params, *(repeat(None) if arrays is None else arrays for arrays in others)):
        if not arrays[0].size:
            continue
        if all([array is None or array.flags.c_contiguous for array in arrays]):
            addresses.append([0 if array is None else _address(array) for array in arrays])
            sizes.append(arrays[0].size)
        else:
            rest.append([None if array is None else [array] for array in arrays])
    like, sizes = np.empty(0, params[0].dtype), np.array(sizes, np.int64)
    tiles = (sizes + TILE - 1) // TILE
    parameter = np.repeat(np.arange(len(sizes)), tiles)
    start = TILE * (np.arange(len(parameter)) - np.repeat(np.cumsum(tiles) - tiles, tiles))
    tasks = np.empty((len(parameter), 2 + len(others)), np.int64)
    begin = np.array(addresses, np.int64).reshape(len(sizes), 1 + len(others))[parameter]
    tasks[:, :-1] = np.where(begin, begin + like.itemsize * start[:, None], 0)
    tasks[:, -1] = np.minimum(TILE, sizes[parameter] - start)
    return like, constant(tasks), rest


def _address(array):
    """Where a contiguous array begins: by its buffer, 0.3 us, if that can be had; __array_interface__ takes 1.4."""
    return addressof(c_char.from_buffer(array)) if array.flags.writeable else array.__array_interface__["data"][0]


@intrinsic
def _pointer(typing, address, like):
    """The address as a pointer to numbers of like's dtype."""
    kind = types.CPointer(like.dtype)

    def emit(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(kind))
    return kind(address, like), emit


@jit
def _array(task, k, like):
    """Array number k of a task: its tile, or nothing."""
    return carray(_pointer(task[k], like), (task[-1] if task[k] else 0,))


@jit(parallel=True)
def _sgd(like, tasks, minus_lr, momentum, take, decay, nesterov):
    for t in prange(len(tasks)):
        param, grad, buffer = _array(tasks[t], 0, like), _array(tasks[t], 1, like), _array(tasks[t], 2, like)
        if buffer.size:
            _momentum_tile(param, grad, buffer, minus_lr, momentum, take, decay, nesterov)
        else:
            _descend_tile(param, grad, minus_lr, decay)


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
def _adam(like, tasks, minus_lr, take1, beta2, take2, correction, eps, shrink, decay):
    for t in prange(len(tasks)):
        param, grad, m, v, vmax = _array(tasks[t], 0, like), _array(tasks[t], 1, like), _array(tasks[t], 2, like), _array(tasks[t], 3, like), _array(tasks[t], 4, like)
        _moments_tile(param, grad, m, v, take1, beta2, take2, decay)
        if vmax.size:
            _largest_tile(vmax, v)
        _adam_tile(param, m, vmax if vmax.size else v, minus_lr, correction, eps, shrink)


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
def _rmsprop(like, tasks, minus_lr, alpha, take, eps, decay, momentum):
    for t in prange(len(tasks)):
        param, grad, square_avg, grad_avg, buffer = (_array(tasks[t], 0, like), _array(tasks[t], 1, like), _array(tasks[t], 2, like), _array(tasks[t], 3, like),
                                                     _array(tasks[t], 4, like))
        _averages_tile(param, grad, square_avg, grad_avg, alpha, take, decay)
        _rmsprop_tile(param, grad, square_avg, grad_avg, buffer, minus_lr, eps, decay, momentum)


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
