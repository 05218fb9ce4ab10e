"""Cross entropy on the CPU: log-probabilities by the softmax kernel (kernels/softmax/cpu.py), then one number a row.

Forward is log_softmax and, without label smoothing, a look at one class of each row: too little to share out among threads. Backward reads the log-probabilities,
takes one exponential an element and writes dlogits, each row in one thread. Measured under the conditions given there: forward 0.53 ms (0.08), backward 0.32 (0.09).
"""
import numpy as np
from numba import prange

from ..runtime import contiguous, jit
from ..softmax.cpu import log_softmax
from .reference import check

ROWS = 8  # to a tile


def forward(logits, target, weight, ignore_index, label_smoothing):
    """(losses of target's shape, log_probs of the logits' shape). weight (C,) or None."""
    check(logits.shape, target, weight, ignore_index)
    log_probs = log_softmax(logits, 1)
    losses = np.empty(target.shape, logits.dtype)
    _forward(_rows(log_probs), _flat(target), _weights(weight, log_probs), ignore_index, float(label_smoothing), losses.reshape(-1))
    return losses, log_probs


def backward(dlosses, log_probs, target, weight, ignore_index, label_smoothing):
    """dlogits (N, C, ...) from dlosses of target's shape."""
    rows = _rows(log_probs)
    dlogits = np.empty(rows.shape, rows.dtype)
    _backward(_flat(dlosses), rows, _flat(target), _weights(weight, log_probs), ignore_index, float(label_smoothing), dlogits)
    N, C, *places = log_probs.shape
    return contiguous(np.moveaxis(dlogits.reshape(N, *places, C), -1, 1))


def _rows(a):
    """a (N, C, ...) as (rows, C): a copy, unless there are no dimensions after C."""
    C = a.shape[1]
    return contiguous(np.moveaxis(a, 1, -1)).reshape(a.size // C if C else 0, C)


def _flat(a):
    return contiguous(a).reshape(-1)


def _weights(weight, like):
    return np.ones(like.shape[1], like.dtype) if weight is None else contiguous(weight.astype(like.dtype, copy=False))


@jit
def _forward(log_probs, target, weight, ignore_index, smoothing, losses):
    N, C = log_probs.shape
    for n in range(N):
        loss, t = 0.0, target[n]
        if t != ignore_index:
            loss = -(1 - smoothing) * weight[t] * log_probs[n, t]
            if smoothing > 0:
                total = 0.0
                for c in range(C):
                    if weight[c] != 0:  # even an infinite log-probability adds nothing then
                        total += weight[c] * log_probs[n, c]
                loss -= smoothing / C * total
        losses[n] = loss


@jit(parallel=True)
def _backward(dlosses, log_probs, target, weight, ignore_index, smoothing, dlogits):
    N, C = log_probs.shape
    uniform = (smoothing / C * weight).astype(weight.dtype)  # what smoothing gives every class
    total_uniform = uniform.sum()
    for tile in prange((N + ROWS - 1) // ROWS):
        for n in range(tile * ROWS, min(N, (tile + 1) * ROWS)):
            t, dloss = target[n], dlosses[n]
            if t == ignore_index:
                dlogits[n] = 0
            else:
                sharp = (1 - smoothing) * weight[t]
                total = weight.dtype.type(sharp + total_uniform)
                for c in range(C):
                    dlogits[n, c] = dloss * (np.exp(log_probs[n, c]) * total - uniform[c])
                dlogits[n, t] = dloss * (np.exp(log_probs[n, t]) * total - weight.dtype.type(sharp + uniform[t]))
