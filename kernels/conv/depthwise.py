"""Depthwise convolution, every channel by a filter of its own (groups = C = K), on channels-last memory.

    y[n, p, q, c] = bias[c] + sum over r, s of  w[r, s, c] * x[n, p*stride + r*dilation - padding, q*stride + s*dilation - padding, c]

**Idea.** Channels never meet, so there is no matrix product to be had; but they all do the same, so they are the lanes of vectors. A result is summed up in a register
over the taps that lie inside the image, which are a range of r and a range of s (`span`): padding is never stored. The input gradient is the same sum seen from x: over
the taps for which a result exists that looks at it; for stride 1 that is a forward pass over dy with the filter turned round. The weight gradient sums over an image's
results for each tap; images are summed up apart, and then in order.

**Napkin.** 2*N*C*P*Q*R*S FLOPs on N*C*(H*W + P*Q) elements moved: for 3x3 filters 18 FLOPs for 8 bytes. Each product loads an element of x and one of w from the nearest
cache, so a core does one vector of products a cycle, half of what it can; two cores with a copy of 23 GB/s are bound by memory unless x is in a cache.
Measured (16x128x28x28, 3x3, two cores of an Intel Xeon, Sapphire Rapids): 1.1 ms for each of the three, a tenth of the direct loop's time and 2.5 to 2.9 times PyTorch's:
weights are loaded anew for every result, where they could stay in registers along a row.
"""
from math import inf

import numpy as np
from numba import prange

from ..layout import nhwc
from ..memory import empty_channels_last
from ..runtime import contiguous, jit, summed
from ..simd.choose import put, take
from ..simd.vector import add, fma, lanes, maximum, zero
from .epilogue import NOTHING, Epilogue, finish
from .outputs import target
from .sizes import sizes

NAME = "depthwise"
PRODUCT, ELEMENT = 0.6e-9, 0.3e-9  # seconds for a vector of products, and to move an element


def cost(form, n, geometry, dtype):
    """Its products, and what is moved."""
    if not n.G == n.C == n.K:
        return inf
    vectors = n.N * n.P * n.Q * -(-n.C // 16)
    return (vectors * n.R * n.S * PRODUCT + n.N * n.C * (n.H * n.W + n.P * n.Q) * ELEMENT) * (dtype.itemsize / 4) + 15e-6


def scratch(form, n, geometry):
    """Each image's weight gradient."""
    return n.N * n.R * n.S * n.C if form == "weight_grad" else 0


def pack(w, x_shape, geometry, once=False):
    """w (C, 1, R, S) as (R, S, C)."""
    return contiguous(contiguous(w)[:, 0].transpose(1, 2, 0))


def forward(x, packed, w_shape, bias, geometry, epilogue=NOTHING):
    """y (N, C, P, Q), channels-last, from x (N, C, H, W)."""
    n = sizes(x.shape, w_shape, geometry)
    y, memory, start, pixel = target(epilogue.out, (n.N, n.K, n.P, n.Q), x.dtype)
    bias = np.zeros(0, x.dtype) if bias is None else contiguous(bias)
    residual = np.zeros(0, x.dtype) if epilogue.add is None else nhwc(epilogue.add).reshape(-1)
    _forward(nhwc(x).reshape(-1), packed.reshape(-1), bias, residual, epilogue.relu, n, *geometry[:3], memory, start, pixel)
    return y


def input_grad(dy, w, x_shape, geometry, add=None):
    """dx (N, C, H, W), channels-last, from dy (N, C, P, Q) and w, plus `add`."""
    n = sizes(x_shape, w.shape, geometry)
    dx = empty_channels_last(x_shape, dy.dtype)
    dy, w, memory = nhwc(dy).reshape(-1), pack(w, x_shape, geometry), nhwc(dx).reshape(-1)
    if geometry.stride == (1, 1):  # a forward pass over dy, with the filter turned round
        turned, nothing = contiguous(w[::-1, ::-1]).reshape(-1), np.zeros(0, dy.dtype)
        padding = tuple(d * (r - 1) - p for d, r, p in zip(geometry.dilation, (n.R, n.S), geometry.padding))
        there_and_back = n._replace(H=n.P, W=n.Q, P=n.H, Q=n.W)
        _forward(dy, turned, nothing, nothing, False, there_and_back, (1, 1), padding, geometry.dilation, memory, 0, n.C)
    else:
        _input_grad(dy, w.reshape(-1), n, *geometry[:3], memory)
    return finish(dx, Epilogue(add=add))


def weight_grad(dy, x, w_shape, geometry):
    """dw (C, 1, R, S) from dy (N, C, P, Q) and x."""
    n = sizes(x.shape, w_shape, geometry)
    partial = np.empty((n.N, n.R, n.S, n.C), x.dtype)
    _weight_grad(nhwc(dy).reshape(-1), nhwc(x).reshape(-1), n, *geometry[:3], partial.reshape(-1))
    dw = summed(partial.reshape(n.N, -1), n.R * n.S * n.C, x.dtype).reshape(n.R, n.S, n.C)
    return contiguous(dw.transpose(2, 0, 1)).reshape(w_shape)


@jit
def span(position, taps, length, stride, padding, dilation):
    """The taps (first, end) of the window at `position` that lie inside an axis of `length`."""
    start = position * stride - padding
    first = max(0, -(start // dilation))  # the smallest r with start + r*dilation >= 0
    return first, max(first, min(taps, (length - 1 - start) // dilation + 1))


@jit(parallel=True)
def _forward(x, w, bias, residual, relu, n, stride, padding, dilation, y, y0, pixel):
    for task in prange(n.N * n.P):
        _forward_row(np.int64(task), x, w, bias, residual, relu, n, stride, padding, dilation, y, y0, pixel)


@jit
def _forward_row(row, x, w, bias, residual, relu, n, stride, padding, dilation, y, y0, pixel):
    image, p = row // n.P, row % n.P
    top, bottom = span(p, n.R, n.H, stride[0], padding[0], dilation[0])
    for q in range(n.Q):
        left, right = span(q, n.S, n.W, stride[1], padding[1], dilation[1])
        for c in range(0, n.C, lanes(x)):
            count = n.C - c
            total = take(bias, c, count) if bias.size else zero(x)
            for r in range(top, bottom):
                at = ((image * n.H + p * stride[0] + r * dilation[0] - padding[0]) * n.W + q * stride[1] - padding[1]) * n.C + c
                for s in range(left, right):
                    total = fma(take(x, at + s * dilation[1] * n.C, count), take(w, (r * n.S + s) * n.C + c, count), total)
            o = row * n.Q + q
            if residual.size:
                total = add(total, take(residual, o * n.C + c, count))
            if relu:
                total = maximum(zero(x), total)  # in this order NaN stays NaN
            put(y, y0 + o * pixel + c, count, False, total)


@jit(parallel=True)
def _input_grad(dy, w, n, stride, padding, dilation, dx):
    for task in prange(n.N * n.H):
        _input_grad_row(np.int64(task), dy, w, n, stride, padding, dilation, dx)


@jit
def _input_grad_row(row, dy, w, n, stride, padding, dilation, dx):
    image, h = row // n.H, row % n.H
    for column in range(n.W):
        for c in range(0, n.C, lanes(dx)):
            count, total = n.C - c, zero(dx)
            for r in range(n.R):
                p = h + padding[0] - r * dilation[0]
                if p >= 0 and p % stride[0] == 0 and p // stride[0] < n.P:
                    for s in range(n.S):
                        q = column + padding[1] - s * dilation[1]
                        if q >= 0 and q % stride[1] == 0 and q // stride[1] < n.Q:
                            at = ((image * n.P + p // stride[0]) * n.Q + q // stride[1]) * n.C + c
                            total = fma(take(dy, at, count), take(w, (r * n.S + s) * n.C + c, count), total)
            put(dx, (row * n.W + column) * n.C + c, count, False, total)


@jit(parallel=True)
def _weight_grad(dy, x, n, stride, padding, dilation, dw):
    for task in prange(n.N):
        _weight_grad_image(np.int64(task), dy, x, n, stride, padding, dilation, dw)


@jit
def _weight_grad_image(image, dy, x, n, stride, padding, dilation, dw):
    for c in range(0, n.C, lanes(x)):
        count = n.C - c
        for r in range(n.R):
            for s in range(n.S):
                total = zero(x)
                for p in range(n.P):
                    h = p * stride[0] + r * dilation[0] - padding[0]
                    if 0 <= h < n.H:
                        for q in range(n.Q):
                            column = q * stride[1] + s * dilation[1] - padding[1]
                            if 0 <= column < n.W:
                                y0 = ((image * n.P + p) * n.Q + q) * n.C + c
                                total = fma(take(dy, y0, count), take(x, ((image * n.H + h) * n.W + column) * n.C + c, count), total)
                put(dw, ((image * n.R + r) * n.S + s) * n.C + c, count, False, total)
