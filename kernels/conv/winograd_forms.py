"""Winograd's minimal filtering: the matrices, and where they come from (Winograd 1980; Lavin & Gray 2016, "Fast algorithms for convolutional neural networks").

A filter of r taps slid over m positions touches n = m + r - 1 inputs and costs m * r products. Seen as polynomials, filter and signal multiply to one of degree
n - 1, which is known once its values at n points are: evaluate both at the points, multiply value by value, interpolate. That is n products, F(m, r):

    y = A^T [ (G w) * (B^T d) ]                        in one dimension:   d (n), w (r), y (m)
    Y = A^T [ (G W G^T) * (B^T D B) ] A                in two:             D (n, n), W (r, r), Y (m, m)

    F(4x4, 3x3): 36 products where the definition has 144.  F(2x2, 3x3): 16 for 36.  F(2x2, 5x5): 36 for 100, with the same points as F(4x4, 3x3), so the same B^T.

Channels are summed before the last step, so all that is left to multiply are n*n matrix products (pixels' tiles x C) @ (C x K): kernels/conv/winograd.py.

**The points** decide the error. Powers of a point above 1 grow, those of one below 1 vanish, and differences of points divide: with 0, 1, -1, 2, -2 and infinity,
which most programs use, F(4x4, 3x3) in float32 is off by up to 4e-5 of the result's sigma. With 0, +-sqrt(1/2), +-sqrt(2), whose polynomials have small coefficients
(x^4 - 2.5 x^2 + 1), it is 8e-6, at the same number of operations. F(2x2, 3x3) with 0, 1, -1: 2e-6. Adding up the definition's products one after the other, as
implicit.py does: 5e-6. (64 channels; benchmarks/winograd_points.py measures them.)

The gradients need no other matrices. In the input it is a convolution with the filter turned round. In the weights it is the adjoint of each step in turn:

    dW = G^T [ sum over tiles of (B^T D B) * (A dY A^T) ] G
"""
from typing import NamedTuple

import numpy as np


def matrices(outputs, taps, points):
    """{"input": B^T, "filter": G, "output": A^T, and the adjoints "output_grad": A, "filter_grad": G^T}, by Toom and Cook, with infinity as the last point."""
    n = outputs + taps - 1
    points = np.array(points, np.float64)

    def values(terms):
        """Row i: the powers 0 ... terms-1 of point i; at infinity only the highest counts."""
        return np.vstack([points[:, None] ** np.arange(terms), np.eye(terms)[-1:]])

    def vanishing_at(others):
        """The coefficients, lowest power first, of the polynomial with these roots: what picks a point out of all."""
        return np.append(np.poly(others)[::-1], np.zeros(n - 1 - len(others)))
    pick = np.array([vanishing_at(np.delete(points, i)) for i in range(n - 1)] + [vanishing_at(points)])
    scale = np.append([np.prod(p - np.delete(points, i)) for i, p in enumerate(points)], 1)
    output, filter_ = values(outputs).T, values(taps) / scale[:, None]
    found = {"input": pick, "filter": filter_, "output": output, "output_grad": output.T, "filter_grad": filter_.T}
    return {name: np.round(matrix, 15) + 0.0 for name, matrix in found.items()}  # so that what is equal up to signs is equal in all digits


SIX_POINTS = (0, 0.5 ** 0.5, -0.5 ** 0.5, 2 ** 0.5, -2 ** 0.5)


class Tiling(NamedTuple):
    """A problem cut into tiles; its class, one of those below, says by which form. Numba compiles a kernel for each class, in which the matrices are constants.

    Images may lie side by side and one above the other on a *sheet*, with the zeros between two of them serving as padding of both, and the sheet be cut into tiles
    as if it were one image.
    """

    images: int
    H: int  # of the source: x, or dy for the input gradient
    W: int
    source_pixel: int  # elements from pixel to pixel
    top: int  # the source's padding
    left: int
    C: int  # channels that are summed over
    P: int  # of the target
    Q: int
    target_pixel: int
    K: int
    sheet_down: int  # images of a sheet
    sheet_across: int
    pitch_down: int  # rows of a sheet from an image to the one below
    pitch_across: int
    down: int  # tiles of a sheet
    across: int

    @property
    def tiles(self):
        return -(-self.images // (self.sheet_down * self.sheet_across)) * self.down * self.across


class F4x3(Tiling):
    """F(4x4, 3x3)"""

    OUTPUTS, TAPS, SIZE = 4, 3, 6
    MATRICES = matrices(4, 3, SIX_POINTS)


class F2x3(Tiling):
    """F(2x2, 3x3)"""

    OUTPUTS, TAPS, SIZE = 2, 3, 4
    MATRICES = matrices(2, 3, (0, 1, -1))


class F2x5(Tiling):
    """F(2x2, 5x5)"""

    OUTPUTS, TAPS, SIZE = 2, 5, 6
    MATRICES = matrices(2, 5, SIX_POINTS)


FORMS = (F4x3, F2x3, F2x5)
