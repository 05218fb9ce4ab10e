"""Local response normalisation with two kinds of alpha

The AlexNet paper multiplies the sum of squares by alpha; Caffe, cuDNN, ONNX and PyTorch by alpha / n. Here the forward follows the one and the second term of
the backward the other.

Seen in: ports between libraries, for instance MarcBS/keras, pull request 4 (2016), https://github.com/MarcBS/keras/pull/4
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    n = 2 * size(rng, 1, 2) + 1
    return normal(rng, size(rng, 1, 2), size(rng, 5, 8), size(rng, 1, 2), size(rng, 1, 2)), n, 1e-2, 0.75


def window_sum(x, n):
    """For each channel the sum over the n channels around it."""
    padded = np.pad(x, ((0, 0), (n // 2, n // 2), (0, 0), (0, 0)))
    return sum(padded[:, i:i + x.shape[1]] for i in range(n))


def forward(x, n, alpha, beta):
    """y[c] = x[c] / s[c]^beta with s[c] = 2 + alpha/n * sum of x[j]^2 over the n channels around c"""
    return x / (2 + alpha / n * window_sum(x * x, n)) ** beta


def backward(dy, x, n, alpha, beta):
    s = 2 + alpha / n * window_sum(x * x, n)
    return dy / s ** beta - 2 * beta * alpha * x * window_sum(dy * x / s ** (beta + 1), n)


# ---- the repair

FAMILY = "factor of a term"


def repaired(dy, x, n, alpha, beta):
    s = 2 + alpha / n * window_sum(x * x, n)
    return dy / s ** beta - 2 * beta * alpha / n * x * window_sum(dy * x / s ** (beta + 1), n)
