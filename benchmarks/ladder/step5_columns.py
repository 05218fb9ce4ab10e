"""Step 5: unfold the image, and let BLAS multiply (im2col).

What the filter sees at a position becomes a row of a matrix, (P*Q, R*S*C), and all filters at all positions are one matrix product, for which BLAS is made. The
price is the matrix: nine times the image for a 3x3 filter, written and read again. One image at a time, so that no more of it exists at once.
"""
import numpy as np
from common import input_grad_by, pad

IDEA, ORDER = "unfolded, multiplied by BLAS (NumPy's matmul)", "NHWC"


def forward(x, w, padding):
    padded = pad(x, padding)
    (N, H, W, _), (K, _, R, S) = padded.shape, w.shape
    by_tap = np.ascontiguousarray(w.transpose(2, 3, 1, 0)).reshape(-1, K)
    y = np.empty((N, (H - R + 1) * (W - S + 1), K), x.dtype)
    for n in range(N):
        np.matmul(rows(padded[n], R, S), by_tap, out=y[n])  # (P*Q, K) = (P*Q, R*S*C) @ (R*S*C, K)
    return y.reshape(N, H - R + 1, W - S + 1, K)


input_grad = input_grad_by(forward)


def weight_grad(dy, x, padding):
    padded = pad(x, padding)
    (N, P, Q, K), (_, H, W, C) = dy.shape, padded.shape
    R, S = H - P + 1, W - Q + 1
    dw = np.zeros((R * S * C, K), x.dtype)
    for n in range(N):
        dw += rows(padded[n], R, S).T @ dy[n].reshape(P * Q, K)
    return np.ascontiguousarray(dw.reshape(R, S, C, K).transpose(3, 2, 0, 1))


def rows(image, R, S):
    """(P*Q, R*S*C): what the filter sees at each position of a padded image (H, W, C)."""
    P, Q = image.shape[0] - R + 1, image.shape[1] - S + 1
    return np.concatenate([image[r:r + P, s:s + Q] for r in range(R) for s in range(S)], axis=2).reshape(P * Q, -1)
