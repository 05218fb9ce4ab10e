"""A weight gradient with filters and channels exchanged

The weight gradient computed by a convolution of x with dy comes out as (C, K, R, S) and must be turned. With as many filters as channels the shape does not
tell.

Seen in: nntrainer, issue 705 (2020), https://github.com/nntrainer/nntrainer/issues/705: "weight grad is transposed in wrong order"
"""
import numpy as np

from tinycnn.museum.tools import conv, conv_case, pad, taps


def inputs(rng):
    return conv_case(rng, square=True)


def forward(x, w, stride, padding, dilation):
    return conv(x, w, stride, padding, dilation)


def backward(dy, x, w, stride, padding, dilation):
    P, Q = dy.shape[2:]
    dx, dw = np.zeros_like(pad(x, padding)), np.zeros_like(w)
    for r, s, part in taps(dx, w.shape, P, Q, stride, dilation):
        part += np.einsum("kc,nkpq->ncpq", w[:, :, r, s], dy)
    for r, s, part in taps(pad(x, padding), w.shape, P, Q, stride, dilation):
        dw[:, :, r, s] = np.einsum("nkpq,ncpq->kc", dy, part)
    H, W = x.shape[2:]
    return dx[:, :, padding:padding + H, padding:padding + W], dw.transpose(1, 0, 2, 3)


# ---- the repair

FAMILY = "transposed"


def repaired(dy, x, w, stride, padding, dilation):
    P, Q = dy.shape[2:]
    dx, dw = np.zeros_like(pad(x, padding)), np.zeros_like(w)
    for r, s, part in taps(dx, w.shape, P, Q, stride, dilation):
        part += np.einsum("kc,nkpq->ncpq", w[:, :, r, s], dy)
    for r, s, part in taps(pad(x, padding), w.shape, P, Q, stride, dilation):
        dw[:, :, r, s] = np.einsum("nkpq,ncpq->kc", dy, part)
    H, W = x.shape[2:]
    return dx[:, :, padding:padding + H, padding:padding + W], dw
