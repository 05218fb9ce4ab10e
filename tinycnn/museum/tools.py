"""What the exhibits share: random inputs, and the windows of convolutions and poolings."""
import numpy as np


def normal(rng, *shape):
    """Random numbers, no two alike."""
    return rng.standard_normal(shape)


def size(rng, low, high):
    """A random size, both ends included."""
    return int(rng.integers(low, high + 1))


def positions(n, r, stride=1, padding=0, dilation=1):
    """How often a window of r fits along an axis of n."""
    return (n + 2 * padding - dilation * (r - 1) - 1) // stride + 1


def pad(x, padding, value=0.0):
    """x (N, C, H, W) with a border."""
    return np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=value)


def taps(padded, w_shape, P, Q, stride=1, dilation=1):
    """(r, s, part) for each element of the filter: the part (N, C, P, Q) of the padded image that it meets. Writing to the part writes to the image."""
    for r in range(w_shape[-2]):
        for s in range(w_shape[-1]):
            top, left = r * dilation, s * dilation
            yield r, s, padded[:, :, top:top + (P - 1) * stride + 1:stride, left:left + (Q - 1) * stride + 1:stride]


def conv(x, w, stride=1, padding=0, dilation=1):
    """y (N, K, P, Q) of x (N, C, H, W) and w (K, C, R, S)."""
    P, Q = (positions(n, r, stride, padding, dilation) for n, r in zip(x.shape[2:], w.shape[2:]))
    y = np.zeros((len(x), len(w), P, Q))
    for r, s, part in taps(pad(x, padding), w.shape, P, Q, stride, dilation):
        y += np.einsum("kc,ncpq->nkpq", w[:, :, r, s], part)
    return y


def conv_case(rng, stride=(1, 2), padding=(0, 1), dilation=(1, 1), square=False, batch=1):
    """x, w, stride, padding and dilation of a random convolution, the last three from these ranges. square: as many filters as channels. batch: images at least."""
    stride, padding, dilation = (size(rng, *bounds) for bounds in (stride, padding, dilation))
    N, C, K, R, S = (size(rng, 2, 3) for _ in range(5))
    K, N = C if square else K, N - 2 + batch
    H, W = (dilation * (r - 1) + 1 + stride * size(rng, 1, 3) + size(rng, 0, stride - 1) for r in (R, S))
    return normal(rng, N, C, H, W), normal(rng, K, C, R, S), stride, padding, dilation
