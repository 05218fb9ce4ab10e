"""Step 4: tiles. What is used again is used again soon, while it is still in the nearest cache.

In step 3 every pixel reads all filters: 9 * 64 * 64 numbers are 147 KB, which the second-level cache has to deliver again and again. Here a tile of the result,
16 pixels by 64 filters, is summed in a small array (4 KB), and a row of filters that has been fetched serves all 16 pixels. The weight gradient's tile is 16
channels by 64 filters of one tap.
"""
import numba
import numpy as np
from common import input_grad_by, pad
from numba import prange

IDEA, ORDER = "tiles that stay in the nearest cache", "NHWC"
PIXELS, CHANNELS, FILTERS = 16, 16, 64


def forward(x, w, padding):
    padded, w = pad(x, padding), np.ascontiguousarray(w.transpose(2, 3, 1, 0))
    (N, H, W, _), (R, S, _, K) = padded.shape, w.shape
    y = np.empty((N, H - R + 1, W - S + 1, K), x.dtype)
    forward_tiles(padded, w, y)
    return y


input_grad = input_grad_by(forward)


def weight_grad(dy, x, padding):
    padded = pad(x, padding)
    (_, P, Q, K), (_, H, W, C) = dy.shape, padded.shape
    dw = np.empty((H - P + 1, W - Q + 1, C, K), x.dtype)
    weight_grad_tiles(dy, padded, dw)
    return np.ascontiguousarray(dw.transpose(3, 2, 0, 1))


@numba.njit(parallel=True, cache=True)
def forward_tiles(x, w, y):
    (N, P, Q, K), (R, S, C, _) = y.shape, w.shape
    for task in prange(N * P):
        n, p = task // P, task % P
        for k in range(0, K, FILTERS):
            for q in range(0, Q, PIXELS):
                sums = np.zeros((min(PIXELS, Q - q), min(FILTERS, K - k)), x.dtype)
                for r in range(R):
                    for s in range(S):
                        for c in range(C):
                            filters = w[r, s, c, k:k + FILTERS]
                            for i in range(sums.shape[0]):
                                add(sums[i], x[n, p + r, q + i + s, c], filters)
                y[n, p, q:q + PIXELS, k:k + FILTERS] = sums


@numba.njit(parallel=True, cache=True)
def weight_grad_tiles(dy, x, dw):
    (N, P, Q, K), (R, S, C, _) = dy.shape, dw.shape
    blocks = (C + CHANNELS - 1) // CHANNELS
    for task in prange(R * S * blocks):
        r, s, c = task // (S * blocks), task // blocks % S, task % blocks * CHANNELS
        for k in range(0, K, FILTERS):
            sums = np.zeros((min(CHANNELS, C - c), min(FILTERS, K - k)), x.dtype)
            for n in range(N):
                for p in range(P):
                    for q in range(Q):
                        row = dy[n, p, q, k:k + FILTERS]
                        for i in range(sums.shape[0]):
                            add(sums[i], x[n, p + r, q + s, c + i], row)
            dw[r, s, c:c + CHANNELS, k:k + FILTERS] = sums


@numba.njit(inline="always")
def add(sums, value, row):
    for k in range(sums.size):
        sums[k] += value * row[k]
