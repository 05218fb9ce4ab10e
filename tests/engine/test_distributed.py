"""What of several processes can be tested in one: shares, batches cut into parts, masks of parts, buckets, the errors."""
import sys

import numpy as np
import pytest
from tiny_run import images

import tinycnn
from tinycnn import nn
from tinycnn.data import DataLoader
from tinycnn.distributed import launch
from tinycnn.distributed.buckets import make_buckets
from tinycnn.distributed.data_parallel import Alone
from tinycnn.distributed.shares import share, share_sizes
from tinycnn.distributed.split import Split
from tinycnn.nn import functional as F
from tinycnn.random import part_of


@pytest.fixture(autouse=True)
def reference_kernels():
    with tinycnn.use_kernels("reference"):
        yield


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 6, 7, 100])
def test_shares_are_a_partition(count, size):
    """Kills: an item that is nobody's or two processes', shares that differ by more than one."""
    everything = [i for rank in range(size) for i in range(count)[share(count, rank, size)]]
    sizes = share_sizes(count, size)
    assert everything == list(range(count)) and sum(sizes) == count and max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("size", [2, 3])
def test_parts_of_batches_are_the_batch(size, workers):
    """Kills: shares of the data set instead of the batch, an order of images or an augmentation of each process's own, a last batch cut differently."""
    def batches(part):
        loader = DataLoader(images(17, 0), 5, shuffle=True, seed=3, num_workers=workers, part=part)
        loader.set_epoch(4)
        assert len(loader) == 4 and [loader.samples_in(b) for b in range(4)] == [5, 5, 5, 2]
        return [(x.numpy(), labels.numpy()) for x, labels in loader.iterate(start_batch=1)]
    parts = [batches((rank, size)) for rank in range(size)]
    for number, (x, labels) in enumerate(batches((0, 1))):
        sizes = share_sizes(len(labels), size)
        of_this = [part[number] for part in parts]
        assert [len(own_labels) for _, own_labels in of_this] == [max(n, 1) for n in sizes]  # who has none gets the first
        np.testing.assert_array_equal(np.concatenate([own[:n] for (own, _), n in zip(of_this, sizes)]), x)
        np.testing.assert_array_equal(np.concatenate([own[:n] for (_, own), n in zip(of_this, sizes)]), labels)
        assert all(np.array_equal(own, x[:1]) for (own, _), n in zip(of_this, sizes) if n == 0)


@pytest.mark.parametrize("dropout", [F.dropout, F.dropout2d])
@pytest.mark.parametrize("dim", [0, 1])
def test_masks_of_parts_are_the_mask(dropout, dim):
    """Kills: a mask drawn for the part, a part from the wrong place, a backward pass with another mask, a part that outlives its block."""
    x = tinycnn.randn(5, 6, 3, 2).requires_grad_()

    def whole_or_part(start=None, stop=None):
        tinycnn.manual_seed(1)
        dropout(x, 0.5)  # another call before
        if start is None:
            y = dropout(x, 0.5)
        else:
            with part_of(dim, start, x.shape[dim]):
                y = dropout(x.narrow(dim, start, stop - start), 0.5)
        return y.detach().numpy(), tinycnn.autograd.grad((y * y.detach()).sum(), x)[0].numpy()
    y, dx = whole_or_part()
    own = (slice(None),) * dim + (slice(1, 4),)
    part, part_dx = whole_or_part(1, 4)
    np.testing.assert_array_equal(part, y[own])
    np.testing.assert_array_equal(part_dx[own], dx[own])
    np.testing.assert_array_equal(whole_or_part()[0], y)


def test_buckets():
    """Kills: gradients that come first in the last bucket, a bucket beyond the limit, a large tensor that takes others along or is left out."""
    assert make_buckets([4, 4, 4, 100, 4, 8], 12) == [[5, 4], [3], [2, 1, 0]]
    assert make_buckets([1, 2, 3], 1000) == [[2, 1, 0]] and make_buckets([5, 5], 1) == [[1], [0]] and make_buckets([], 10) == []


def test_without_mpi_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)  # as if it were not installed
    with pytest.raises(ImportError, match=r"pip install 'tinycnn\[mpi\]'"):
        launch.communicator()


def test_one_process_needs_no_agreement():
    """Kills: anything between a single process and its training."""
    alone, result = Alone(), object()
    assert alone.after_backward(result) == (result, False) and alone.gather(1, 2) == (1, 2) and alone.from_first(lambda: 7) == 7


class OneOfTwo:
    """As much of a communicator as building a network takes."""

    rank, size = 1, 2


def test_split_refuses_groups_that_are_no_towers():
    """Kills: a convolution whose groups lie across processes, computed as if they did not."""
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=4))
    network = nn.Sequential()
    network.features, network.classifier = layers, nn.Sequential(nn.Linear(8, 2))
    with pytest.raises(ValueError, match="conv2 has 4 groups; to be split over 2 processes it should have 2, or 1"):
        Split(network, OneOfTwo)


def test_an_error_of_one_process_ends_all(capsys):
    """Kills: an error whose process is not named, processes left waiting, an agreed end taken for an error, a lone process that is killed instead of told."""
    class Communicator(OneOfTwo):
        aborted = []
        Abort = aborted.append

    with launch.ending_together(Communicator):
        raise ValueError("no such thing")
    assert Communicator.aborted == [1]
    assert capsys.readouterr().err == "error in process 1 of 2, which ends all: ValueError: no such thing\n"
    with pytest.raises(KeyboardInterrupt), launch.ending_together(Communicator, agreed=KeyboardInterrupt):
        raise KeyboardInterrupt
    Communicator.size = 1
    with pytest.raises(ValueError), launch.ending_together(Communicator):
        raise ValueError("no such thing")
    assert Communicator.aborted == [1]
