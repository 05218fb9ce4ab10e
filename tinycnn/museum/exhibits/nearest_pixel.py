"""Downsampling whose gradient lands on the wrong pixel

Nearest-neighbour downsampling by s keeps the top left pixel of each s x s block. Its gradient must go to that pixel; here it goes to the bottom right one, as
after a rewrite that made the threads of the GPU run over the inputs instead of the outputs, and rounded the index the other way.

Seen in: PyTorch, issue 38985 (2020), https://github.com/pytorch/pytorch/issues/38985 (on the GPU only, for a year)
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    s = size(rng, 2, 3)
    return normal(rng, size(rng, 1, 2), size(rng, 1, 2), s * size(rng, 2, 3), s * size(rng, 2, 3)), s


def forward(x, s):
    return x[:, :, ::s, ::s] * 1.0


def backward(dy, x, s):
    dx = np.zeros_like(x)
    dx[:, :, s - 1::s, s - 1::s] = dy
    return dx


# ---- the repair

FAMILY = "shifted"


def repaired(dy, x, s):
    dx = np.zeros_like(x)
    dx[:, :, ::s, ::s] = dy
    return dx
