"""The optimisers' steps on the GPU (optim.cu): one launch for as many parameters as a launch can name."""
from itertools import repeat

import numpy as np

from ..cuda import blocks, launch
from ..cuda.memory import in_order_of, keep, ordered
from ..elementwise.cuda import copy_

SOURCE, BLOCK, EACH, MOST = "optim/optim.cu", 256, 4, 64
MANY = np.dtype([("address", np.int64, (5, MOST)), ("size", np.int64, MOST), ("first", np.int32, MOST), ("count", np.int32)], align=True)  # optim.cu: struct Many


def sgd_(params, grads, buffers, lr, momentum, dampening, weight_decay, nesterov, first):
    """Update params, and buffers unless that is None (no momentum).  first: the buffers hold nothing yet."""
    _step("sgd", params, grads, [buffers], lr, momentum, 1 - dampening, weight_decay, bool(nesterov), bool(first))


def adam_(params, grads, ms, vs, vmaxs, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    """Update params, ms, vs, and vmaxs unless that is None (AMSGrad: the largest v so far takes v's place).  decoupled: AdamW.  step counts from 1."""
    shrink, decay = (1 - lr * weight_decay, 0) if decoupled else (1, weight_decay)
    _step("adam", params, grads, [ms, vs, vmaxs], lr / (1 - beta1**step), 1 - beta1, beta2, 1 - beta2, (1 - beta2**step) ** -0.5, eps, shrink, decay)


def rmsprop_(params, grads, square_avgs, grad_avgs, buffers, lr, alpha, eps, weight_decay, momentum):
    """Update params, square_avgs, and unless they are None grad_avgs (centred) and buffers (momentum)."""
    _step("rmsprop", params, grads, [square_avgs, grad_avgs, buffers], lr, alpha, 1 - alpha, eps, weight_decay, momentum)


def _step(kernel, params, grads, states, *numbers):
    """Launch with the arrays of each parameter lying as it does. One that is in neither order, or a state that lies otherwise, is updated in a copy and copied back."""
    given = [arrays for arrays in zip(params, grads, *(repeat(None) if state is None else state for state in states)) if arrays[0].size]
    lying = [arrays if all([x is None or x.flags.c_contiguous for x in arrays]) else _alike(*arrays) for arrays in given]
    for start in range(0, len(lying), MOST):
        some = lying[start:start + MOST]
        many, needed = _table(some)
        launch(SOURCE, kernel, needed, BLOCK, many, *numbers, real=params[0].dtype)
        keep(*(x for arrays in some for x in arrays if x is not None))
    for arrays, updated in zip(given, lying):
        for x, y in zip((arrays[0], *arrays[2:]), (updated[0], *updated[2:])):  # all but the gradient
            if x is not y:
                copy_(x, y)


def _alike(param, *others):
    """The arrays of a parameter, all in the order of memory of the first."""
    param = ordered(param)
    return param, *(x if x is None else in_order_of(param, x) for x in others)


def _table(lists):
    """(the struct that says where these parameters' arrays are, the number of blocks that they need)"""
    many = np.zeros((), MANY)
    for k, arrays in enumerate(zip(*lists)):
        if arrays[0] is not None:
            many["address"][k, :len(lists)] = [x.data.ptr for x in arrays]
    sizes = [arrays[0].size for arrays in lists]
    ends = np.cumsum([blocks(size, BLOCK * EACH) for size in sizes])
    many["size"][:len(lists)], many["first"][1:len(lists)], many["count"] = sizes, ends[:-1], len(lists)
    return many, int(ends[-1])
