"""A weight gradient that takes every group for the first

In a convolution in groups, filter k sees only the channels of its own group. The weight gradient must pair them in the same way. Here every filter is paired
with the channels of the first group: right for one group, wrong in silence for more.

Seen in: PyTorch, issue 51430 (2021), https://github.com/pytorch/pytorch/issues/51430: torch.nn.grad.conv2d_weight with groups > 1 (there the pairing was wrong
in another way)
"""
import numpy as np

from tinycnn.museum.tools import conv, normal, size, taps


def inputs(rng):
    groups, C, K, R = (size(rng, 2, 3) for _ in range(4))
    return normal(rng, 1, groups * C, 4, size(rng, 4, 5)), normal(rng, groups * K, C, R, 2), groups


def forward(x, w, groups):
    return np.concatenate([conv(part, filters) for part, filters in zip(np.split(x, groups, 1), np.split(w, groups))], axis=1)


def backward(dy, x, w, groups):
    C, K, (P, Q) = x.shape[1] // groups, len(w) // groups, dy.shape[2:]
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for g in range(groups):
        channels, filters = slice(0, C), slice(g * K, (g + 1) * K)
        for r, s, part in taps(dx[:, g * C:(g + 1) * C], w.shape, P, Q):
            part += np.einsum("kc,nkpq->ncpq", w[filters, :, r, s], dy[:, filters])
        for r, s, part in taps(x[:, channels], w.shape, P, Q):
            dw[filters, :, r, s] = np.einsum("nkpq,ncpq->kc", dy[:, filters], part)
    return dx, dw


# ---- the repair

FAMILY = "groups"


def repaired(dy, x, w, groups):
    C, K, (P, Q) = x.shape[1] // groups, len(w) // groups, dy.shape[2:]
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for g in range(groups):
        channels, filters = slice(g * C, (g + 1) * C), slice(g * K, (g + 1) * K)
        for r, s, part in taps(dx[:, g * C:(g + 1) * C], w.shape, P, Q):
            part += np.einsum("kc,nkpq->ncpq", w[filters, :, r, s], dy[:, filters])
        for r, s, part in taps(x[:, channels], w.shape, P, Q):
            dw[filters, :, r, s] = np.einsum("nkpq,ncpq->kc", dy[:, filters], part)
    return dx, dw
