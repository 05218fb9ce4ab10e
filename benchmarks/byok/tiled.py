"""A tiled kernel: a strip of one row of y is summed for several filters at once while c, r and s run, in Numba, on all threads.

    tinycnn bench conv --kernel benchmarks/byok/tiled.py resnet50 --batch 1 --layer layer4.0.conv2 --quick

**Idea.** The loops of the definition read and write y for every product. Here FILTERS x STRIP sums stay in a small array, which lives in the first-level cache, while
everything that they are sums of passes by; and the innermost loop runs along the strip, so that the compiler makes vectors of it. Each x that is loaded serves
FILTERS filters. The image is padded once, so that the loops know no borders.

Forward only: without the gradients the harness measures what is there. Groups are left to others, and it says so.
"""
import numba
import numpy as np
from numba import prange

FILTERS, STRIP = 4, 64


def forward(x, w, bias, stride, padding, dilation, groups):
    if groups != 1:
        raise NotImplementedError("groups")
    (N, _, H, W), (K, _, R, S) = x.shape, w.shape
    P, Q = ((length + 2 * p - d * (taps - 1) - 1) // s + 1 for length, taps, s, p, d in zip((H, W), (R, S), stride, padding, dilation))
    padded = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2)) if any(padding) else x
    y = np.empty((N, K, P, Q), x.dtype)
    tiles(padded, w, np.zeros(K, x.dtype) if bias is None else bias, y, stride, dilation)
    return y


@numba.njit(parallel=True, nogil=True)
def tiles(x, w, bias, y, stride, dilation):
    (N, K, P, Q), (_, C, R, S) = y.shape, w.shape
    blocks = (K + FILTERS - 1) // FILTERS
    for task in prange(N * blocks * P):  # each writes its own rows of y
        n, k0, p = task // (blocks * P), task // P % blocks * FILTERS, task % P
        filters = min(FILTERS, K - k0)
        sums = np.empty((FILTERS, STRIP), x.dtype)
        for q0 in range(0, Q, STRIP):
            length = min(STRIP, Q - q0)
            for k in range(filters):
                sums[k] = bias[k0 + k]
            for c in range(C):
                for r in range(R):
                    row = x[n, c, p * stride[0] + r * dilation[0]]
                    for s in range(S):
                        first = q0 * stride[1] + s * dilation[1]
                        for k in range(filters):
                            add_scaled(sums[k], row, first, stride[1], w[k0 + k, c, r, s], length)
            for k in range(filters):
                y[n, k0 + k, p, q0:q0 + length] = sums[k, :length]


@numba.njit(inline="always")
def add_scaled(sums, row, first, stride, weight, length):
    if stride == 1:  # said apart, so that it becomes vectors
        for q in range(length):
            sums[q] += weight * row[first + q]
    else:
        for q in range(length):
            sums[q] += weight * row[first + q * stride]
