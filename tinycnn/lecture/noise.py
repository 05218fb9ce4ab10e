"""Is it an effect, or noise? The same network trained with another seed has another accuracy, so one run against one run shows nothing.

Two ways to train are compared seed by seed: both begin with the same seed (the same order of images, and where their networks are alike the same weights), and the
differences d_1 ... d_n are averaged. Were there no effect, that mean would lie within

    margin = t * s / sqrt(n),       s the standard deviation of the d_i, t Student's quantile for n - 1 degrees of freedom,

of 0 in 95 cases of 100 (if seeds scatter normally). Only what lies outside is called an effect. A single seed says nothing about scatter: its margin is infinite.
"""
import math
from statistics import fmean, stdev
from typing import NamedTuple

from .claim import DID_NOT_HOLD, HELD, IN_PART, NOT_SHOWN

T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)  # Student's 97.5% quantile for 1, 2, ... degrees of freedom; the last for all above, a little too wide


class Difference(NamedTuple):
    """The mean of several differences, and the margin within which it could be chance."""

    mean: float
    margin: float
    n: int

    @property
    def verdict(self):
        """Whether it is above 0 for certain, below, or neither."""
        if self.n == 0 or abs(self.mean) <= self.margin:
            return NOT_SHOWN
        return HELD if self.mean > 0 else DID_NOT_HOLD


def difference(larger, smaller):
    """Of two lists of numbers, a pair for each seed: the Difference larger - smaller."""
    return scatter([a - b for a, b in zip(larger, smaller, strict=True)])


def scatter(values):
    """The mean of values, and its margin."""
    n = len(values)
    if n < 2:
        return Difference(values[0] if values else math.nan, math.inf, n)
    return Difference(fmean(values), T[min(n - 1, len(T)) - 1] * stdev(values) / math.sqrt(n), n)


def together(verdicts):
    """The verdict on a claim of several parts."""
    kinds = set(verdicts)
    if len(kinds) == 1:
        return kinds.pop()
    return IN_PART if HELD in kinds or IN_PART in kinds else NOT_SHOWN


def percent(values):
    """"12.3% ± 0.4%": mean and standard deviation."""
    return f"{fmean(values):.1%}" + (f" ± {stdev(values):.1%}" if len(values) > 1 else "")


def points(found):
    """A Difference of shares in percentage points: "+1.2 ± 0.5 points"."""
    return f"{100 * found.mean:+.1f}" + (f" ± {100 * found.margin:.1f}" if math.isfinite(found.margin) else "") + " points"
