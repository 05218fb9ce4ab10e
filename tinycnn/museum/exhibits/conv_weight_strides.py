"""A weight gradient with stride and dilation exchanged

In the weight gradient dy plays the part of the filter, and stride and dilation change places: dy is dilated by the stride, and the result is stepped by the
dilation. Who computes it by calling the forward kernel must hand them over exchanged; who computes it directly must not. Both have been got wrong, in both
directions.

Seen in: iree-org/iree-turbine, pull request 1223 (2025), https://github.com/iree-org/iree-turbine/pull/1223; huggingface/candle, pull request 2337 (2024)
"""
import numpy as np

from tinycnn.museum.tools import conv, conv_case, pad, taps


def inputs(rng):
    return conv_case(rng, stride=(2, 2), padding=(1, 1), dilation=(1, 1))


def forward(x, w, stride, padding, dilation):
    return conv(x, w, stride, padding, dilation)


def backward(dy, x, w, stride, padding, dilation):
    P, Q = dy.shape[2:]
    dx, dw = np.zeros_like(pad(x, padding)), np.zeros_like(w)
    for r, s, part in taps(dx, w.shape, P, Q, stride, dilation):
        part += np.einsum("kc,nkpq->ncpq", w[:, :, r, s], dy)
    for r, s, part in taps(pad(x, padding), w.shape, P, Q, dilation, stride):
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
