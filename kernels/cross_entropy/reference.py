"""Cross entropy of logits against classes: how many nats the right class was a surprise. logits (N, C, ...), target (N, ...) of class numbers.

    log_probs = log_softmax(logits) over the classes
    loss = -(1 - s) * weight[t] * log_probs[t] - s / C * sum over c of weight[c] * log_probs[c]              t = target, s = label_smoothing; 0 where t is ignore_index

at each place on its own; no weight means 1. The loss is a weighted sum -sum of q[c] * log_probs[c] with q = (1-s) * weight[t] at t plus s/C * weight[c] everywhere,
so its gradient is that of log_softmax:

    dlogits[c] = dloss * (softmax(logits)[c] * sum of q - q[c])

which for plain labels is the famous "probabilities minus one-hot". The mean or sum of the losses is the caller's.
Source of label smoothing: Szegedy et al. 2016, section 7; with weights as PyTorch does it.
"""
import numpy as np

from ..softmax.reference import log_softmax


def forward(logits, target, weight, ignore_index, label_smoothing):
    """(losses of target's shape, log_probs of the logits' shape). weight (C,) or None."""
    check(logits.shape, target, weight, ignore_index)
    log_probs = log_softmax(logits, 1)
    q = _distribution(target, logits.shape[1], weight, ignore_index, label_smoothing, logits.dtype)
    return (q * np.where(q == 0, 0, -log_probs)).sum(1), log_probs  # where q is 0 even an infinite log-probability adds nothing


def backward(dlosses, log_probs, target, weight, ignore_index, label_smoothing):
    """dlogits (N, C, ...) from dlosses of target's shape."""
    q = _distribution(target, log_probs.shape[1], weight, ignore_index, label_smoothing, log_probs.dtype)
    return np.expand_dims(dlosses, 1) * (np.exp(log_probs) * q.sum(1, keepdims=True) - q)


def check(logits_shape, target, weight, ignore_index):
    """Raise unless every target is a class (or ignore_index) and the shapes belong together."""
    check_shapes(logits_shape, target, weight)
    C = logits_shape[1]
    outside = ((target < 0) | (target >= C)) & (target != ignore_index)
    if outside.any():
        where = tuple(int(i) for i in np.argwhere(outside)[0])
        raise IndexError(f"cross_entropy: target{list(where)} is {target[where]}; {C} classes are numbered 0 to {C - 1} (ignore_index is {ignore_index})")


def check_shapes(logits_shape, target, weight):
    """Raise unless the shapes belong together."""
    N, C, *places = logits_shape
    if target.shape != (N, *places):
        raise ValueError(f"cross_entropy: target has shape {target.shape}; logits of {tuple(logits_shape)} (N, classes, ...) want {(N, *places)}")
    if weight is not None and weight.shape != (C,):
        raise ValueError(f"cross_entropy: weight has shape {weight.shape}; {C} classes want ({C},)")


def _distribution(target, C, weight, ignore_index, label_smoothing, dtype):
    """q (N, C, ...): the weights of the log-probabilities in the loss."""
    weight = (np.ones(C, dtype) if weight is None else weight.astype(dtype)).reshape(1, C, *[1] * (target.ndim - 1))
    one_hot = np.expand_dims(target, 1) == np.arange(C).reshape(weight.shape)
    q = ((1 - label_smoothing) * one_hot + label_smoothing / C) * weight
    return np.where(np.expand_dims(target != ignore_index, 1), q, 0).astype(dtype)
