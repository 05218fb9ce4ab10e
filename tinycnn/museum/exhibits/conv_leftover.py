"""An input gradient that is too small

Where the stride does not divide H + 2 * padding - R, the last rows of the input are reached by no window. Their gradient is zero, but it must be there: here
the size of dx is computed back from that of dy, and comes out too small.

Seen in: Torch7, issue 20 (2012), https://github.com/torch/DEPRECEATED-torch7-distro/issues/20 (a 32 x 32 image came back as 31 x 31); PKUFlyingPig/CMU10-714,
issue 6 (2024)
"""
import numpy as np

from tinycnn.museum.tools import conv, conv_case, pad, taps


def case_with_rest(rng):
    """A convolution whose stride leaves rows over."""
    while True:
        x, w, stride, padding, dilation = conv_case(rng, stride=(2, 3), padding=(0, 0))
        if any((n - r) % stride for n, r in zip(x.shape[2:], w.shape[2:])):
            return x, w, stride, padding, dilation


def inputs(rng):
    return case_with_rest(rng)


def forward(x, w, stride, padding, dilation):
    return conv(x, w, stride, padding, dilation)


def backward(dy, x, w, stride, padding, dilation):
    P, Q = dy.shape[2:]
    dx, dw = np.zeros_like(pad(x, padding)), np.zeros_like(w)
    for r, s, part in taps(dx, w.shape, P, Q, stride, dilation):
        part += np.einsum("kc,nkpq->ncpq", w[:, :, r, s], dy)
    for r, s, part in taps(pad(x, padding), w.shape, P, Q, stride, dilation):
        dw[:, :, r, s] = np.einsum("nkpq,ncpq->kc", dy, part)
    H, W = ((n - 1) * stride + r - 2 * padding for n, r in zip((P, Q), w.shape[2:]))
    return dx[:, :, padding:padding + H, padding:padding + W], dw


# ---- the repair

FAMILY = "leftover rows"


def repaired(dy, x, w, stride, padding, dilation):
    P, Q = dy.shape[2:]
    dx, dw = np.zeros_like(pad(x, padding)), np.zeros_like(w)
    for r, s, part in taps(dx, w.shape, P, Q, stride, dilation):
        part += np.einsum("kc,nkpq->ncpq", w[:, :, r, s], dy)
    for r, s, part in taps(pad(x, padding), w.shape, P, Q, stride, dilation):
        dw[:, :, r, s] = np.einsum("nkpq,ncpq->kc", dy, part)
    H, W = x.shape[2:]
    return dx[:, :, padding:padding + H, padding:padding + W], dw
