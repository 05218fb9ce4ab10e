"""One step of SGD, Adam, AdamW and RMSprop, in place: the formulas of PyTorch in PyTorch's order of operations.

A step is taken for many parameters in one call, as a network has hundreds and many of them are small: `params`, `grads` and each state are lists of arrays, a
parameter's at one place in all of them, or None for a state that there is not. All arrays have one dtype.
For one of them, with g the gradient, plus weight_decay * param where the decay is L2 regularisation (everywhere but in AdamW):

    SGD       b = momentum * b + (1 - dampening) * g         the buffer; on the first step b = g
              param -= lr * b                                or lr * (g + momentum * b) with Nesterov, or lr * g without momentum
    Adam      m += (1 - beta1) * (g - m)                     running means of g and of g^2,
              v = beta2 * v + (1 - beta2) * g^2              which start at 0 and hence lack a factor 1 - beta^step:
              param -= lr / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + eps)
    AdamW     Adam, but param *= 1 - lr * weight_decay first, and g is the bare gradient
    RMSprop   s = alpha * s + (1 - alpha) * g^2
              param -= lr * b,   b = momentum * b + g / (sqrt(s) + eps)     centred: sqrt(s - a^2) with a the running mean of g

Sources: Polyak 1964 and Nesterov 1983 as in Sutskever et al. 2013; Kingma & Ba 2015 (AMSGrad: Reddi et al. 2018); Loshchilov & Hutter 2019; Tieleman &
Hinton 2012 (centred: Graves 2013). The learning rate multiplies b, not g inside b as in Sutskever's: they differ once the learning rate changes.
"""
from itertools import repeat

import numpy as np


def sgd_(params, grads, buffers, lr, momentum, dampening, weight_decay, nesterov, first):
    """Update params, and buffers unless that is None (no momentum).  first: the buffers hold nothing yet."""
    for param, grad, buffer in each(params, grads, buffers):
        g = grad + weight_decay * param if weight_decay else grad
        if buffer is not None:
            buffer[...] = g if first else momentum * buffer + (1 - dampening) * g
            g = g + momentum * buffer if nesterov else buffer
        param -= lr * g


def adam_(params, grads, ms, vs, vmaxs, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    """Update params, ms, vs, and vmaxs unless that is None (AMSGrad: the largest v so far takes v's place).  decoupled: AdamW.  step counts from 1."""
    for param, grad, m, v, vmax in each(params, grads, ms, vs, vmaxs):
        if decoupled:
            param *= 1 - lr * weight_decay
        g = grad + weight_decay * param if weight_decay and not decoupled else grad
        m += (1 - beta1) * (g - m)
        v[...] = beta2 * v + (1 - beta2) * g * g
        if vmax is not None:
            np.maximum(vmax, v, out=vmax)
        denominator = np.sqrt(v if vmax is None else vmax) / (1 - beta2**step) ** 0.5 + eps
        param -= lr / (1 - beta1**step) * (m / denominator)


def rmsprop_(params, grads, square_avgs, grad_avgs, buffers, lr, alpha, eps, weight_decay, momentum):
    """Update params, square_avgs, and unless they are None grad_avgs (centred) and buffers (momentum)."""
    for param, grad, square_avg, grad_avg, buffer in each(params, grads, square_avgs, grad_avgs, buffers):
        g = grad + weight_decay * param if weight_decay else grad
        square_avg[...] = alpha * square_avg + (1 - alpha) * g * g
        variance = square_avg
        if grad_avg is not None:
            grad_avg += (1 - alpha) * (g - grad_avg)
            variance = square_avg - grad_avg * grad_avg
        g = g / (np.sqrt(variance) + eps)
        if buffer is not None:
            buffer[...] = momentum * buffer + g
            g = buffer
        param -= lr * g


def each(params, *others):
    """The arrays of one parameter after another: (param, ...), with None for what there is not."""
    return zip(params, *(repeat(None) if arrays is None else arrays for arrays in others))
