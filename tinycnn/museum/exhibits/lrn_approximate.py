"""Local response normalisation, approximately

y = x / s^beta, and s depends on the neighbours too. The backward has only the first term, dy / s^beta, and treats s as a constant. Its author knew: the comment
above it reads "TODO This is approximate ;-)". At the paper's alpha = 0.0001 the missing term is so small that a check with a tolerance of one in a thousand
finds nothing.

Seen in: darknet, src/normalization_layer.c, backward_normalization_layer, https://github.com/pjreddie/darknet/blob/master/src/normalization_layer.c
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    n = 2 * size(rng, 1, 2) + 1
    return normal(rng, size(rng, 1, 2), size(rng, 5, 8), size(rng, 1, 2), size(rng, 1, 2)), n, 1e-4, 0.75


def window_sum(x, n):
    """For each channel the sum over the n channels around it."""
    padded = np.pad(x, ((0, 0), (n // 2, n // 2), (0, 0), (0, 0)))
    return sum(padded[:, i:i + x.shape[1]] for i in range(n))


def forward(x, n, alpha, beta):
    """y[c] = x[c] / s[c]^beta with s[c] = 2 + alpha/n * sum of x[j]^2 over the n channels around c"""
    return x / (2 + alpha / n * window_sum(x * x, n)) ** beta


def backward(dy, x, n, alpha, beta):
    return dy / (2 + alpha / n * window_sum(x * x, n)) ** beta


# ---- the repair

FAMILY = "missing term"


def repaired(dy, x, n, alpha, beta):
    s = 2 + alpha / n * window_sum(x * x, n)
    return dy / s ** beta - 2 * beta * alpha / n * x * window_sum(dy * x / s ** (beta + 1), n)
