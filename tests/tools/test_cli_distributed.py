"""`mpirun -n 2 tinycnn train --distributed`: one run, told of once."""
import pytest
from cli_runs import QUICK
from mpi import mpirun
from safetensors.numpy import load_file
from tolerance import close

pytestmark = pytest.mark.mpi


def test_distributed(digits, finished_run, tmp_path):
    """Kills: a run folder, a bar or a report of each process's own, settings that mean something else in two processes, another network than one process trains."""
    result = mpirun(2, "-m", "tinycnn.cli", "train", "--data", digits, "--out", tmp_path / "run", "--distributed", *QUICK)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("epoch 2/2") == result.stdout.count("test accuracy:") == 1
    assert "each with 8 images of a batch; gradients of 0.06 MB travel in 1 buckets" in result.stdout
    one, two = load_file(finished_run / "last.safetensors"), load_file(tmp_path / "run" / "last.safetensors")
    assert one.keys() == two.keys()
    for name, array in one.items():
        close(two[name], array, length=8 * 16 * 64)  # 8 steps of sums over 16 images with up to 64 places
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(path.name for path in finished_run.iterdir())


def test_an_error_in_distributed_training_ends_all(digits, tmp_path):
    """Kills: process 1 waiting for what process 0 cannot send, an error told twice."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    result = mpirun(2, "-m", "tinycnn.cli", "train", "--data", digits, "--out", tmp_path / "full", "--distributed", *QUICK)
    assert result.returncode != 0 and result.stderr.count("error in process 0 of 2, which ends all: FileExistsError") == 1
    assert "error in process 1" not in result.stderr and "Traceback" not in result.stderr
