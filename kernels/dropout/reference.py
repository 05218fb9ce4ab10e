"""Dropout (Srivastava et al. 2014): each element is dropped, set to 0, with probability p; the rest are divided by 1 - p, so that the mean stays.

The random numbers are counted, not drawn in turn: element i (counted in logical C order, whatever the strides) of dropout call number `call` gets the random word

    word[i] = philox(counter = (i // 4, call), key = seed)[i % 4]              counter and key: 64-bit numbers as pairs of 32-bit words, the low one first

and is kept where word >= p * 2^32. So the same seed gives the same mask on every device, in any order and on any number of threads, and the backward pass, which
is forward on dy, makes the mask again instead of storing it.

Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC 2011) turns a 128-bit counter and a 64-bit key into four random words by
ten rounds: two words are multiplied by constants into 64-bit products, whose low halves move on and whose high halves are mixed by xor with the other two words and
the key; the key moves by constants (the golden ratio and sqrt(3) - 1) from round to round.
"""
import numpy as np

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
LOW, HIGH = np.uint64(0xFFFFFFFF), np.uint64(32)  # the low 32 bits, and the shift that leaves the high ones


def mask(shape, p, seed, call):
    """Which elements of an array of this shape are kept: True with probability 1 - p."""
    size = int(np.prod(shape, dtype=np.int64))
    quads = np.arange((size + 3) // 4, dtype=np.uint64)
    words = philox((quads & LOW, quads >> HIGH, *words_of(call)), words_of(seed))
    return (np.stack(words, axis=-1).reshape(-1)[:size] >= threshold(p)).reshape(shape)


def forward(x, p, seed, call):
    """x / (1 - p) where kept, else 0. Linear in x, so the backward pass is forward(dy, p, seed, call)."""
    return np.where(mask(x.shape, p, seed, call), x * scale(p, x.dtype), x.dtype.type(0))


def philox(counter, key):
    """Four random words for four counter words (arrays or numbers) and two key words; all are uint64 holding 32 bits."""
    c0, c1, c2, c3 = (np.asarray(word, np.uint64) for word in counter)
    k0, k1 = key
    for _ in range(ROUNDS):
        left, right = c0 * np.uint64(MULTIPLIERS[0]), c2 * np.uint64(MULTIPLIERS[1])
        c0, c1, c2, c3 = (right >> HIGH) ^ c1 ^ np.uint64(k0), right & LOW, (left >> HIGH) ^ c3 ^ np.uint64(k1), left & LOW
        k0, k1 = (k0 + KEY_STEPS[0]) & 0xFFFFFFFF, (k1 + KEY_STEPS[1]) & 0xFFFFFFFF
    return np.broadcast_arrays(c0, c1, c2, c3)


def threshold(p):
    """The smallest word that is kept: p * 2^32. At p = 1 that is more than any word."""
    return round(p * 2**32)


def scale(p, dtype):
    """What kept elements are multiplied by. At p = 1 none is kept, and any number will do."""
    return dtype.type(1 / (1 - p) if p < 1 else 1)


def words_of(number):
    """(low, high): the 32-bit words of a number modulo 2^64."""
    return number & 0xFFFFFFFF, number >> 32 & 0xFFFFFFFF
