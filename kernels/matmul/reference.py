"""Matrix product: y[..., m, n] = sum over k of a[..., m, k] * b[..., k, n], with everything before the last two dimensions broadcast.

A linear layer is one matrix product: y = x @ w.T + bias, with w stored (O, I), one row for each output. Both of its gradients are matrix products too,
dx = dy @ w and dw = dy.T @ x, so this is all that a fully connected layer needs.
"""
import numpy as np


def matmul(a, b):
    """(..., M, N) from a (..., M, K) and b (..., K, N). K = 0 gives zeros: an empty sum."""
    return np.matmul(a, b)


def linear(x, w, bias):
    """(..., O) from x (..., I), w (O, I) and bias (O,) or None."""
    y = np.matmul(x, w.T)
    return y if bias is None else y + bias
