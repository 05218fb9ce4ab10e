"""Every maximum gets the whole gradient

The gradient of a maximum goes to the element that is the largest. A mask x == max(x) finds it, and where several are equal it finds all of them: raised
together by 1 they raise the maximum by 1, but their gradients add up to their number. After a ReLU equal zeros are the rule, not the exception. One of them
should get it, or all in equal shares.

Seen in: Theano, issues 4568 and 5248 (2016), https://github.com/Theano/Theano/issues/4568; Apache MXNet, issue 18563 (2020)
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    """In each row the two largest are equal."""
    x = normal(rng, size(rng, 2, 5), size(rng, 3, 6))
    order = np.argsort(x, axis=1)
    np.put_along_axis(x, order[:, -2:-1], x.max(1, keepdims=True), axis=1)
    return (x,)


def forward(x):
    return x.max(1)


def backward(dy, x):
    return dy[:, None] * (x == x.max(1, keepdims=True))


# ---- the repair

FAMILY = "ties"


def repaired(dy, x):
    mask = x == x.max(1, keepdims=True)
    return dy[:, None] * mask / mask.sum(1, keepdims=True)
