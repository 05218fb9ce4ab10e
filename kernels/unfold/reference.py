"""Unfolding: what a sliding window sees, one column per position (im2col), and its adjoint (col2im).

    columns[n, (c*R + r)*S + s, p*Q + q] = x[n, c, p*stride + r*dilation - padding, q*stride + s*dilation - padding]        (zero outside the image)

With columns in hand, convolution is one matrix product: y (K, P*Q) = w (K, C*R*S) @ columns (C*R*S, P*Q) for each image. Every element of x appears in as many
columns as windows contain it, so col2im, the adjoint, sums over those: it does not undo im2col, it multiplies each element by that count. Nothing is computed;
time is that of writing R*S copies of x.  PyTorch calls the two unfold and fold.
"""
import numpy as np

from ..window import pad, taps


def im2col(x, window):
    """columns (N, C*R*S, P*Q) from x (N, C, H, W)."""
    N, C, H, W = x.shape
    P, Q = window.positions((H, W))
    columns = np.empty((N, C, *window.size, P, Q), x.dtype)
    for r, s, part in taps(pad(x, window.padding), window, (P, Q)):
        columns[:, :, r, s] = part
    return columns.reshape(N, C * window.size[0] * window.size[1], P * Q)


def col2im(columns, x_shape, window):
    """x (N, C, H, W) from columns (N, C*R*S, P*Q): each element is the sum of its copies, zero where no window came."""
    N, C, H, W = x_shape
    P, Q = window.positions((H, W))
    columns = columns.reshape(N, C, *window.size, P, Q)
    top, left = window.padding
    padded = np.zeros((N, C, H + 2 * top, W + 2 * left), columns.dtype)
    for r, s, part in taps(padded, window, (P, Q)):
        part += columns[:, :, r, s]
    return padded[:, :, top:top + H, left:left + W]
