"""An average whose backward adds up

The mean of n numbers changes by 1/n when one of them changes by 1. The backward spreads dy over all of them and forgets to divide.

A classic: fixed in the average poolings of deeplearning4j, pull request 1951 (2016), and mlpack, pull request 2865 (2021), among others
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    return (normal(rng, size(rng, 1, 3), size(rng, 2, 4), size(rng, 2, 4), size(rng, 3, 5)),)


def forward(x):
    return x.mean((2, 3))


def backward(dy, x):
    return dy[:, :, None, None] * np.ones_like(x)


# ---- the repair

FAMILY = "factor"


def repaired(dy, x):
    return dy[:, :, None, None] * np.ones_like(x) / (x.shape[2] * x.shape[3])
