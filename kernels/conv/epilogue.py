"""What may be done with the results of a convolution while they are still at hand, instead of in passes of their own over memory.

    y = relu(conv(x, w) + bias + add)        and of it perhaps only the maximum of each 2 x 2, written to `out`

A pass over a large activation costs as much as a tenth to a half of the convolution that made it; in a register the same takes an instruction. Algorithms that
can do this on the way do; for the others `finish` does it afterwards, with the same result.
"""
from typing import NamedTuple

import numpy as np

from ..graph.record import noted


class Epilogue(NamedTuple):
    relu: bool = False
    add: np.ndarray | None = None  # an array of y's shape: what a residual block adds
    out: np.ndarray | None = None  # where y goes, an array of its shape; it may be some channels of a larger one, or `add` itself
    pool: bool = False  # of an odd row or column the last is left out

    def shape(self, n):
        """The shape of y."""
        return (n.N, n.K, n.P // 2, n.Q // 2) if self.pool else (n.N, n.K, n.P, n.Q)

    @property
    def in_place(self):
        """Whether y is written over what is added, which has just been read into the cache: there is no use in writing past it."""
        return self.out is not None and self.add is self.out


NOTHING = Epilogue()


def finish(y, epilogue):
    """The epilogue, on a y (N, K, P, Q) that has been computed in memory of its own."""
    out = epilogue.out
    if out is None:
        out = np.empty_like(y[:, :, :y.shape[2] // 2, :y.shape[3] // 2]) if epilogue.pool else y
    _finish(y, epilogue, out)
    return out


@noted
def _finish(y, epilogue, out):
    if epilogue.add is not None:
        y += epilogue.add
    if epilogue.relu:
        np.maximum(y, 0, out=y)
    if epilogue.pool:
        N, K, P, Q = y.shape
        y = y[:, :, :P - P % 2, :Q - Q % 2].reshape(N, K, P // 2, 2, Q // 2, 2).max((3, 5))
    if out is not y:
        out[...] = y
