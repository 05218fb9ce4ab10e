"""How threads are shared out among results that are worked out together (block.h): a result is a team's, and a block has as many teams as there is room for."""
from typing import NamedTuple

from .launch import blocks

BLOCK = 256  # threads, as in block.h
EACH = 64  # elements that a thread adds up before the answers are combined: long enough to be worth the tree, short enough to keep the digits of a float


class Teams(NamedTuple):
    """Threads to a team, blocks for all results, and the parts into which a long result is cut, each another block's."""

    size: int
    blocks: int
    part: int  # elements
    parts: int


def teams(results, length, side_by_side):
    """Teams for `results` results of `length` elements. side_by_side: the elements of a result are neighbours in memory, and not the results."""
    size = BLOCK if side_by_side else BLOCK // min(32, _power(results))
    size = min(size, _power(length))
    part = max(EACH * size, blocks(length, 65535))
    return Teams(size, blocks(results, BLOCK // size), part, blocks(length, part))


def _power(n):
    """The smallest power of 2 that is at least n, and 1 of nothing."""
    return 1 << max(0, n - 1).bit_length()
