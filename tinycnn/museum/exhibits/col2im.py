"""col2im that assigns

The gradient of im2col, which copies overlapping windows into columns, adds up what comes back from all the copies. A reader of a well-known textbook proposed =
for +=, with a test that seemed to prove it: it put ones back where windows overlap and expected ones.

Seen in: oreilly-japan/deep-learning-from-scratch, issue 27 (2018), https://github.com/oreilly-japan/deep-learning-from-scratch/issues/27 (the book is right,
the proposal is not)
"""
import numpy as np

from tinycnn.museum.tools import conv, conv_case, pad, taps


def inputs(rng):
    return conv_case(rng, stride=(1, 1))


def forward(x, w, stride, padding, dilation):
    return conv(x, w, stride, padding, dilation)


def backward(dy, x, w, stride, padding, dilation):
    P, Q = dy.shape[2:]
    dx, dw = np.zeros_like(pad(x, padding)), np.zeros_like(w)
    for r, s, part in taps(dx, w.shape, P, Q, stride, dilation):
        part[...] = np.einsum("kc,nkpq->ncpq", w[:, :, r, s], dy)
    for r, s, part in taps(pad(x, padding), w.shape, P, Q, stride, dilation):
        dw[:, :, r, s] = np.einsum("nkpq,ncpq->kc", dy, part)
    H, W = x.shape[2:]
    return dx[:, :, padding:padding + H, padding:padding + W], dw


# ---- the repair

FAMILY = "overwritten"


def repaired(dy, x, w, stride, padding, dilation):
    P, Q = dy.shape[2:]
    dx, dw = np.zeros_like(pad(x, padding)), np.zeros_like(w)
    for r, s, part in taps(dx, w.shape, P, Q, stride, dilation):
        part += np.einsum("kc,nkpq->ncpq", w[:, :, r, s], dy)
    for r, s, part in taps(pad(x, padding), w.shape, P, Q, stride, dilation):
        dw[:, :, r, s] = np.einsum("nkpq,ncpq->kc", dy, part)
    H, W = x.shape[2:]
    return dx[:, :, padding:padding + H, padding:padding + W], dw
