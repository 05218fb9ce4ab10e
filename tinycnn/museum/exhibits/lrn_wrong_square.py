"""Local response normalisation that squares the wrong factor

The term that ties channel j to its neighbour i is -2 alpha beta / n * x[i] * x[j] / s[i]^(beta + 1): each of the two values once. Here x[j] comes twice. Its
author had a doubt: "I think it works but I'm not 100%; the gradient check is a bit funky. I'll look into this a bit later."

Seen in: ConvNetJS, LocalResponseNormalizationLayer, https://github.com/karpathy/convnetjs: g = -aj*this.beta*Math.pow(S,this.beta-1)*this.alpha/this.n*2*aj.
The source was corrected later (src/convnet_layers_normalization.js); the old line lives on in many copies
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    n = 2 * size(rng, 1, 2) + 1
    return normal(rng, size(rng, 1, 2), size(rng, 5, 8), size(rng, 1, 2), size(rng, 1, 2)), n, 1.0, 0.75


def window_sum(x, n):
    """For each channel the sum over the n channels around it."""
    padded = np.pad(x, ((0, 0), (n // 2, n // 2), (0, 0), (0, 0)))
    return sum(padded[:, i:i + x.shape[1]] for i in range(n))


def forward(x, n, alpha, beta):
    """y[c] = x[c] / s[c]^beta with s[c] = 2 + alpha/n * sum of x[j]^2 over the n channels around c"""
    return x / (2 + alpha / n * window_sum(x * x, n)) ** beta


def backward(dy, x, n, alpha, beta):
    s = 2 + alpha / n * window_sum(x * x, n)
    return dy / s ** beta - 2 * beta * alpha / n * x * x * window_sum(dy / s ** (beta + 1), n)


# ---- the repair

FAMILY = "wrong factor"


def repaired(dy, x, n, alpha, beta):
    s = 2 + alpha / n * window_sum(x * x, n)
    return dy / s ** beta - 2 * beta * alpha / n * x * window_sum(dy * x / s ** (beta + 1), n)
