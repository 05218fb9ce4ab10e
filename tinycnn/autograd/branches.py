"""Which way each operation went: which side of a ReLU, which winner of a maximum.

A function with branches has a derivative only as long as nobody changes sides. So whoever measures a derivative by moving the input records the branches at each
point and compares them: an element that changed sides is a kink that was crossed. An operation that branches says how, beside its forward:

    def branch(args, outputs):            an array made from arguments and outputs, as NumPy arrays; branch_kind says what its numbers are:
        "side"      which side each element took
        "winner"    the index of the element that won
        "place"     (h, w) of the element that won each window, along a last axis of 2

Nothing is recorded, and nothing is computed for it, outside `with record() as taken:`.
"""
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from .function import recording


class Branch(NamedTuple):
    """One operation's choice."""

    operation: str
    kind: str
    taken: np.ndarray


@contextmanager
def record():
    """Within this block, the Branch of every operation that has one is appended to the list that this gives."""
    taken = []
    before = recording.branches

    def note(operation, args, outputs):
        arrays = [host(arg) for arg in args], [host(out) for out in outputs]
        taken.append(Branch(operation.__name__, operation.branch_kind, np.array(operation.branch(*arrays))))

    recording.branches = note
    try:
        yield taken
    finally:
        recording.branches = before


def host(value):
    """A tensor's numbers where NumPy can read them; anything else as it is."""
    array = getattr(value, "array", value)
    return array.get() if hasattr(array, "__cuda_array_interface__") else array
