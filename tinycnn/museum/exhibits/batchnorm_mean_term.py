"""BatchNorm without the term of the mean

The variance is differentiated, the mean is not: what is missing is the same number for every element of a channel, the mean of what arrives.

A classic of derivations by hand; which terms belong there is asked of Caffe, issue 3878 (2016), and of darknet, pull request 29 (2016), both of which turned
out to be right
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
    g = dy * gamma[:, None, None]
    dx = (g - xhat * mean(g * xhat)) / deviation
    return dx, (dy * xhat).sum((0, 2, 3)), dy.sum((0, 2, 3))


# ---- the repair

FAMILY = "missing term"


def repaired(dy, x, gamma, beta):
    xhat, deviation = normalised(x)
    g = dy * gamma[:, None, None]
    dx = (g - mean(g) - xhat * mean(g * xhat)) / deviation
    return dx, (dy * xhat).sum((0, 2, 3)), dy.sum((0, 2, 3))
