"""Step 0: the definition, and nothing else. Seven loops in pure Python.

    y[n, k, p, q] = sum over c, r, s of  w[k, c, r, s] * x[n, c, p + r - padding, q + s - padding]         where that is inside the image

The gradients walk the same seven loops over the same products; they differ in which of x, w and y is written.
"""
import numpy as np

IDEA, ORDER = "the seven loops of the definition, in pure Python", "NCHW"


def forward(x, w, padding):
    (N, _, H, W), (K, _, R, S) = x.shape, w.shape
    y = np.zeros((N, K, H + 2 * padding - R + 1, W + 2 * padding - S + 1), x.dtype)
    forward_loops(x, w, y, padding)
    return y


def input_grad(dy, w, padding):
    (N, _, P, Q), (_, C, R, S) = dy.shape, w.shape
    dx = np.zeros((N, C, P + R - 1 - 2 * padding, Q + S - 1 - 2 * padding), dy.dtype)
    input_grad_loops(dy, w, dx, padding)
    return dx


def weight_grad(dy, x, padding):
    (_, K, P, Q), (_, C, H, W) = dy.shape, x.shape
    dw = np.zeros((K, C, H + 2 * padding - P + 1, W + 2 * padding - Q + 1), x.dtype)
    weight_grad_loops(dy, x, dw, padding)
    return dw


def forward_loops(x, w, y, padding):
    (N, K, P, Q), (_, C, R, S), (H, W) = y.shape, w.shape, x.shape[2:]
    for n in range(N):
        for k in range(K):
            for p in range(P):
                for q in range(Q):
                    for c in range(C):
                        for r in range(R):
                            for s in range(S):
                                h, v = p + r - padding, q + s - padding
                                if 0 <= h < H and 0 <= v < W:
                                    y[n, k, p, q] += w[k, c, r, s] * x[n, c, h, v]


def input_grad_loops(dy, w, dx, padding):
    (N, K, P, Q), (_, C, R, S), (H, W) = dy.shape, w.shape, dx.shape[2:]
    for n in range(N):
        for k in range(K):
            for p in range(P):
                for q in range(Q):
                    for c in range(C):
                        for r in range(R):
                            for s in range(S):
                                h, v = p + r - padding, q + s - padding
                                if 0 <= h < H and 0 <= v < W:
                                    dx[n, c, h, v] += w[k, c, r, s] * dy[n, k, p, q]


def weight_grad_loops(dy, x, dw, padding):
    (N, K, P, Q), (_, C, R, S), (H, W) = dy.shape, dw.shape, x.shape[2:]
    for n in range(N):
        for k in range(K):
            for p in range(P):
                for q in range(Q):
                    for c in range(C):
                        for r in range(R):
                            for s in range(S):
                                h, v = p + r - padding, q + s - padding
                                if 0 <= h < H and 0 <= v < W:
                                    dw[k, c, r, s] += dy[n, k, p, q] * x[n, c, h, v]


def part(layer):
    """A part of the layer that takes seconds rather than minutes. A product costs the same in both."""
    return layer._replace(N=1, C=min(layer.C, 4), K=min(layer.K, 4), H=min(layer.H, 14), W=min(layer.W, 14))
