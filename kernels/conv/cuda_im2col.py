"""Convolution on the GPU as a matrix product with the unfolded image (im2col.py has the idea): kernels/unfold and kernels/matmul, in turn, over parts of the batch.

In these terms, for each image and group, with U (C/G*R*S, P*Q) the unfolded image:

    forward      Y  = W @ U            input_grad   dU = W^T @ dY, folded            weight_grad  dW = sum over images of dY @ U^T

The column buffer holds as many images as fit into COLUMNS elements, or, where not even one does, a part of its positions or channels. A 1x1 convolution is a matrix
product as it stands, in either memory order.

**Napkin.** 2*N*K*P*Q*(C/G)*R*S FLOPs; U is written once and read about once: 8*N*C*R*S*P*Q bytes, that is K/4 FLOPs a byte. At 60 TFLOP/s and 3 TB/s the two take the
same time for K = 80; narrow layers are bound by the buffer, and are what implicit.cu is for. Unfolding works on contiguous arrays (N, C, H, W), and makes them.
"""

from ..cuda import contiguous, empty
from ..cuda.memory import empty_images, lies_channels_last, ordered
from ..elementwise.cuda import add_, copy_
from ..matmul.cuda import multiply
from ..unfold.cuda import SOURCE as UNFOLD
from ..unfold.cuda import fold, unfold
from .cuda_model import Kernel, passes, product, seconds
from .sizes import sizes

NAME = "im2col"
UNFOLDING = 0.25  # of the bandwidth: an H200 took 0.16 ms to fold the 128 MB of ResNet-50's first layer, and unfolding computes positions in the same way
COLUMNS = 64 << 20  # elements of the column buffer, at most (but for one channel of an image)


def stages(form, n, geometry, dtype):
    """Unfolding (or folding), and the matrix product."""
    C, K, RS, PQ = n.C // n.G, n.K // n.G, n.R * n.S, n.P * n.Q
    if form == "forward":
        multiply = product(PQ, K, C * RS, n.N * n.G, dtype)
    elif form == "input_grad":
        multiply = product(C * RS, PQ, K, n.N * n.G, dtype)
    else:
        multiply = product(K, C * RS, n.N * PQ, n.G, dtype)
    if is_product(n, geometry) and form != "weight_grad":
        return [multiply]
    moved = n.N * (n.C * n.H * n.W + n.C * RS * PQ)
    if form == "input_grad":
        return [multiply, passes("folding", moved, dtype, Kernel(UNFOLD, "col2im", {"real": dtype}), bandwidth=UNFOLDING)]
    if form == "weight_grad":
        moved += 2 * n.N * n.K * PQ  # dy in another order
    return [passes("unfolding", moved, dtype, Kernel(UNFOLD, "im2col", {"real": dtype}), 1 + (form == "weight_grad"), UNFOLDING), multiply]


def cost(form, n, geometry, dtype):
    return seconds(stages(form, n, geometry, dtype))


def scratch(form, n, geometry):
    """Elements of the column buffer."""
    if is_product(n, geometry) and form != "weight_grad":
        return 0
    return min(COLUMNS, n.N * n.C * n.R * n.S * n.P * n.Q)


def is_product(n, geometry):
    """Whether the image is its own unfolding."""
    return (n.R, n.S) == (1, 1) == geometry.stride and geometry.padding == (0, 0)


def parts(N, image, length):
    """[(images, part)]: slices of the batch and of an axis of `length`, so that the columns of each (`image` elements for a whole image) fit into the buffer."""
    images = max(1, min(N, COLUMNS // max(1, image)))
    part = length if image <= COLUMNS else max(1, length * COLUMNS // image)
    return [(slice(i, min(N, i + images)), slice(j, min(length, j + part))) for i in range(0, N, images) for j in range(0, length, part)]


def forward(x, w, bias, geometry):
    """y (N, K, P, Q) from x (N, C, H, W), w (K, C/groups, R, S) and bias (K,) or None."""
    n, window = sizes(x.shape, w.shape, geometry), geometry.window(w.shape[2:])
    G, CRS, PQ = n.G, n.C // n.G * n.R * n.S, n.P * n.Q
    W, bias = contiguous(w).reshape(G, n.K // G, CRS), None if bias is None else contiguous(bias).reshape(G, n.K // G)
    if is_product(n, geometry):
        x = ordered(x)
        y = empty_images((n.N, n.K, n.P, n.Q), x.dtype, x)
        multiply(pixels(x, G), W.transpose(0, 2, 1), pixels(y, G), bias)
        return y
    x, y = contiguous(x), empty((n.N, n.K, n.P, n.Q), x.dtype)
    Y = y.reshape(n.N, G, n.K // G, PQ)
    for images, positions in parts(n.N, n.C * n.R * n.S * PQ, PQ):
        count, part = images.stop - images.start, positions.stop - positions.start
        U = empty((count, G * CRS, part), x.dtype)
        unfold(x[images], U, window, positions.start)
        U, out = U.reshape(count, G, CRS, part), Y[images, :, :, positions]
        multiply(U.transpose(0, 1, 3, 2), W.transpose(0, 2, 1), out.transpose(0, 1, 3, 2), bias)  # Y^T = U^T @ W^T: a bias is added to columns
    return y


def pixels(x, G):
    """Images (N, C, H, W), contiguous or channels-last, as matrices (..., G, pixels, C/G): a view, with all pixels in one matrix where they lie one after another."""
    N, C, H, W = x.shape
    if lies_channels_last(x):
        return x.transpose(0, 2, 3, 1).reshape(N * H * W, G, C // G).transpose(1, 0, 2)
    return x.reshape(N, G, C // G, H * W).transpose(0, 1, 3, 2)


def input_grad(dy, w, x_shape, geometry):
    """dx (N, C, H, W) from dy (N, K, P, Q) and w."""
    n, window = sizes(x_shape, w.shape, geometry), geometry.window(w.shape[2:])
    G, C, RS, PQ = n.G, n.C // n.G, n.R * n.S, n.P * n.Q
    W = contiguous(w).reshape(G, n.K // G, C, RS)
    if is_product(n, geometry):
        dy = ordered(dy)
        dx = empty_images(x_shape, dy.dtype, dy)
        multiply(pixels(dy, G), W[..., 0], pixels(dx, G))
        return dx
    dx, dY = empty(x_shape, dy.dtype), contiguous(dy).reshape(n.N, G, n.K // G, PQ)
    for images, channels in parts(n.N, n.C * RS * PQ, C):
        count, part = images.stop - images.start, channels.stop - channels.start
        U = empty((count, G, part * RS, PQ), dy.dtype)
        multiply(W[:, :, channels].reshape(G, n.K // G, part * RS).transpose(0, 2, 1), dY[images], U)
        fold(U.reshape(count * G, part * RS, PQ), dx[images].reshape(count * G, C, n.H, n.W)[:, channels], window)
    return dx


def weight_grad(dy, x, w_shape, geometry):
    """dw (K, C/groups, R, S) from dy (N, K, P, Q) and x: one product for each part, whose sum runs over all its images and positions."""
    n, window = sizes(x.shape, w_shape, geometry), geometry.window(w_shape[2:])
    G, CRS, PQ = n.G, n.C // n.G * n.R * n.S, n.P * n.Q
    x, dy = contiguous(x), contiguous(dy).reshape(n.N, n.K, PQ)
    dw = None
    for images, positions in parts(n.N, n.C * n.R * n.S * PQ, PQ) or [(slice(0, 0), slice(0, 0))]:
        count, part = images.stop - images.start, positions.stop - positions.start
        U, dY = empty((G * CRS, count, part), x.dtype), empty((n.K, count, part), x.dtype)
        unfold(x[images], U.transpose(1, 0, 2), window, positions.start)
        copy_(dY.transpose(1, 0, 2), dy[images, :, positions])
        product = multiply(dY.reshape(G, n.K // G, count * part), U.reshape(G, CRS, count * part).transpose(0, 2, 1), empty((G, n.K // G, CRS), x.dtype))
        if dw is None:
            dw = product
        else:
            add_(dw, product)
    return dw.reshape(w_shape)
