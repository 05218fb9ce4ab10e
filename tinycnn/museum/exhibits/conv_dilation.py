"""An input gradient that forgets the dilation

Dilation came late to most libraries, and was added to the forward first. The input gradient went on sending dy back to neighbours.

Seen in: Theano, issue 4729 (2016), https://github.com/Theano/Theano/issues/4729: the Python implementation of the input gradient ignored dilation
"""
import numpy as np

from tinycnn.museum.tools import conv, conv_case, pad, taps


def inputs(rng):
    return conv_case(rng, dilation=(2, 2))


def forward(x, w, stride, padding, dilation):
    return conv(x, w, stride, padding, dilation)


def backward(dy, x, w, stride, padding, dilation):
    P, Q = dy.shape[2:]
    dx, dw = np.zeros_like(pad(x, padding)), np.zeros_like(w)
    for r, s, part in taps(dx, w.shape, P, Q, stride, 1):
        part += np.einsum("kc,nkpq->ncpq", w[:, :, r, s], dy)
    for r, s, part in taps(pad(x, padding), w.shape, P, Q, stride, dilation):
        dw[:, :, r, s] = np.einsum("nkpq,ncpq->kc", dy, part)
    H, W = x.shape[2:]
    return dx[:, :, padding:padding + H, padding:padding + W], dw


# ---- the repair

FAMILY = "dilation"


def repaired(dy, x, w, stride, padding, dilation):
    P, Q = dy.shape[2:]
    dx, dw = np.zeros_like(pad(x, padding)), np.zeros_like(w)
    for r, s, part in taps(dx, w.shape, P, Q, stride, dilation):
        part += np.einsum("kc,nkpq->ncpq", w[:, :, r, s], dy)
    for r, s, part in taps(pad(x, padding), w.shape, P, Q, stride, dilation):
        dw[:, :, r, s] = np.einsum("nkpq,ncpq->kc", dy, part)
    H, W = x.shape[2:]
    return dx[:, :, padding:padding + H, padding:padding + W], dw
