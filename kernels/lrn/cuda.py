"""Local response normalisation on the GPU (lrn.cu), in whichever of the two orders the images lie."""
from ..cuda import blocks, empty_like, launch
from ..cuda.memory import around, flat, in_order_of, ordered

SOURCE, BLOCK = "lrn/lrn.cu", 256
EACH = 4  # channels of a thread of backward, as in the source


def forward(x, size, alpha, beta, k):
    """y and base, both of the shape of x (N, C, ...)."""
    x = ordered(x)
    y, base = empty_like(x), empty_like(x)
    _, C, after = around(x, 1)
    launch(SOURCE, "forward", blocks(x.size, BLOCK), BLOCK, flat(x), flat(y), flat(base), x.size, C, after, size // 2, (size - 1) // 2, alpha, beta, k, real=x.dtype)
    return y, base


def backward(dy, x, base, size, alpha, beta):
    """dx from dy, x and base."""
    x = ordered(x)
    dx = empty_like(x)
    _, C, after = around(x, 1)
    n = x.size // max(1, C) * blocks(C, EACH)
    launch(SOURCE, "backward", blocks(n, BLOCK), BLOCK, flat(in_order_of(x, dy)), flat(x), flat(in_order_of(x, base)), flat(dx), n, C, after, (size - 1) // 2, size // 2,
           alpha, beta, real=x.dtype)
    return dx
