"""Convolution by the loops of its definition, for any stride, padding, dilation and groups.

    y[n, k, p, q] = bias[k] + sum over c, r, s of  w[k, c, r, s] * x[n, c, p*stride + r*dilation - padding, q*stride + s*dilation - padding]

**Idea.** The innermost loop walks along a row, because there the machine has vectors: a row of y is a sum of rows of x, each shifted and scaled by one weight.
Padding is never stored: where the shifted row sticks out of the image, the loop is that much shorter (`span`).

    forward      row (n, k, p) of y  += w[k, c, r, s] * row (n, c, h) of x          over c, r, s with h inside the image
    input_grad   row (n, c, h) of dx += w[k, c, r, s] * row (n, k, p) of dy         over k, r, s for which some p has h = p*stride + r*dilation - padding
    weight_grad  dw[k, c, r, s]      += row (n, k, p) of dy . row (n, c, h) of x    over n, p

**Threads** share out rows (or filters' planes), each written by one thread only, so there is nothing to be added up afterwards and the result has the same bits
on any number of threads. The input gradient is a gather for that reason: scattered from dy, as the formula suggests, two threads would meet in one element.

**Napkin.** 2*N*K*P*Q*(C/G)*R*S FLOPs; every product of a vector costs two loads and a store beside it, and every row some 10 ns to begin. Measured on one core of a
Zen 4: 3 to 6 GFLOP/s on rows of 28 to 56 elements, a twentieth of what it can do. That is the price of a kernel that keeps nothing in registers and fits on a page.
"""
import numpy as np
from numba import prange

from ..runtime import contiguous, jit, zeros
from ..simd.vector import fma, lanes, load, load_part, splat, store, store_part, total, zero
from ..unfold.tile import span
from .epilogue import NOTHING, Epilogue, finish
from .sizes import sizes

NAME = "direct"
RUN, ELEMENT, STRIDED = 10e-9, 0.15e-9, 0.9e-9  # seconds: to begin on a row, and for each element of it, adjacent or not


def cost(form, n, geometry, dtype):
    """Every weight meets every row of y."""
    rows = n.N * n.K * n.P * (n.C // n.G) * n.R * n.S
    element = ELEMENT * dtype.itemsize / 4 if geometry.stride[1] == 1 else STRIDED
    return rows * (RUN + element * n.Q) + 10e-6


def scratch(form, n, geometry):
    return 0


def pack(w, x_shape, geometry, once=False):
    """Filters are read as they are."""
    return contiguous(w)


def forward(x, w, w_shape, bias, geometry, epilogue=NOTHING):
    """y (N, K, P, Q) from x (N, C, H, W), w (K, C/groups, R, S) and bias (K,) or None."""
    n = sizes(x.shape, w_shape, geometry)
    y = np.empty((n.N, n.K, n.P, n.Q), x.dtype)
    bias = np.zeros(n.K, x.dtype) if bias is None else contiguous(bias)
    _forward(contiguous(x).reshape(-1), w, bias, y.reshape(-1), n, *geometry[:3])
    return finish(y, epilogue)


def input_grad(dy, w, x_shape, geometry, add=None):
    """dx (N, C, H, W) from dy (N, K, P, Q) and w, plus `add`."""
    dx = zeros(x_shape, dy.dtype)
    _input_grad(contiguous(dy).reshape(-1), contiguous(w), dx.reshape(-1), sizes(x_shape, w.shape, geometry), *geometry[:3])
    return finish(dx, Epilogue(add=add))


def weight_grad(dy, x, w_shape, geometry):
    """dw (K, C/groups, R, S) from dy (N, K, P, Q) and x."""
    dw = np.empty(w_shape, dy.dtype)
    _weight_grad(contiguous(dy).reshape(-1), contiguous(x).reshape(-1), dw, sizes(x.shape, w_shape, geometry), *geometry[:3])
    return dw


@jit(parallel=True)
def _forward(x, w, bias, y, n, stride, padding, dilation):
    C = n.C // n.G
    for row in prange(n.N * n.K * n.P):
        image, k, p = row // (n.K * n.P), row // n.P % n.K, row % n.P
        plane = image * n.C + k // (n.K // n.G) * C  # the first channel of x that this filter sees
        y[row * n.Q:(row + 1) * n.Q] = bias[k]
        for c in range(C):
            for r in range(n.R):
                h = p * stride[0] + r * dilation[0] - padding[0]
                if 0 <= h < n.H:
                    for s in range(n.S):
                        shift = s * dilation[1] - padding[1]
                        q, end = span(n.Q, n.W, stride[1], shift)
                        add_gathered(w[k, c, r, s], x, ((plane + c) * n.H + h) * n.W + q * stride[1] + shift, stride[1], end - q, y, row * n.Q + q)


@jit(parallel=True)
def _input_grad(dy, w, dx, n, stride, padding, dilation):
    C, K = n.C // n.G, n.K // n.G
    for row in prange(n.N * n.C * n.H):
        image, c, h = row // (n.C * n.H), row // n.H % n.C, row % n.H
        for k in range(c // C * K, c // C * K + K):
            for r in range(n.R):
                top = h + padding[0] - r * dilation[0]
                p = top // stride[0]
                if top % stride[0] == 0 and 0 <= p < n.P:
                    for s in range(n.S):
                        shift = s * dilation[1] - padding[1]
                        q, end = span(n.Q, n.W, stride[1], shift)
                        add_scattered(w[k, c % C, r, s], dy, ((image * n.K + k) * n.P + p) * n.Q + q, end - q, dx, row * n.W + q * stride[1] + shift, stride[1])


@jit(parallel=True)
def _weight_grad(dy, x, dw, n, stride, padding, dilation):
    C = n.C // n.G
    for plane in prange(n.K * C):
        k, c = plane // C, plane % C
        channel = k // (n.K // n.G) * C + c
        for r in range(n.R):
            for s in range(n.S):
                shift = s * dilation[1] - padding[1]
                q, end = span(n.Q, n.W, stride[1], shift)
                result = 0.0  # float64: a sum of N * P rows
                for image in range(n.N):
                    for p in range(n.P):
                        h = p * stride[0] + r * dilation[0] - padding[0]
                        if 0 <= h < n.H:
                            x0 = ((image * n.C + channel) * n.H + h) * n.W + q * stride[1] + shift
                            result += dot(dy, ((image * n.K + k) * n.P + p) * n.Q + q, x, x0, stride[1], end - q)
                dw[k, c, r, s] = result


@jit
def add_gathered(scale, x, x0, stride, count, y, y0):
    """y[y0 + j] += scale * x[x0 + j*stride] for j in range(count)."""
    if stride == 1:
        L = lanes(x)
        for j in range(0, count - L + 1, L):
            store(y, y0 + j, fma(splat(scale), load(x, x0 + j), load(y, y0 + j)))
        done = count - count % L
        store_part(y, y0 + done, count - done, fma(splat(scale), load_part(x, x0 + done, count - done), load_part(y, y0 + done, count - done)))
    else:
        for j in range(count):
            y[y0 + j] += scale * x[x0 + j * stride]


@jit
def add_scattered(scale, y, y0, count, x, x0, stride):
    """x[x0 + j*stride] += scale * y[y0 + j] for j in range(count)."""
    if stride == 1:
        add_gathered(scale, y, y0, stride, count, x, x0)
    else:
        for j in range(count):
            x[x0 + j * stride] += scale * y[y0 + j]


@jit
def dot(y, y0, x, x0, stride, count):
    """The sum of y[y0 + j] * x[x0 + j*stride] for j in range(count)."""
    result = y.dtype.type(0)
    if stride == 1:
        L = lanes(x)
        done = count - count % L
        sums = fma(load_part(y, y0 + done, count - done), load_part(x, x0 + done, count - done), zero(x))
        for j in range(0, done, L):
            sums = fma(load(y, y0 + j), load(x, x0 + j), sums)
        result = total(sums)
    else:
        for j in range(count):
            result += y[y0 + j] * x[x0 + j * stride]
    return result
