"""The exchange between processes as differentiable operations: each one's backward is another one.

Seen from above, P processes with a tensor each hold one long vector, and an exchange is a matrix that acts on all of it. So its backward is the transposed matrix,
which sends every gradient back along the way on which the value came:

    all-gather          every process gets all parts, one after the other            y_q = [x_0 ... x_P-1]
    reduce-scatter      every process gets the sum of what all have for its part     y_q = sum over r of x_r[part q]

are each other's transpose. What is differentiated is the sum of what the processes compute. Where all compute the same from a gathered tensor, say one loss of all
logits, it must count once: `gather_same` has the forward of all-gather, and its backward only cuts out one's own part.

Bytes that a process sends, parts of n elements and P processes: (P - 1) n * itemsize in both, and it receives as many. Sums are made in the order of the ranks, so
that results are the same bits each time.
"""
import numpy as np

from ..autograd import Function
from .shares import share, share_sizes


class Traffic:
    """Bytes that this process has sent over one connection, in forward and in backward passes."""

    def __init__(self):
        self.forward = self.backward = 0


class AllGather(Function):
    """y = [x_0 ... x_P-1] along `dim`, x_r being the share of process r in `whole`."""

    def forward(ctx, x, dim, whole, comm, traffic, direction):
        ctx.how = dim, comm, traffic
        return gather(x.array, dim, whole, comm, traffic, direction)

    def backward(ctx, dy):
        return ReduceScatter.apply(dy, *ctx.how, "backward"), None, None, None, None, None


class ReduceScatter(Function):
    """y_q = sum over the processes r, in this order, of x_r[share of q] along `dim`."""

    def forward(ctx, x, dim, comm, traffic, direction):
        ctx.how = dim, x.shape[dim], comm, traffic
        first, *others = scatter(x.array, dim, comm, traffic, direction)
        for other in others:
            ctx.kernels.elementwise.add_(first, other)
        return first

    def backward(ctx, dy):
        return AllGather.apply(dy, *ctx.how, "backward"), None, None, None, None


class GatherSame(Function):
    """The forward of AllGather, where every process goes on to compute the same: the gradients dy are equal, and each cuts out its own part."""

    def forward(ctx, x, dim, whole, comm, traffic):
        ctx.how = dim, share(whole, comm.rank, comm.size)
        return gather(x.array, dim, whole, comm, traffic, "forward")

    def backward(ctx, dy):
        dim, own = ctx.how
        return dy.narrow(dim, own.start, own.stop - own.start), None, None, None, None


def all_gather(x, dim, whole, comm, traffic=None):
    """The shares of all processes in a row along `dim`, which becomes `whole` long; x is this process's share. traffic: where to count the bytes."""
    return AllGather.apply(_checked("all_gather", x, dim, whole, comm), dim, whole, comm, traffic or Traffic(), "forward")


def reduce_scatter(x, dim, comm, traffic=None):
    """This process's share, along `dim`, of the sum of all processes' x."""
    return ReduceScatter.apply(x, dim, comm, traffic or Traffic(), "forward")


def gather_same(x, dim, whole, comm, traffic=None):
    """As all_gather, for a tensor from which all processes compute the same. Its backward needs no message."""
    return GatherSame.apply(_checked("gather_same", x, dim, whole, comm), dim, whole, comm, traffic or Traffic())


def _checked(name, x, dim, whole, comm):
    expected = share_sizes(whole, comm.size)[comm.rank]
    if x.shape[dim] != expected:
        raise ValueError(f"{name}: x is {x.shape}; the share of process {comm.rank} of {comm.size} in {whole} is {expected} along dimension {dim}")
    return x


def gather(x, dim, whole, comm, traffic, direction):
    """All shares of an array in a row along `dim`. MPI sends flat buffers, so each share is packed and unpacked."""
    shapes = [(*x.shape[:dim], n, *x.shape[dim + 1:]) for n in share_sizes(whole, comm.size)]
    counts = [int(np.prod(shape)) for shape in shapes]
    received = np.empty(sum(counts), x.dtype)
    comm.Allgatherv(np.ascontiguousarray(x), [received, counts])
    _count(traffic, direction, x.nbytes * (comm.size - 1))
    parts = np.split(received, np.cumsum(counts)[:-1])
    return np.concatenate([part.reshape(shape) for part, shape in zip(parts, shapes)], axis=dim)


def scatter(x, dim, comm, traffic, direction):
    """What each process has for this one's share of `dim`, as a list of arrays in the order of the ranks."""
    parts = [np.ascontiguousarray(x[(slice(None),) * dim + (share(x.shape[dim], rank, comm.size),)]) for rank in range(comm.size)]
    own = parts[comm.rank]
    received = np.empty((comm.size, *own.shape), x.dtype)
    comm.Alltoallv([np.concatenate([part.reshape(-1) for part in parts]), [part.size for part in parts]], [received, [own.size] * comm.size])
    _count(traffic, direction, x.nbytes - own.nbytes)
    return list(received)


def _count(traffic, direction, sent):
    setattr(traffic, direction, getattr(traffic, direction) + sent)
