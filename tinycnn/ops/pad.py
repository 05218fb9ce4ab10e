"""Padding with a constant. Its adjoint is cropping, which is padding by the negative amounts."""
from ..autograd import Function


class ConstantPad(Function):
    def forward(ctx, x, pads, value):
        ctx.pads = pads
        return ctx.kernels.pad.constant(x.array, pads, value)

    def backward(ctx, dy):
        return ConstantPad.apply(dy, tuple((-before, -after) for before, after in ctx.pads), 0.0), None, None


def pad(x, pad, mode="constant", value=0.0):
    """x with borders of `value`. pad: (left, right, top, bottom, ...), pairs from the last dimension backwards; negative amounts crop."""
    if mode != "constant":
        raise ValueError(f"pad: mode {mode!r} is not available; only 'constant' is")
    pad = tuple(int(amount) for amount in pad)
    if len(pad) % 2 or len(pad) > 2 * x.ndim:
        raise ValueError(f"pad: {pad} must be pairs (before, after) for at most the {x.ndim} dimensions of {x.shape}, last dimension first")
    pairs = tuple(zip(pad[::2], pad[1::2]))[::-1]
    pairs = ((0, 0),) * (x.ndim - len(pairs)) + pairs
    for size, (before, after) in zip(x.shape, pairs):
        if size + before + after < 0:
            raise ValueError(f"pad: {pad} crops more than there is of {x.shape}")
    return ConstantPad.apply(x, pairs, 0.0 if value is None else value)
