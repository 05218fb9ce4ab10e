"""Batches on their way to a GPU, one ahead: while the network works on one, the next is being copied.

A GPU copies by itself, without stopping anybody, only from *pinned* memory, which the system may not move; and only where a stream of its own has the copy, since
what is in one stream happens one after the other. So a batch is put into pinned memory, its copy goes to the copying stream, and the stream that computes waits for
that copy alone (an event), when the batch is given out.

The copy in turn waits for what the computing stream was given before: the memory that the copy writes to may just have been freed by work that is still to come.
"""
import numpy as np

from ..device import cpu
from ..device import device as find_device
from ..tensor import Tensor, from_numpy


def upload(batches, device):
    """The batches (tuples of NumPy arrays) as tuples of tensors on a device."""
    where = find_device(device)
    if where is cpu:
        yield from (tuple(map(from_numpy, arrays)) for arrays in batches)
        return
    stream, before = where.xp.cuda.Stream(non_blocking=True), None
    for arrays in batches:
        coming = Copy(arrays, where, stream)
        if before is not None:
            yield before.tensors()
            before.copied.synchronize()  # its pinned memory may go only now
        before = coming
    if before is not None:
        yield before.tensors()
        before.copied.synchronize()


class Copy:
    """One batch, on its way."""

    def __init__(self, arrays, where, stream):
        xp = where.xp
        self.where, self.pinned = where, [pinned_copy(xp, array) for array in arrays]
        self.arrays = [xp.empty(array.shape, array.dtype) for array in arrays]
        stream.wait_event(xp.cuda.get_current_stream().record())
        for array, pinned in zip(self.arrays, self.pinned):
            array.set(pinned, stream=stream)
        self.copied = stream.record()

    def tensors(self):
        """As tensors, which the current stream may use."""
        self.where.xp.cuda.get_current_stream().wait_event(self.copied)
        return tuple(Tensor(array, self.where) for array in self.arrays)


def pinned_copy(xp, array):
    """The array in pinned memory."""
    copy = np.frombuffer(xp.cuda.alloc_pinned_memory(max(1, array.nbytes)), array.dtype, array.size).reshape(array.shape)
    copy[...] = array
    return copy
