"""Inputs at which everything can be differentiated."""
import numpy as np


def arrays(case, shapes, dtype=np.float64):
    """For each shape odd multiples of 1/16 in an order that follows from the case's name, shaken a little: no two are equal and none is near 0, where maxima, ReLU and
    abs have their kinks."""
    rng = np.random.default_rng(list(case.encode()))
    drawn = []
    for shape in shapes:
        n = int(np.prod(shape))
        values = (rng.permutation(n) - n // 2 + 0.5) / 8 + rng.uniform(-0.02, 0.02, n)
        drawn.append(values.reshape(shape).astype(dtype))
    return drawn
