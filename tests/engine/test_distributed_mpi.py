"""Several processes give what one gives. Each test starts mpirun; what runs there, and asserts in every process, is in mpi_programs.py."""
import json

import numpy as np
import pytest
from distributed_run import make_run
from mpi import PROGRAMS, mpirun, run_program
from safetensors.numpy import load_file
from tiny_run import timeless
from tolerance import close

import tinycnn
from tinycnn.train import checkpoint

pytestmark = pytest.mark.mpi


@pytest.fixture(autouse=True)
def reference_kernels():
    with tinycnn.use_kernels("reference"):
        yield


@pytest.mark.parametrize("processes", [2, 3])
def test_collectives(processes):
    """Kills: parts in the wrong place or order, a backward that forgets to sum, a loss counted once per process, shares assumed equal, bytes counted wrongly."""
    run_program(processes, "collectives")


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_split_alexnet_equals_the_whole(processes):
    """Kills: a layer that should exchange and does not (or the reverse), a gradient not summed over the processes, another dropout mask, bytes counted wrongly.
    Three processes share 1024 neurons and 10 classes unequally."""
    run_program(processes, "split")


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_average_of_gradients(processes):
    """Kills: buckets that wait for the end of the backward pass, or overtake each other; wrong weights; last step's numbers in a reused buffer."""
    run_program(processes, "average")


def arrays(folder):
    return load_file(folder / "last.safetensors")


def metrics(folder):
    return timeless([json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()])


def same_run(folder, expected, exactly=False):
    """The same weights, averages, momenta, running statistics, and metrics."""
    ours, theirs = arrays(folder), arrays(expected)
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        if exactly or array.dtype.kind != "f":
            np.testing.assert_array_equal(ours[name], array, err_msg=name)
        else:
            close(ours[name], array, length=10_000)  # 12 steps of sums over a batch of 5 images with 16 places
    for line, other in zip(metrics(folder), metrics(expected), strict=True):
        assert line == (other if exactly else {name: pytest.approx(value, rel=1e-12) if isinstance(value, float) else value for name, value in other.items()})


@pytest.mark.parametrize("network, processes, images", [("plain", 2, 18), ("norm", 2, 18), ("plain", 3, 17), ("norm", 3, 17), ("plain", 3, 16)])
def test_several_processes_make_the_run_of_one(tmp_path, network, processes, images):
    """Batches of 5, the last of 3, 2 or 1. Kills: shares that overlap or miss an image, a mean of means of unequal shares, dropout or augmentation drawn for the
    share, a process without images that hangs the rest or moves the weights, running statistics of process 0 alone, scores of one process's test images."""
    make_run(tmp_path / "one", network, images, 5, shares=processes).run()
    run_program(processes, "train", tmp_path / "several", network, images, 5)
    same_run(tmp_path / "several", tmp_path / "one")
    assert sorted(path.name for path in (tmp_path / "several").iterdir()) == ["best.safetensors", "curves.png", "last.safetensors", "metrics.jsonl"]


def test_stop_and_go_on(tmp_path):
    """Kills: a process that stops for itself and leaves the others waiting, a checkpoint of other processes, state that only process 0 restores."""
    how = "norm", 18, 5
    run_program(2, "train", tmp_path / "whole", *how)
    run_program(2, "train", tmp_path / "stopped", *how, 6)
    stopped = arrays(tmp_path / "stopped")
    run_program(2, "train", tmp_path / "stopped", *how)
    assert any(not np.array_equal(array, stopped[name]) for name, array in arrays(tmp_path / "stopped").items())
    same_run(tmp_path / "stopped", tmp_path / "whole", exactly=True)


def test_one_process_goes_on_where_two_stopped(tmp_path):
    """Kills: anything in a checkpoint that depends on the number of processes."""
    make_run(tmp_path / "whole", "plain", 18, 5).run()
    run_program(2, "train", tmp_path / "stopped", "plain", 18, 5, 6)
    run = make_run(tmp_path / "stopped", "plain", 18, 5)
    run.resume(checkpoint.load(tmp_path / "stopped" / "last.safetensors"))
    run.run()
    same_run(tmp_path / "stopped", tmp_path / "whole")


@pytest.mark.parametrize("how, says", [("killed", "Killed"), ("fails", "error in process 1 of 2, which ends all: OSError: the disk of this one is full")])
def test_a_process_that_dies_ends_all(tmp_path, how, says):
    """Kills: processes that wait for ever for a dead one (the run would not end), an end that looks like success, an error that does not say whose it is."""
    result = mpirun(2, PROGRAMS, "dies", tmp_path / "run", how)
    assert result.returncode != 0 and says in result.stdout + result.stderr, result.stdout + result.stderr
    assert checkpoint.load(tmp_path / "run" / "last.safetensors").state["step"] >= 5  # whole
