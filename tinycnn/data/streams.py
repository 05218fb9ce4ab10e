"""Random numbers that belong to a sample, not to a moment: the same (key, sample, draw) gives the same number whatever was drawn before, and on which thread.

A usual generator is a queue: who asks first gets the first number, so the augmentation of an image would depend on how many workers there are. Here the number
is computed from its address instead. SplitMix64 (Steele, Lea, Flood 2014) walks a 64-bit counter in steps of an odd constant and scrambles it:

    number i of the stream that starts at s  =  scramble(s + (i + 1) * STEP)

The start of a sample's stream is itself such a number: its address (seed, epoch, ..., sample) is folded in one part after the other. All of it is arithmetic on
arrays, so that the draws for a whole batch cost a few NumPy calls, and the bits depend on no library's version.
"""
import numpy as np

STEP = np.uint64(0x9E3779B97F4A7C15)


def scramble(z):
    """SplitMix64's finaliser, on a uint64 array: every bit of the result depends on every bit of z."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


class Streams:
    """One stream of random numbers for each sample of a stack: `Streams((seed, epoch), indices)`.

    Each call draws one number per sample, as an array (N,), or the next `count` of them, as (N, count).
    """

    def __init__(self, key, indices):
        start = np.zeros(1, np.uint64)  # an array, since uint64 scalars warn where arrays wrap around
        for part in (*key, np.asarray(indices, np.int64).reshape(-1)):
            start = scramble(start ^ _words(part)) + STEP
        self.start = start
        self.drawn = 0

    def __len__(self):
        return len(self.start)

    def bits(self, count=None):
        """64 random bits."""
        numbers = np.arange(self.drawn + 1, self.drawn + 1 + (count or 1), dtype=np.uint64)
        self.drawn += len(numbers)
        bits = scramble(self.start[:, None] + numbers * STEP)  # (N, count)
        return bits if count else bits[:, 0]

    def uniform(self, low=0.0, high=1.0, count=None):
        """float64 in [low, high); the bounds may be arrays."""
        low, high = np.asarray(low), np.asarray(high)
        return low + (high - low) * ((self.bits(count) >> np.uint64(11)) * 2.0**-53)

    def integers(self, low, high):
        """int64 in [low, high], both included; the bounds may be arrays."""
        low, high = np.asarray(low, np.int64), np.asarray(high, np.int64)
        return low + np.floor(self.uniform() * (high - low + 1)).astype(np.int64)

    def normal(self, std=1.0, count=None):
        """float64 from a normal distribution of mean 0 (Box and Muller's transform of two uniform numbers)."""
        radius = np.sqrt(-2 * np.log1p(-self.uniform(count=count)))  # 1 - u lies in (0, 1], where the logarithm is finite
        return std * radius * np.cos(2 * np.pi * self.uniform(count=count))


def shuffled(n, key):
    """The numbers 0 ... n-1 in a random order that depends on `key` alone: each draws a number, and they line up by it."""
    return np.argsort(Streams(key, np.arange(n)).bits(), kind="stable")


def _words(part):
    """An integer (taken modulo 2^64) or an integer array as a uint64 array."""
    return part.view(np.uint64) if isinstance(part, np.ndarray) else np.array([int(part) % 2**64], np.uint64)
