"""A backward that changes what it was given

To save memory the mask is multiplied into dy itself. The gradient that comes out is right. But dy is not the layer's own: where the output was used twice, the
other layer is still to get the dy as it was.

A classic of moving a layer from a design where dy belongs to the layer below, such as darknet's gradient_array(..., l.delta), to a graph whose tensors are
shared
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    return (normal(rng, size(rng, 2, 4), size(rng, 3, 5)),)


def forward(x):
    return np.maximum(x, 0)


def backward(dy, x):
    dy *= x > 0
    return dy


# ---- the repair

FAMILY = "changes its arguments"


def repaired(dy, x):
    return dy * (x > 0)
