"""Weights that a checkpoint forgot

A block is computed again in the backward, to save memory, and differentiated with respect to its input only. The weights inside get no gradient and never move.
The network around it trains, so nobody notices.

Seen in: ooples/AiDotNet.Tensors, pull request 643 (2026), https://github.com/ooples/AiDotNet.Tensors/pull/643
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    C, K = size(rng, 2, 4), size(rng, 2, 4)
    return normal(rng, size(rng, 2, 4), C), normal(rng, C, K)


def forward(x, w):
    return np.tanh(x @ w)


def backward(dy, x, w):
    inner = dy * (1 - forward(x, w) ** 2)
    return inner @ w.T, np.zeros_like(w)


# ---- the repair

FAMILY = "no gradient"


def repaired(dy, x, w):
    inner = dy * (1 - forward(x, w) ** 2)
    return inner @ w.T, x.T @ inner
