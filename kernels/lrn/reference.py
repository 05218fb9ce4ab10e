"""Local response normalisation across channels (Krizhevsky et al. 2012, section 3.3): a channel is damped where its neighbours are strong.

    base[n, c] = k + alpha * sum of x[n, j]^2 over the window of c:  j = c - size//2 ... c + (size-1)//2, as far as there are channels
    y[n, c] = x[n, c] * base[n, c]^-beta

at every place (h, w) on its own. alpha multiplies the sum, as in the paper; Caffe, cuDNN, ONNX and PyTorch mean alpha / size by it.

The gradient has two terms: x[c] as the one that is damped, and as a neighbour in the base of every channel j whose window contains c:

    dx[c] = dy[c] * base[c]^-beta - 2 * alpha * beta * x[c] * sum of dy[j] * y[j] / base[j] over j = c - (size-1)//2 ... c + size//2

Those windows are the forward's mirrored, which for an even size is another set. Known libraries got the second term wrong, and at the paper's alpha of 1e-4 it
hardly shows: test with alpha near 1.
"""
import numpy as np


def forward(x, size, alpha, beta, k):
    """y and base, both of the shape of x (N, C, ...)."""
    base = k + alpha * _neighbours(x * x, size // 2, (size - 1) // 2)
    return x * base**-beta, base


def backward(dy, x, base, size, alpha, beta):
    """dx from dy, x and base. y is worked out anew, so that nobody needs to keep it and an in-place rectifier may follow."""
    power = base**-beta
    return dy * power - 2 * alpha * beta * x * _neighbours(dy * x * power / base, (size - 1) // 2, size // 2)


def _neighbours(a, below, above):
    """For each channel c, the sum of a[:, c - below] ... a[:, c + above], as far as there are channels."""
    total = np.zeros_like(a)
    C = a.shape[1]
    for c in range(C):
        total[:, c] = a[:, max(0, c - below):min(C, c + above + 1)].sum(1)
    return total
