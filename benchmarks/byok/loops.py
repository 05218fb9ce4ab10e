"""The definition, and nothing else: seven loops around a multiplication.

    tinycnn bench conv --kernel benchmarks/byok/loops.py resnet50 --batch 1 --layer layer4.0.conv2 --quick

Numba compiles it, because in plain Python a layer of ResNet-50 would take minutes. All three passes walk the same pairs of positions; they differ in
which of x, w and y is written.
"""
import numba
import numpy as np


def forward(x, w, bias, stride, padding, dilation, groups):
    (N, _, H, W), (K, _, R, S) = x.shape, w.shape
    y = np.zeros((N, K, *positions(H, W, R, S, stride, padding, dilation)), x.dtype)
    if bias is not None:
        y += bias.reshape(K, 1, 1)
    forward_loops(x, w, y, stride, padding, dilation, groups)
    return y


def input_grad(dy, w, x_shape, stride, padding, dilation, groups):
    dx = np.zeros(x_shape, dy.dtype)
    input_grad_loops(dy, w, dx, stride, padding, dilation, groups)
    return dx


def weight_grad(dy, x, w_shape, stride, padding, dilation, groups):
    dw = np.zeros(w_shape, dy.dtype)
    weight_grad_loops(dy, x, dw, stride, padding, dilation, groups)
    return dw


def positions(H, W, R, S, stride, padding, dilation):
    """(P, Q)"""
    return tuple((length + 2 * p - d * (taps - 1) - 1) // s + 1 for length, taps, s, p, d in zip((H, W), (R, S), stride, padding, dilation))


@numba.njit
def forward_loops(x, w, y, stride, padding, dilation, groups):
    (N, K, P, Q), (_, Cg, R, S), (H, W) = y.shape, w.shape, x.shape[2:]
    for n in range(N):
        for k in range(K):
            first = k // (K // groups) * Cg  # the first channel that filter k sees
            for p in range(P):
                for q in range(Q):
                    for c in range(Cg):
                        for r in range(R):
                            for s in range(S):
                                h = p * stride[0] + r * dilation[0] - padding[0]
                                v = q * stride[1] + s * dilation[1] - padding[1]
                                if 0 <= h < H and 0 <= v < W:
                                    y[n, k, p, q] += w[k, c, r, s] * x[n, first + c, h, v]


@numba.njit
def input_grad_loops(dy, w, dx, stride, padding, dilation, groups):
    (N, K, P, Q), (_, Cg, R, S), (H, W) = dy.shape, w.shape, dx.shape[2:]
    for n in range(N):
        for k in range(K):
            first = k // (K // groups) * Cg
            for p in range(P):
                for q in range(Q):
                    for c in range(Cg):
                        for r in range(R):
                            for s in range(S):
                                h = p * stride[0] + r * dilation[0] - padding[0]
                                v = q * stride[1] + s * dilation[1] - padding[1]
                                if 0 <= h < H and 0 <= v < W:
                                    dx[n, first + c, h, v] += w[k, c, r, s] * dy[n, k, p, q]


@numba.njit
def weight_grad_loops(dy, x, dw, stride, padding, dilation, groups):
    (N, K, P, Q), (_, Cg, R, S), (H, W) = dy.shape, dw.shape, x.shape[2:]
    for n in range(N):
        for k in range(K):
            first = k // (K // groups) * Cg
            for p in range(P):
                for q in range(Q):
                    for c in range(Cg):
                        for r in range(R):
                            for s in range(S):
                                h = p * stride[0] + r * dilation[0] - padding[0]
                                v = q * stride[1] + s * dilation[1] - padding[1]
                                if 0 <= h < H and 0 <= v < W:
                                    dw[k, c, r, s] += dy[n, k, p, q] * x[n, first + c, h, v]
