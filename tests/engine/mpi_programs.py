"""What the tests of tinycnn/distributed run in several processes: `mpirun -n 2 python mpi_programs.py NAME ARGUMENTS`."""
import os
import signal
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))  # the folder tests, as under pytest

import numpy as np
from distributed_run import make_run
from tolerance import close

import tinycnn
from tinycnn import nn
from tinycnn.distributed.buckets import GradientAverage
from tinycnn.distributed.collectives import Traffic, all_gather, gather_same, reduce_scatter
from tinycnn.distributed.data_parallel import DataParallel
from tinycnn.distributed.launch import communicator, ending_together
from tinycnn.distributed.shares import share, share_sizes
from tinycnn.distributed.split_alexnet import compare
from tinycnn.train import Interrupted, checkpoint
from tinycnn.train.progress import Progress


def everybodys(shapes, seed, dtype):
    """What every process has, known to all: an array of each of these shapes."""
    return [np.random.default_rng((seed, rank)).standard_normal(shape).astype(dtype) for rank, shape in enumerate(shapes)]


def collectives(comm):
    """Forward, backward and the backward's backward of every exchange, against NumPy, which has all processes' arrays at hand."""
    for dtype in ("float32", "float64"):
        for whole, dim in ((7, 0), (7, 1), (2, 1), (6, 2)):  # 2 things among three processes: an empty share
            shapes = [tuple(n if i == dim else extent for i, extent in enumerate((3, 4, 5))) for n in (*share_sizes(whole, comm.size), whole)]
            parts = everybodys(shapes[:-1], 0, dtype)
            wholes = everybodys(shapes[-1:] * comm.size, 1, dtype)
            mine = (slice(None),) * dim + (share(whole, comm.rank, comm.size),)
            total = sum(array.astype("float64") for array in wholes)[mine]
            x, dy = (tinycnn.from_numpy(arrays[comm.rank]) for arrays in (parts, wholes))
            for scattered in (False, True):  # also from memory in another order
                x, dy = (from_other_order(t) if scattered else t for t in (x, dy))
                x, dy, traffic = x.requires_grad_(), dy.requires_grad_(), Traffic()
                y = all_gather(x, dim, whole, comm, traffic)
                close(y.detach().numpy(), np.concatenate(parts, dim))
                dx, = tinycnn.autograd.grad(y, x, dy, create_graph=True)
                close(dx.detach().numpy(), total, length=comm.size, dtype=dtype)
                ddy, = tinycnn.autograd.grad(dx, dy, x.detach())  # the transpose of the transpose
                close(ddy.numpy(), np.concatenate(parts, dim))
                own, others = x.array.nbytes, dy.array.nbytes - x.array.nbytes
                assert (traffic.forward, traffic.backward) == (own * (comm.size - 1), others + own * (comm.size - 1)), vars(traffic)

                z = reduce_scatter(dy, dim, comm, traffic)
                close(z.detach().numpy(), total, length=comm.size, dtype=dtype)
                close(tinycnn.autograd.grad(z, dy, x.detach())[0].numpy(), np.concatenate(parts, dim))

                before = traffic.backward
                same = gather_same(x, dim, whole, comm, traffic)
                cotangent = tinycnn.from_numpy(wholes[0])  # the same everywhere
                close(tinycnn.autograd.grad(same, x, cotangent)[0].numpy(), wholes[0][mine])
                assert traffic.backward == before
    try:
        all_gather(tinycnn.zeros(9, 1), 0, 7, comm)
    except ValueError as error:
        assert f"x is (9, 1); the share of process {comm.rank} of {comm.size} in 7" in str(error)
    else:
        raise AssertionError("a share of the wrong size was accepted")


def from_other_order(tensor):
    """The same numbers, from memory with the last dimension outermost."""
    return tinycnn.from_numpy(np.ascontiguousarray(np.moveaxis(tensor.detach().numpy(), -1, 0))).permute(*range(1, tensor.ndim), 0).detach()


def split(comm):
    """The split AlexNet against the whole one, in float64, where only rounding errors are small; and the bytes, against numbers worked out on paper."""
    result = compare(comm, images=3, width=0.25, image_size=67, classes=10, steps=3, double=True)
    for row in result["rows"]:
        assert max(row["output"], row["gradient"]) < 1e-13, row  # of thousands of terms
        assert (row["forward_sent"], row["backward_sent"]) == (row["forward_expected"], row["backward_expected"]), row
    assert result["weights"] < 1e-13
    if comm.size == 2:
        on_paper = {"conv3": 3 * 32 * 7 * 7 * 8, "fc6": 3 * 32 * 3 * 3 * 8, "fc7": 3 * 512 * 8, "fc8": 3 * 512 * 8}  # images * maps of one process * pixels * bytes
        assert {row["layer"]: row["forward_sent"] for row in result["rows"] if row["backward_sent"]} == on_paper
    silent = [row["layer"] for row in result["rows"] if row["backward_sent"] == 0]
    assert comm.size == 1 or silent == ["conv1", "conv2", "conv4", "conv5", "softmax"], silent


def average(comm):
    """The weighted mean of gradients; in buckets that set off in time; with a parameter that is used twice, one that is not used, and one that is frozen."""
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(shape) for shape in ((5, 3), (3,), (2, 2), (7,), (1,), (4,))]
    early, bias, unused, frozen, late, twice = (nn.Parameter(tinycnn.from_numpy(value.copy())) for value in values)
    frozen.requires_grad_(False)
    parameters = [early, bias, unused, frozen, late, twice]
    averages = GradientAverage(parameters, comm, bucket_bytes=50)
    weights = np.arange(1, comm.size + 1) / sum(range(1, comm.size + 1))
    for step in range(2):  # buffers are used again
        inputs = everybodys([(5,)] * comm.size, step, "float64")
        x = tinycnn.from_numpy(inputs[comm.rank])
        for parameter in parameters:
            parameter.grad = None
        averages.begin(float(weights[comm.rank]))
        ((((x @ early) * bias).sum() * late).sum() * (twice * twice).sum()).backward()
        set_off = averages.finish()
        mean = sum(weight * array for weight, array in zip(weights, inputs))
        e, b, _, _, l, t = values
        close(early.grad.numpy(), np.outer(mean, b) * l * (t * t).sum(), length=5)
        close(twice.grad.numpy(), 2 * t * l * (mean @ e @ b), length=15)
        assert unused.grad is None and frozen.grad is None
        assert set_off > 0, "no bucket set off before the backward pass was over"
        assert set_off < len(averages.buckets), "a bucket set off before those in front of it"
        same_bits(comm, [parameter.grad for parameter in (early, bias, late, twice)])
    (x @ early).sum().backward()  # not announced: nobody else's business
    assert averages.requests and all(request.Test() for request in averages.requests)


def same_bits(comm, tensors):
    """The tensors are the same in every process."""
    everyone = comm.allgather([tensor.array.tobytes() for tensor in tensors])
    assert all(theirs == everyone[0] for theirs in everyone)


def train(comm, folder, network, images, batch_size, stop_after=None):
    """A run of distributed_run.py, whole, or stopped by a signal to the last process alone; or resumed, if there is one in the folder."""
    run = make_run(Path(folder), network, int(images), int(batch_size), DataParallel(comm), progress=Stops(comm, stop_after and int(stop_after)))
    last = Path(folder) / "last.safetensors"
    if last.exists():
        run.resume(checkpoint.load(last))
    try:
        run.run()
    except Interrupted as stop:
        assert stop_after and run.step == int(stop_after) + 1, f"stopped after step {run.step}: {stop}"  # agreed on in the step that follows
    else:
        assert not stop_after
    same_bits(comm, [*run.model.state_dict().values()])
    assert comm.allgather(run.average.images) == [run.average.images] * comm.size


class Stops(Progress):
    """Sends a signal to the last process after a number of steps."""

    def __init__(self, comm, steps, number=signal.SIGTERM):
        super().__init__(quiet=True)
        self.mine, self.steps, self.number = comm.rank == comm.size - 1, steps, number

    def step(self, run, images):
        super().step(run, images)
        if self.mine and run.step == self.steps:
            os.kill(os.getpid(), self.number)


def dies(comm, folder, how):
    """Process 1 is killed in the middle of a run, or raises an error; the others wait for its gradients."""
    run = make_run(Path(folder), "plain", 18, 5, DataParallel(comm), progress=Stops(comm, 6, signal.SIGKILL) if how == "killed" else Fails(comm))
    run.run()


class Fails(Progress):
    def __init__(self, comm):
        super().__init__(quiet=True)
        self.rank = comm.rank

    def step(self, run, images):
        super().step(run, images)
        if self.rank == 1 and run.step == 6:
            raise OSError("the disk of this one is full")


if __name__ == "__main__":
    program, arguments = sys.argv[1], sys.argv[2:]
    everyone = communicator()
    with ending_together(everyone):
        globals()[program](everyone, *arguments)
