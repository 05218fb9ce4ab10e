"""What the tests of the command line start from."""
import pytest
from cli_runs import QUICK, write_data

import tinycnn
from tinycnn.cli import main


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """A folder with a small data set in MNIST's format."""
    return str(write_data(tmp_path_factory.mktemp("cli") / "digits"))


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, digits):
    """The folder of a finished run on it, with the options QUICK."""
    folder = tmp_path_factory.mktemp("cli") / "finished"
    with tinycnn.use_kernels("reference"):
        main(["train", "--data", digits, "--out", str(folder), "-q", *QUICK])
    return folder


@pytest.fixture
def reference_kernels():
    with tinycnn.use_kernels("reference"):
        yield
