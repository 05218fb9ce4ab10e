"""Step 3: channels last in memory, and all threads.

An image lies pixel by pixel, the channels of each side by side: (N, H, W, C). The innermost loop then runs over the filters of one pixel: as many as the layer has,
whatever the width of the image, which vectors rarely divide. The filters lie (R, S, C, K), to match.

Threads share out the rows of the result. Two of them must not add to the same number, so the input gradient no longer adds to whatever a pixel of dy reaches: each
dx collects what reaches it, which for stride 1 is a convolution of dy by turned filters (common.py). The weight gradient is shared out by taps.
"""
import numba
import numpy as np
from common import input_grad_by, pad
from numba import prange

IDEA, ORDER = "channels last in memory; rows shared out to threads", "NHWC"


def forward(x, w, padding):
    padded, w = pad(x, padding), np.ascontiguousarray(w.transpose(2, 3, 1, 0))
    (N, H, W, _), (R, S, _, K) = padded.shape, w.shape
    y = np.zeros((N, H - R + 1, W - S + 1, K), x.dtype)
    forward_loops(padded, w, y)
    return y


input_grad = input_grad_by(forward)


def weight_grad(dy, x, padding):
    padded = pad(x, padding)
    (_, P, Q, K), (_, H, W, C) = dy.shape, padded.shape
    dw = np.zeros((H - P + 1, W - Q + 1, C, K), x.dtype)
    weight_grad_loops(dy, padded, dw)
    return np.ascontiguousarray(dw.transpose(3, 2, 0, 1))


@numba.njit(parallel=True, cache=True)
def forward_loops(x, w, y):
    (N, P, Q, K), (R, S, C, _) = y.shape, w.shape
    for task in prange(N * P):
        n, p = task // P, task % P
        for q in range(Q):
            out = y[n, p, q]
            for r in range(R):
                for s in range(S):
                    for c in range(C):
                        value, filters = x[n, p + r, q + s, c], w[r, s, c]
                        for k in range(K):
                            out[k] += value * filters[k]


@numba.njit(parallel=True, cache=True)
def weight_grad_loops(dy, x, dw):
    (N, P, Q, K), (R, S, C, _) = dy.shape, dw.shape
    for task in prange(R * S):
        r, s = task // S, task % S
        for n in range(N):
            for p in range(P):
                for q in range(Q):
                    row = dy[n, p, q]
                    for c in range(C):
                        value, out = x[n, p + r, q + s, c], dw[r, s, c]
                        for k in range(K):
                            out[k] += value * row[k]
