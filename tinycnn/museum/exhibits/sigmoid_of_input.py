"""The right formula of the wrong number

The derivative of the sigmoid is y * (1 - y), of its output. The forward kept x, and the backward used what was kept.

Seen in: a printed solution in "Deep Learning Interviews", BoltzmannEntropy/interviews.ai, issue 15 (2025),
https://github.com/BoltzmannEntropy/interviews.ai/issues/15
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    return (normal(rng, size(rng, 2, 4), size(rng, 4, 6)),)


def forward(x):
    return 1 / (1 + np.exp(-x))


def backward(dy, x):
    return dy * x * (1 - x)


# ---- the repair

FAMILY = "input for output"


def repaired(dy, x):
    y = forward(x)
    return dy * y * (1 - y)
