"""A bias gradient in the shape of the output

The bias was broadcast over the batch: every image used it, and its gradient is the sum over them. dy itself was handed back.

Seen in: PyTorch, issue 1787 (2017), https://github.com/pytorch/pytorch/issues/1787; tracel-ai/burn, issue 181 (2023)
"""
from tinycnn.museum.tools import normal, size


def inputs(rng):
    C, K = size(rng, 2, 4), size(rng, 2, 4)
    return normal(rng, size(rng, 2, 5), C), normal(rng, C, K), normal(rng, K)


def forward(x, w, b):
    return x @ w + b


def backward(dy, x, w, b):
    return dy @ w.T, x.T @ dy, dy


# ---- the repair

FAMILY = "not summed"


def repaired(dy, x, w, b):
    return dy @ w.T, x.T @ dy, dy.sum(0)
