"""BatchNorm with two kinds of variance

The forward divides by the biased variance, over n; the running variance is unbiased, over n - 1. A backward that takes its mean over n - 1 has mixed them up.

A classic: PyTorch keeps both, and documents which is which; for large batches the difference hides in any tolerance
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
    n = x.size // x.shape[1]
    g = dy * gamma[:, None, None]
    dx = (g - mean(g) - xhat * mean(g * xhat) * n / (n - 1)) / deviation
    return dx, (dy * xhat).sum((0, 2, 3)), dy.sum((0, 2, 3))


# ---- the repair

FAMILY = "missing term"


def repaired(dy, x, gamma, beta):
    xhat, deviation = normalised(x)
    g = dy * gamma[:, None, None]
    dx = (g - mean(g) - xhat * mean(g * xhat)) / deviation
    return dx, (dy * xhat).sum((0, 2, 3)), dy.sum((0, 2, 3))
