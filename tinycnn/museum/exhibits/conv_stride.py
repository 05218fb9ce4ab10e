"""A convolution whose backward forgets the stride

Output (p, q) saw the window that begins at (p * stride, q * stride). In the backward the loop over p and q is written again, and the stride is left out: each
dy is sent back to the window that begins at (p, q). With stride 1, where it was tested, it is right.

Seen in: solutions of a deep-learning course: Kulbear/deep-learning-coursera, pull request 34 (2018); enggen/Deep-Learning-Coursera, issue 7 (2019)
"""
import numpy as np

from tinycnn.museum.tools import conv, conv_case, pad, taps


def inputs(rng):
    return conv_case(rng, stride=(2, 3))


def forward(x, w, stride, padding, dilation):
    return conv(x, w, stride, padding, dilation)


def backward(dy, x, w, stride, padding, dilation):
    P, Q = dy.shape[2:]
    dx, dw = np.zeros_like(pad(x, padding)), np.zeros_like(w)
    for r, s, part in taps(dx, w.shape, P, Q, 1, dilation):
        part += np.einsum("kc,nkpq->ncpq", w[:, :, r, s], dy)
    for r, s, part in taps(pad(x, padding), w.shape, P, Q, stride, dilation):
        dw[:, :, r, s] = np.einsum("nkpq,ncpq->kc", dy, part)
    H, W = x.shape[2:]
    return dx[:, :, padding:padding + H, padding:padding + W], dw


# ---- the repair

FAMILY = "stride"


def repaired(dy, x, w, stride, padding, dilation):
    P, Q = dy.shape[2:]
    dx, dw = np.zeros_like(pad(x, padding)), np.zeros_like(w)
    for r, s, part in taps(dx, w.shape, P, Q, stride, dilation):
        part += np.einsum("kc,nkpq->ncpq", w[:, :, r, s], dy)
    for r, s, part in taps(pad(x, padding), w.shape, P, Q, stride, dilation):
        dw[:, :, r, s] = np.einsum("nkpq,ncpq->kc", dy, part)
    H, W = x.shape[2:]
    return dx[:, :, padding:padding + H, padding:padding + W], dw
