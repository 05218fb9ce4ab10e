"""The difference the other way round

(x - t)^2 and (t - x)^2 are the same, their derivatives with respect to x are not.

A classic: the loss looks right, and training climbs
"""
from tinycnn.museum.tools import normal, size


def inputs(rng):
    shape = size(rng, 2, 4), size(rng, 2, 5)
    return normal(rng, *shape), normal(rng, *shape)


def forward(x, target):
    return ((x - target) ** 2).mean()


def backward(dy, x, target):
    return dy * 2 * (target - x) / x.size, None


# ---- the repair

FAMILY = "sign"


def repaired(dy, x, target):
    return dy * 2 * (x - target) / x.size, None
