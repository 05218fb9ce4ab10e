"""Convolution, written so that it can be believed by reading it.

One formula, three readings. With x (N, C, H, W), w (K, C/G, R, S) and y (N, K, P, Q),

    y[n, k, p, q] = bias[k] + sum over c, r, s of  w[k, c, r, s] * x[n, c, p*stride + r*dilation - padding, q*stride + s*dilation - padding]

is, bias aside, linear in x and linear in w (x is zero outside the image). Multiply by any dy of y's shape and sum everything up: the result

    T(x, w, dy) = sum over n, k, p, q, c, r, s of  dy[n, k, p, q] * w[k, c, r, s] * x[n, c, h(p, r), w(q, s)]

is linear in each of the three. Leave one of them out, and what it would have been multiplied by is a convolution kernel:

    leave out dy: forward           leave out x: input_grad           leave out w: weight_grad

That is all of convolution's backward pass, and of its backward's backward. All three walk the same (p, r) and (q, s) pairs; they differ in what they sum over.
Here each is R*S shifted matrix products; slow, obvious, any dtype. (P = (H + 2*padding - dilation*(R-1) - 1) // stride + 1, and Q likewise.)
docs/convolution.md tells the same at length.
"""
import numpy as np

from ..window import pad, taps
from .epilogue import NOTHING, finish


def forward(x, w, bias, geometry, *, epilogue=NOTHING):
    """y (N, K, P, Q) from x (N, C, H, W), w (K, C/groups, R, S) and bias (K,) or None. epilogue: what else is done with y (epilogue.py)."""
    N, C, H, W = x.shape
    K, _, R, S = w.shape
    G = geometry.groups
    window = geometry.window((R, S))
    P, Q = window.positions((H, W))
    y = np.zeros((N, G, K // G, P, Q), x.dtype)
    wg = w.reshape(G, K // G, C // G, R, S)
    for r, s, part in taps(pad(x, window.padding), window, (P, Q)):
        # (N, G, K/G, P, Q) += (G, K/G, C/G) * (N, G, C/G, P, Q)
        y += np.einsum("gkc,ngcpq->ngkpq", wg[..., r, s], part.reshape(N, G, C // G, P, Q))
    y = y.reshape(N, K, P, Q)
    y = y if bias is None else y + bias.reshape(K, 1, 1)
    return finish(y, epilogue)


def input_grad(dy, w, x_shape, geometry, *, add=None):
    """dx (N, C, H, W) from dy (N, K, P, Q) and w: every product that an input took part in is sent back to it.

    Inputs that no filter position reached (leftover rows when the stride does not divide) get zero. add: an array of dx's shape that is added to it, what other uses
    of x have sent back.
    """
    N, C, H, W = x_shape
    _, K, P, Q = dy.shape
    R, S = w.shape[2:]
    G = geometry.groups
    window = geometry.window((R, S))
    padded = np.zeros((N, C, H + 2 * window.padding[0], W + 2 * window.padding[1]), dy.dtype)
    wg = w.reshape(G, K // G, C // G, R, S)
    dyg = dy.reshape(N, G, K // G, P, Q)
    for r, s, part in taps(padded, window, (P, Q)):
        # windows overlap, so they accumulate: (N, G, C/G, P, Q) += (G, K/G, C/G) * (N, G, K/G, P, Q)
        part += np.einsum("gkc,ngkpq->ngcpq", wg[..., r, s], dyg).reshape(part.shape)
    top, left = window.padding
    dx = padded[:, :, top:top + H, left:left + W]
    return dx if add is None else dx + add


def weight_grad(dy, x, w_shape, geometry):
    """dw (K, C/groups, R, S) from dy (N, K, P, Q) and x: each weight collects from every position that used it."""
    N, K, P, Q = dy.shape
    C = x.shape[1]
    R, S = w_shape[2:]
    G = geometry.groups
    window = geometry.window((R, S))
    dw = np.zeros((G, K // G, C // G, R, S), dy.dtype)
    dyg = dy.reshape(N, G, K // G, P, Q)
    for r, s, part in taps(pad(x, window.padding), window, (P, Q)):
        # (G, K/G, C/G) = sum over N, P, Q of (N, G, K/G, P, Q) * (N, G, C/G, P, Q)
        dw[..., r, s] = np.einsum("ngkpq,ngcpq->gkc", dyg, part.reshape(N, G, C // G, P, Q))
    return dw.reshape(w_shape)
