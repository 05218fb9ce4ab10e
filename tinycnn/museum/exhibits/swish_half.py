"""Half of the product rule

y = x * sigmoid(x) is a product of two functions of x. Its derivative has two terms, sigmoid(x) and x * sigmoid'(x); the second was forgotten. Far from zero, where the
sigmoid is flat, nothing shows.

A classic of activations written by hand: SiLU, swish, GELU, mish are all x times something that depends on x
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    return (normal(rng, size(rng, 2, 4), size(rng, 3, 6)),)


def forward(x):
    return x / (1 + np.exp(-x))


def backward(dy, x):
    return dy / (1 + np.exp(-x))


# ---- the repair

FAMILY = "chain rule"


def repaired(dy, x):
    s = 1 / (1 + np.exp(-x))
    return dy * (s + x * s * (1 - s))
