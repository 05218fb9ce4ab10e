"""Training shared among processes: each has the whole network and its share of every batch, and they average their gradients.

The mean loss of a batch is the mean of its shares' mean losses, weighted by their numbers of images, and so is its gradient. So N processes make the step that one
process makes with the whole batch, up to the order of additions:

    the batch           is cut in N shares, in order; the last one of an epoch, which may be smaller, too. Together they are the batch of one process
    random numbers      follow from (seed, epoch, image) for augmentation; a dropout mask is drawn for the batch, and each process takes its part
    weights             are those of process 0 at the start, and stay equal, since all make the same step
    BatchNorm           is the exception: each process normalises with the mean and variance of its own share, as a batch of that size would be.
                        The running statistics are averaged after each step
    loss, accuracy      are summed over the processes, as are requests to stop, so that all stop after the same step

All of a step that is no gradient travels in one short message, the report, while the backward pass runs. The trainer asks an object for all this; there are two, with
the same methods: Alone is one process, and does nothing.
"""
import os
from contextlib import contextmanager

import numpy as np

from ..data.dataset import Subset
from ..random import part_of
from .buckets import GradientAverage
from .shares import share, share_sizes


class Alone:
    """One process, which has all of every batch."""

    rank, size, is_first = 0, 1, True
    command = "tinycnn train"

    def from_first(self, function):
        """What function() returns in process 0, in every process."""
        return function()

    def own_part(self, dataset):
        """The share of a dataset that this process tests."""
        return dataset

    def prepare(self, model):
        """Called once, before the first step."""

    @contextmanager
    def sharing(self, images):
        """Within this block a step is made with this process's share of a batch of so many images."""
        yield

    def before_backward(self, result, stop):
        """The forward pass is over. result: an Average of this process's images (train/metrics.py); stop: whether it was asked to stop. One process is not told."""

    def after_backward(self, result):
        """The backward pass is over. Gradients are those of the whole batch now. Returns its Average, and whether several processes agreed to stop after this step."""
        return result, False

    def gather(self, *arrays):
        """Each array with those of the other processes behind it, in the order of the ranks."""
        return arrays


class DataParallel:
    """One of the processes of an MPI communicator."""

    def __init__(self, comm):
        self.comm, self.rank, self.size, self.is_first = comm, comm.rank, comm.size, comm.rank == 0
        self.pids = comm.allgather(os.getpid())  # mpirun names a process that dies by its PID
        self.command = f"mpirun -n {comm.size} tinycnn train --distributed"

    def from_first(self, function):
        return self.comm.bcast(function() if self.is_first else None)

    def own_part(self, dataset):
        if len(dataset) < self.size:
            raise ValueError(f"{len(dataset)} test images cannot be shared among {self.size} processes: start at most {len(dataset)}")
        return Subset(dataset, np.arange(len(dataset))[share(len(dataset), self.rank, self.size)])

    def prepare(self, model):
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.array[...] = self.comm.bcast(tensor.array)
        self.statistics = [buffer for buffer in model.buffers() if buffer.is_floating]
        self.average = GradientAverage(model.parameters(), self.comm)

    @contextmanager
    def sharing(self, images):
        own = share(images, self.rank, self.size)
        self.weight = (own.stop - own.start) / images  # 0 where there are fewer images than processes: then it goes through the motions with an image of another
        with part_of(0, own.start, images):
            yield

    def before_backward(self, result, stop):
        from mpi4py import MPI
        mine = (result.images, result.loss, result.correct) if self.weight else (0, 0, 0)
        self.kind = type(result)
        self.report = np.concatenate([(*mine, stop), *(self.weight * buffer.array.reshape(-1) for buffer in self.statistics)], dtype=np.float64)
        self.on_its_way = self.comm.Iallreduce(MPI.IN_PLACE, self.report)
        self.average.begin(self.weight)

    def after_backward(self, result):
        self.average.finish()
        self.on_its_way.Wait()
        (images, loss, correct, stop), rest = self.report[:4], self.report[4:]
        for buffer in self.statistics:
            buffer.array[...] = rest[:buffer.numel()].reshape(buffer.shape)
            rest = rest[buffer.numel():]
        return self.kind(int(images), float(loss), int(correct)), stop > 0

    def describe(self, batch_size):
        """Who does what, in a line for people."""
        who = ", ".join(f"{rank}: PID {pid}" for rank, pid in enumerate(self.pids))
        images = " or ".join(str(n) for n in sorted(set(share_sizes(batch_size, self.size))))
        sizes = [bucket.buffer.nbytes for bucket in self.average.buckets]
        return f"{self.size} processes ({who}), each with {images} images of a batch; gradients of {sum(sizes) / 1e6:,.2f} MB travel in {len(sizes)} buckets"

    def gather(self, *arrays):
        return tuple(np.concatenate(parts) for parts in zip(*self.comm.allgather(arrays)))
