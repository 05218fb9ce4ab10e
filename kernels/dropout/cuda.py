"""Dropout on the GPU (dropout.cu): the same mask as on the CPU for the same seed and call."""
import numpy as np

from ..cuda import blocks, empty, empty_like, launch
from ..cuda.graph import calls_later
from ..cuda.memory import flat, lies_channels_last, ordered
from .reference import scale, threshold

SOURCE, BLOCK, QUADS = "dropout/dropout.cu", 256, 4 * 256


def mask(shape, p, seed, call):
    """Which elements of an array of this shape are kept: True with probability 1 - p."""
    kept = empty(shape, bool)
    launch(SOURCE, "mask", blocks(kept.size, QUADS), BLOCK, kept, kept.size, threshold(p), seed % 2**64, call % 2**64, real=np.float32)
    return kept


def forward(x, p, seed, call):
    """x / (1 - p) where kept, else 0. Linear in x, so the backward pass is forward(dy, p, seed, call)."""
    x = ordered(x)
    y = empty_like(x)
    numbers = threshold(p), scale(p, x.dtype), seed % 2**64, call % 2**64, calls_later()
    if lies_channels_last(x):
        _, C, H, W = x.shape
        launch(SOURCE, "forward_channels_last", blocks(x.size, BLOCK), BLOCK, flat(x), flat(y), x.size, C, H * W, *numbers, real=x.dtype)
    else:
        launch(SOURCE, "forward", blocks(x.size, QUADS), BLOCK, flat(x), flat(y), x.size, *numbers, real=x.dtype)
    return y
