"""Convolution as one matrix product: what every filter position sees becomes a column (im2col), and BLAS does the rest. Plain NumPy.

    tinycnn bench conv --kernel benchmarks/byok/im2col.py resnet50 --batch 1 --layer layer4.0.conv2 --quick

The price is memory: the columns are R*S times as large as the image. Image by image, so that only one image's columns exist at a time.
"""
import numpy as np


def forward(x, w, bias, stride, padding, dilation, groups):
    (N, _, H, W), (K, _, R, S) = x.shape, w.shape
    window = (R, S), stride, padding, dilation
    P, Q = positions(H, W, *window)
    y = np.empty((N, groups, K // groups, P * Q), x.dtype)
    for image, out in zip(x, y):
        # (G, K/G, P*Q) = (G, K/G, C/G*R*S) @ (G, C/G*R*S, P*Q)
        np.matmul(w.reshape(groups, K // groups, -1), columns(image, *window).reshape(groups, -1, P * Q), out=out)
    y = y.reshape(N, K, P, Q)
    return y if bias is None else y + bias.reshape(K, 1, 1)


def input_grad(dy, w, x_shape, stride, padding, dilation, groups):
    (N, C, H, W), (K, _, R, S) = x_shape, w.shape
    P, Q = dy.shape[2:]
    (top, left) = padding
    dx = np.zeros((N, C, H + 2 * top, W + 2 * left), dy.dtype)
    for image, out in zip(dx, dy):
        # (G, C/G*R*S, P*Q) = (G, C/G*R*S, K/G) @ (G, K/G, P*Q): what each column receives; then it goes back to where it was taken from
        received = w.reshape(groups, K // groups, -1).swapaxes(1, 2) @ out.reshape(groups, K // groups, P * Q)
        received = received.reshape(C, R, S, P, Q)
        for r, s, part in taps(image, (R, S), (P, Q), stride, dilation):
            part += received[:, r, s]
    return np.ascontiguousarray(dx[:, :, top:top + H, left:left + W])


def weight_grad(dy, x, w_shape, stride, padding, dilation, groups):
    K, Cg, R, S = w_shape
    P, Q = dy.shape[2:]
    dw = np.zeros((groups, K // groups, Cg * R * S), dy.dtype)
    for image, out in zip(x, dy):
        # (G, K/G, C/G*R*S) += (G, K/G, P*Q) @ (G, P*Q, C/G*R*S)
        dw += out.reshape(groups, K // groups, P * Q) @ columns(image, (R, S), stride, padding, dilation).reshape(groups, -1, P * Q).swapaxes(1, 2)
    return dw.reshape(w_shape)


def positions(H, W, size, stride, padding, dilation):
    """(P, Q)"""
    return tuple((length + 2 * p - d * (taps - 1) - 1) // s + 1 for length, taps, s, p, d in zip((H, W), size, stride, padding, dilation))


def columns(image, size, stride, padding, dilation):
    """(C, R, S, P, Q) from an image (C, H, W)"""
    C, H, W = image.shape
    P, Q = positions(H, W, size, stride, padding, dilation)
    padded = np.pad(image, ((0, 0), (padding[0],) * 2, (padding[1],) * 2))
    unfolded = np.empty((C, *size, P, Q), image.dtype)
    for r, s, part in taps(padded, size, (P, Q), stride, dilation):
        unfolded[:, r, s] = part
    return unfolded


def taps(padded, size, count, stride, dilation):
    """For each tap of the filter what lies under it, (C, P, Q): a view of the padded image."""
    for r in range(size[0]):
        for s in range(size[1]):
            top, left = r * dilation[0], s * dilation[1]
            yield r, s, padded[:, top:top + (count[0] - 1) * stride[0] + 1:stride[0], left:left + (count[1] - 1) * stride[1] + 1:stride[1]]
