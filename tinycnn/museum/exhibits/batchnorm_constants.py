"""BatchNorm with its statistics taken for constants

Mean and variance are computed from x, so every x of a channel acts on every y of that channel. Without the two terms that say so, dy is only scaled: right in
inference, where the statistics are constants, and wrong in training. The sum of the outputs does not depend on x at all, so a check of sum(y) finds nothing:
both sides are zero.

A classic: Ioffe and Szegedy (2015), section 2, describe it: a step that ignores how the statistics depend on the parameters leaves the loss as it was while a
bias grows without bound
"""
from tinycnn.museum.tools import normal, size


def inputs(rng):
    C = size(rng, 2, 3)
    return normal(rng, size(rng, 2, 3), C, size(rng, 2, 3), size(rng, 2, 3)), rng.uniform(0.5, 2, C), normal(rng, C)


def normalised(x):
    """(xhat, standard deviation) per channel."""
    deviation = (x.var((0, 2, 3), keepdims=True) + 1e-5) ** 0.5
    return (x - x.mean((0, 2, 3), keepdims=True)) / deviation, deviation


def forward(x, gamma, beta):
    return gamma[:, None, None] * normalised(x)[0] + beta[:, None, None]


def backward(dy, x, gamma, beta):
    xhat, deviation = normalised(x)
    g = dy * gamma[:, None, None]
    dx = g / deviation
    return dx, (dy * xhat).sum((0, 2, 3)), dy.sum((0, 2, 3))


# ---- the repair

FAMILY = "missing term"


def mean(a):
    return a.mean((0, 2, 3), keepdims=True)


def repaired(dy, x, gamma, beta):
    xhat, deviation = normalised(x)
    g = dy * gamma[:, None, None]
    dx = (g - mean(g) - xhat * mean(g * xhat)) / deviation
    return dx, (dy * xhat).sum((0, 2, 3)), dy.sum((0, 2, 3))
