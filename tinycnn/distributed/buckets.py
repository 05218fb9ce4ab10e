"""Averaging gradients while the backward pass still runs.

The backward pass goes from the last layer to the first, so the last layer's gradients are ready early, and can travel while others are computed. Sending each for
itself would cost a message's latency per tensor; so they are gathered in buckets of about a megabyte, and a full bucket sets off. That is three steps:

    pack    the hook of a parameter copies its finished gradient, times this process's weight, into its place in a bucket
    send    once it and all buckets before it are full: a non-blocking all-reduce (MPI's Iallreduce), which adds up what all processes have
    wait    after the backward pass, for those still on their way

All processes must send the same buckets in the same order: parameters fill them from the last one registered to the first, about the order in which gradients come.

A ring all-reduce of n bytes over P processes sends 2 (P - 1)/P n bytes from each: for AlexNet's 61 million weights and two processes 244 MB in a step.
"""
import numpy as np

from ..tensor import Tensor

BUCKET_BYTES = 1 << 20


def make_buckets(sizes, limit):
    """Lists of indices into `sizes` (bytes), from the last to the first: a bucket is closed when another would take it beyond `limit`; one larger than that is alone."""
    buckets, filled = [], 0
    for index in reversed(range(len(sizes))):
        if not buckets or filled + sizes[index] > limit:
            buckets.append([])
            filled = 0
        buckets[-1].append(index)
        filled += sizes[index]
    return buckets


class Bucket:
    """Some tensors' places in one flat buffer."""

    def __init__(self, tensors):
        self.buffer = np.zeros(sum(tensor.numel() for tensor in tensors), tensors[0].dtype)
        ends = np.cumsum([tensor.numel() for tensor in tensors])
        self.places = [part.reshape(tensor.shape) for part, tensor in zip(np.split(self.buffer, ends[:-1]), tensors)]
        self.waiting = set(range(len(tensors)))  # places without this pass's gradient


class GradientAverage:
    """The weighted mean, over the processes of `comm`, of the gradients of `parameters`.

        average.begin(weight)       the weights of all processes sum to 1
        loss.backward()             buckets set off as they fill
        average.finish()            every .grad is the mean, the same bits in every process

    A gradient is a view of its bucket afterwards, valid until the next backward pass. A parameter that the loss does not depend on keeps None.
    """

    def __init__(self, parameters, comm, bucket_bytes=BUCKET_BYTES):
        self.parameters, self.comm = [parameter for parameter in parameters if parameter.requires_grad], comm
        self.buckets, self.home = [], {}  # home: index of a parameter -> (bucket number, place)
        for indices in self._by_dtype(make_buckets([p.numel() * p.element_size() for p in self.parameters], bucket_bytes)):
            self.home |= {index: (len(self.buckets), place) for place, index in enumerate(indices)}
            self.buckets.append(Bucket([self.parameters[index] for index in indices]))
        self.weight = None  # not None: a backward pass is to be averaged
        self.requests = []  # of the buckets that were sent; the number of the next one is their count
        for index, parameter in enumerate(self.parameters):
            parameter.register_hook(lambda gradient, index=index: self._ready(index, gradient))

    def begin(self, weight):
        """The next backward pass is to be averaged; this process's gradients count `weight`."""
        self.weight, self.requests = weight, []
        for bucket in self.buckets:
            bucket.waiting = set(range(len(bucket.places)))

    def finish(self):
        """Wait for all buckets, and give every parameter the mean as its gradient. Returns how many buckets had set off while the backward pass ran."""
        early, self.weight = len(self.requests), None
        for _ in self.buckets[early:]:  # those with a parameter that got no gradient (its place may hold anything), and those behind them
            self._send()
        for request in self.requests:
            request.Wait()
        for index, (bucket, place) in self.home.items():
            parameter = self.parameters[index]
            if parameter.grad is not None:
                parameter.grad = Tensor(self.buckets[bucket].places[place], parameter.device)
        return early

    def _ready(self, index, gradient):
        """The hook of a parameter: its gradient is complete."""
        if self.weight is None:
            return
        number, place = self.home[index]
        bucket = self.buckets[number]
        np.multiply(gradient.array, self.weight, out=bucket.places[place])
        bucket.waiting.discard(place)
        while len(self.requests) < len(self.buckets) and not self.buckets[len(self.requests)].waiting:
            self._send()
        for request in self.requests:  # MPI moves messages on only when it is called
            request.Test()

    def _send(self):
        from mpi4py import MPI
        self.requests.append(self.comm.Iallreduce(MPI.IN_PLACE, self.buckets[len(self.requests)].buffer))

    def _by_dtype(self, buckets):
        """Buckets of one dtype each."""
        for indices in buckets:
            for dtype in dict.fromkeys(self.parameters[index].dtype for index in indices):
                yield [index for index in indices if self.parameters[index].dtype == dtype]
