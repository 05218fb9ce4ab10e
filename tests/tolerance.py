"""How close two floating-point answers must be: written once, derived from the dtype and the length of the sums behind each element.

Adding L products in floating point is off by about eps * sqrt(L) of their typical size when errors are random, and by at most eps * L when they conspire.
`close` allows 8 * eps * sqrt(L), relative to the largest expected magnitude, so an element near zero (where the terms cancelled) is judged by the size of
the terms.
"""
import numpy as np


def tolerance(dtype, length=1):
    """The relative error allowed for sums of `length` terms in `dtype`."""
    return 8 * float(np.finfo(dtype).eps) * max(length, 1) ** 0.5


def close(actual, expected, length=1, dtype=None):
    """Assert equal shapes and values within `tolerance` of the largest |expected|.  dtype: the precision of the computation, that of `actual` unless given."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"shape {actual.shape} where {expected.shape} was expected"
    if expected.size == 0:
        return
    allowed = tolerance(dtype or actual.dtype, length)
    scale = max(float(np.max(np.abs(expected))), np.finfo(np.float64).tiny)
    np.testing.assert_allclose(actual / scale, expected / scale, rtol=allowed, atol=allowed)
