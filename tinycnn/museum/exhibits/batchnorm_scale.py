"""BatchNorm that forgets its own scale

y = gamma * xhat + beta. In the backward dy was multiplied by gamma after a copy of it had been made for the rest of the formula. All tests passed: gamma starts
at 1.

Seen in: denizyuret/Knet.jl, issue 288 (2018), https://github.com/denizyuret/Knet.jl/issues/288
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


def mean(a):
    return a.mean((0, 2, 3), keepdims=True)


def backward(dy, x, gamma, beta):
    xhat, deviation = normalised(x)
    g = dy
    dx = (g - mean(g) - xhat * mean(g * xhat)) / deviation
    return dx, (dy * xhat).sum((0, 2, 3)), dy.sum((0, 2, 3))


# ---- the repair

FAMILY = "missing factor"


def repaired(dy, x, gamma, beta):
    xhat, deviation = normalised(x)
    g = dy * gamma[:, None, None]
    dx = (g - mean(g) - xhat * mean(g * xhat)) / deviation
    return dx, (dy * xhat).sum((0, 2, 3)), dy.sum((0, 2, 3))
