"""Average pooling that divides by another number than its forward

At the border a window reaches into the padding, or beyond it, and holds fewer elements. Forward and backward must divide by the same count: either all R * R,
or those that are there. Here the forward counts those that are there and the backward all.

Seen in: tracel-ai/burn, issue 5604 (2026), https://github.com/tracel-ai/burn/issues/5604; PyTorch's compiler, issue 198119 (2026)
"""
import numpy as np

from tinycnn.museum.tools import normal, pad, positions, size, taps


def inputs(rng):
    return normal(rng, size(rng, 1, 2), 2, size(rng, 5, 7), size(rng, 5, 7)), 3, 1


def forward(x, R, padding):
    P, Q = (positions(n, R, 1, padding) for n in x.shape[2:])
    total, count = (sum(part for _, _, part in taps(pad(image, padding), (R, R), P, Q)) for image in (x, np.ones_like(x)))
    return total / count


def backward(dy, x, R, padding):
    (H, W), (P, Q) = x.shape[2:], dy.shape[2:]
    dx = np.zeros_like(x)
    for p in range(P):
        for q in range(Q):
            rows, columns = slice(max(p - padding, 0), min(p - padding + R, H)), slice(max(q - padding, 0), min(q - padding + R, W))
            count = R * R
            dx[:, :, rows, columns] += dy[:, :, p, q, None, None] / count
    return dx


# ---- the repair

FAMILY = "borders"


def repaired(dy, x, R, padding):
    (H, W), (P, Q) = x.shape[2:], dy.shape[2:]
    dx = np.zeros_like(x)
    for p in range(P):
        for q in range(Q):
            rows, columns = slice(max(p - padding, 0), min(p - padding + R, H)), slice(max(q - padding, 0), min(q - padding + R, W))
            count = (rows.stop - rows.start) * (columns.stop - columns.start)
            dx[:, :, rows, columns] += dy[:, :, p, q, None, None] / count
    return dx
