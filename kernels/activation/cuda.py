"""The rectifier on the GPU (activation.cu; see the reference for what it computes).

In whichever of the two orders the elements lie, they are gone through as they lie.
"""
from ..cuda import blocks, empty_like, launch
from ..cuda.memory import flat, in_order_of, ordered
from ..elementwise.cuda import copy_
from ..reduce.cuda import sum

SOURCE = "activation/activation.cu"
BLOCK, EACH = 256, 4  # threads of a block, elements of a thread


def relu(x):
    """max(x, 0)"""
    x = ordered(x)
    y = empty_like(x)
    launch(SOURCE, "relu", blocks(x.size, BLOCK * EACH), BLOCK, flat(x), flat(y), x.size, real=x.dtype)
    return y


def relu_(x):
    """x = max(x, 0), in x's own memory. Returns x."""
    lying = ordered(x)
    launch(SOURCE, "relu", blocks(x.size, BLOCK * EACH), BLOCK, flat(lying), flat(lying), x.size, real=x.dtype)
    if lying is not x:
        copy_(x, lying)
    return x


def relu_backward(dy, y):
    """dx: dy where y > 0 (or NaN, as in PyTorch), else 0, whatever dy is there."""
    y = ordered(y)
    dy, dx = in_order_of(y, dy), empty_like(y)
    launch(SOURCE, "relu_backward", blocks(y.size, BLOCK * EACH), BLOCK, flat(dy), flat(y), flat(dx), y.size, real=y.dtype)
    return dx


def relu_backward_sums(dy, y):
    """(dx, db): dx as above, of images (N, C, H, W), and the sum of every channel of it (C,)."""
    dx = relu_backward(dy, y)
    return dx, sum(dx, (0, 2, 3), False)
