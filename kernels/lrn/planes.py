"""Local response normalisation of contiguous memory (see the reference for the formulas).

An image is cut into tiles of TILE places with all their channels, which stay in the cache while channel after channel is worked out, places as vector lanes: memory is
read and written once.
"""
import numpy as np
from numba import prange

from ..runtime import jit

TILE = 1024  # places to a tile: smaller ones lose time between the loops, larger ones gain nothing


@jit(parallel=True)
def forward(x, size, alpha, beta, k, y, base):
    """y and base of x, all (N, C, L)."""
    N, C, L = x.shape
    tiles = (L + TILE - 1) // TILE
    for tile in prange(N * tiles):
        n, places = tile // tiles, slice(tile % tiles * TILE, min(L, (tile % tiles + 1) * TILE))
        for c in range(C):
            b = base[n, c, places]
            b[:] = 0
            for j in range(max(0, c - size // 2), min(C, c + (size - 1) // 2 + 1)):
                _add_square(x[n, j, places], b)
            _finish_base(b, k, alpha)
            _power(b, beta, y[n, c, places])
            _multiply(x[n, c, places], y[n, c, places])


@jit(parallel=True)
def backward(dy, x, base, size, factor, beta, dx):
    """dx of dy, x and base, all (N, C, L); factor: 2 * alpha * beta."""
    N, C, L = x.shape
    tiles = (L + TILE - 1) // TILE
    for tile in prange(N * tiles):
        n, places = tile // tiles, slice(tile % tiles * TILE, min(L, (tile % tiles + 1) * TILE))
        ratio = np.empty((C, places.stop - places.start), x.dtype)  # dy * y / base: what a channel sends to its neighbours
        for c in range(C):
            _power(base[n, c, places], beta, dx[n, c, places])
            _ratio(dy[n, c, places], x[n, c, places], dx[n, c, places], base[n, c, places], ratio[c])
        total = np.empty(ratio.shape[1], x.dtype)
        for c in range(C):
            total[:] = 0
            for j in range(max(0, c - (size - 1) // 2), min(C, c + size // 2 + 1)):
                _add(ratio[j], total)
            _gradient(dy[n, c, places], x[n, c, places], total, factor, dx[n, c, places])


@jit
def _add_square(x, total):
    for i in range(x.size):
        total[i] += x[i] * x[i]


@jit
def _finish_base(total, k, alpha):
    for i in range(total.size):
        total[i] = k + alpha * total[i]


@jit
def _power(base, beta, power):
    """base^-beta"""
    if beta == 0.75:
        for i in range(base.size):
            root = np.sqrt(base[i])
            power[i] = 1 / (root * np.sqrt(root))
    else:
        for i in range(base.size):
            power[i] = base[i] ** -beta


@jit
def _multiply(x, y):
    for i in range(x.size):
        y[i] *= x[i]


@jit
def _ratio(dy, x, power, base, ratio):
    for i in range(dy.size):
        ratio[i] = dy[i] * x[i] * power[i] / base[i]


@jit
def _add(a, total):
    for i in range(a.size):
        total[i] += a[i]


@jit
def _gradient(dy, x, total, factor, dx):
    """dx holds the power."""
    for i in range(x.size):
        dx[i] = dy[i] * dx[i] - factor * x[i] * total[i]
