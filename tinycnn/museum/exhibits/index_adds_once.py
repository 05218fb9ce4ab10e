"""An index that repeats, and is added once

Picking rows by an index that names some of them twice is what an embedding does. Its gradient adds up all that come back to one row. dw[index] += dy looks as
if it did, but NumPy reads, adds and writes once for each entry, and the last one wins. np.add.at adds every time.

Seen in: HIPS/autograd, issue 39 (2015) and pull request 136 (2016), https://github.com/HIPS/autograd/pull/136; pymc-devs/pytensor, pull request 2242 (2026)
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    rows = size(rng, 3, 5)
    index = rng.integers(0, rows, size(rng, 6, 9))
    return normal(rng, rows, size(rng, 2, 4)), index


def forward(w, index):
    return w[index]


def backward(dy, w, index):
    dw = np.zeros_like(w)
    dw[index] += dy
    return dw


# ---- the repair

FAMILY = "overwritten"


def repaired(dy, w, index):
    dw = np.zeros_like(w)
    np.add.at(dw, index, dy)
    return dw
