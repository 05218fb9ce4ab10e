"""Convolution by the loops of its definition, for any stride, padding, dilation and groups.

    y[n, k, p, q] = bias[k] + sum over c, r, s of  w[k, c, r, s] * x[n, c, p*stride + r*dilation - padding, q*stride + s*dilation - padding]

**Idea.** The innermost loop walks along a row, because there the machine has vectors: a row of y is a sum of rows of x, each shifted and scaled by one weight.
Padding is never stored: where the shifted row sticks out of the image, the loop is that much shorter (`span`).

    forward      row (n, k, p) of y  += w[k, c, r, s] * row (n, c, h) of x          over c, r, s with h inside the image
    input_grad   row (n, c, h) of dx += w[k, c, r, s] * row (n, k, p) of dy         over k, r, s for which some p has h = p*stride + r*dilation - padding
    weight_grad  dw[k, c, r, s]      += row (n, k, p) of dy . row (n, c, h) of x    over n, p

**Threads** share out rows (or filters' planes), each written by one thread only, so there is nothing to be added up afterwards and the result has the same bits
on any number of threads. The input gradient is a gather for that reason: scattered from dy, as the formula suggests, two threads would meet in one element.

**Napkin.** 2*N*K*P*Q*(C/G)*R*S FLOPs, and for each vector of them two loads and a store, from the first-level cache at best: a tenth of what the machine can
do, some GFLOP/s per core. That is the price of generality and of a kernel that fits on a page; im2col.py pays a copy of x to be ten times faster.
Depthwise convolution (groups = C) has nothing to gain there: every x meets R*S weights only, and this is its kernel.
"""
import numpy as np
from numba import prange

from ..runtime import contiguous, jit
from ..unfold.tile import span

REASSOCIATE = {"reassoc", "nsz", "contract"}  # fastmath that lets a sum be cut into vectors, and still respects NaN and infinity
RATE = 6e9  # FLOP/s of one core on long rows


def cost(form, n, geometry, dtype):
    """Rows of 16 or so elements cost about the same as shorter ones."""
    return n.flops / RATE * (1 + 8 / n.Q) * (dtype.itemsize / 4)


def forward(x, w, bias, geometry):
    """y (N, K, P, Q) from x (N, C, H, W), w (K, C/groups, R, S) and bias (K,) or None."""
    N, _, H, W = x.shape
    K, _, R, S = w.shape
    y = np.empty((N, K, *geometry.output_size((H, W), (R, S))), x.dtype)
    bias = np.zeros(K, x.dtype) if bias is None else contiguous(bias)
    _forward(contiguous(x), contiguous(w), bias, y, *geometry)
    return y


def input_grad(dy, w, x_shape, geometry):
    """dx (N, C, H, W) from dy (N, K, P, Q) and w."""
    dx = np.empty(x_shape, dy.dtype)
    _input_grad(contiguous(dy), contiguous(w), dx, *geometry)
    return dx


def weight_grad(dy, x, w_shape, geometry):
    """dw (K, C/groups, R, S) from dy (N, K, P, Q) and x."""
    dw = np.empty(w_shape, dy.dtype)
    _weight_grad(contiguous(dy), contiguous(x), dw, *geometry)
    return dw


@jit(parallel=True)
def _forward(x, w, bias, y, stride, padding, dilation, groups):
    N, K, P, Q = y.shape
    _, C, R, S = w.shape  # C: channels of a group
    H, W = x.shape[2:]
    for row in prange(N * K * P):
        n, k, p = row // (K * P), row // P % K, row % P
        out = y[n, k, p]
        out[:] = bias[k]
        c0 = k // (K // groups) * C
        for c in range(C):
            for r in range(R):
                h = p * stride[0] + r * dilation[0] - padding[0]
                if 0 <= h < H:
                    for s in range(S):
                        shift = s * dilation[1] - padding[1]
                        first, end = span(Q, W, stride[1], shift)
                        _add_gathered(out[first:end], x[n, c0 + c, h, first * stride[1] + shift:], stride[1], w[k, c, r, s])


@jit(parallel=True)
def _input_grad(dy, w, dx, stride, padding, dilation, groups):
    N, K, P, Q = dy.shape
    _, Cg, R, S = w.shape
    _, C, H, W = dx.shape
    Kg = K // groups
    for row in prange(N * C * H):
        n, c, h = row // (C * H), row // H % C, row % H
        out = dx[n, c, h]
        out[:] = 0
        for k in range(c // Cg * Kg, c // Cg * Kg + Kg):
            for r in range(R):
                top = h + padding[0] - r * dilation[0]
                p = top // stride[0]
                if top % stride[0] == 0 and 0 <= p < P:
                    for s in range(S):
                        shift = s * dilation[1] - padding[1]
                        first, end = span(Q, W, stride[1], shift)
                        _add_scattered(out[first * stride[1] + shift:], dy[n, k, p, first:end], stride[1], w[k, c % Cg, r, s])


@jit(parallel=True)
def _weight_grad(dy, x, dw, stride, padding, dilation, groups):
    N, K, P, Q = dy.shape
    _, C, R, S = dw.shape
    H, W = x.shape[2:]
    for plane in prange(K * C):
        k, c = plane // C, plane % C
        channel = k // (K // groups) * C + c
        for r in range(R):
            for s in range(S):
                shift = s * dilation[1] - padding[1]
                first, end = span(Q, W, stride[1], shift)
                total = 0.0  # float64: a sum of N * P rows
                for n in range(N):
                    for p in range(P):
                        h = p * stride[0] + r * dilation[0] - padding[0]
                        if 0 <= h < H:
                            total += _dot(dy[n, k, p, first:end], x[n, channel, h, first * stride[1] + shift:], stride[1])
                dw[k, c, r, s] = total


@jit
def _add_gathered(out, row, stride, scale):
    """out[q] += scale * row[q*stride]"""
    if stride == 1:  # said apart, so that it becomes vectors
        for q in range(len(out)):
            out[q] += scale * row[q]
    else:
        for q in range(len(out)):
            out[q] += scale * row[q * stride]


@jit
def _add_scattered(out, row, stride, scale):
    """out[q*stride] += scale * row[q]"""
    if stride == 1:
        for q in range(len(row)):
            out[q] += scale * row[q]
    else:
        for q in range(len(row)):
            out[q * stride] += scale * row[q]


@jit(fastmath=REASSOCIATE)
def _dot(a, row, stride):
    """sum of a[q] * row[q*stride]"""
    total = a.dtype.type(0)
    if stride == 1:
        for q in range(len(a)):
            total += a[q] * row[q]
    else:
        for q in range(len(a)):
            total += a[q] * row[q * stride]
    return total
