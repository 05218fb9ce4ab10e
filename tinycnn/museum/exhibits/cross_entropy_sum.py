"""A summed loss with an averaged gradient

The gradient of the mean over the batch is divided by its size; that of the sum is not. Here the reduction was an option of the forward that the backward never
heard of.

Seen in: paiml/aprender, pull request 2182 (2026), https://github.com/paiml/aprender/pull/2182; the reverse in jxgu1016/MNIST_center_loss_pytorch, issue 9
(2018)
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    N, C = size(rng, 3, 7), size(rng, 2, 5)
    return normal(rng, N, C), rng.integers(0, C, N)


def probabilities(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def forward(x, labels):
    return -np.log(probabilities(x)[np.arange(len(x)), labels]).sum()


def backward(dy, x, labels):
    return dy * (probabilities(x) - np.eye(x.shape[1])[labels]) / len(x)


# ---- the repair

FAMILY = "batch size"


def repaired(dy, x, labels):
    return dy * (probabilities(x) - np.eye(x.shape[1])[labels])
