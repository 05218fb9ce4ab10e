"""What all tests share: the markers `torch`, `mpi` and `exhaustive`.

Tests marked so need PyTorch to compare with, or mpirun to start several processes; where it is not installed they are skipped. An unmarked test that imports PyTorch
fails there, so a mark cannot be forgotten: the ordinary run is one without either, `pytest -m torch` and `pytest -m mpi` in an environment with it are the rest.
Tests marked `exhaustive` try all combinations where others try the ones that matter most: they run only where `-m` asks for them.
"""
from importlib.util import find_spec

import pytest

from tinycnn.distributed.launch import find_mpirun


def pytest_collection_modifyitems(config, items):
    missing = {"torch": "PyTorch is not installed" if find_spec("torch") is None else None,
               "mpi": "MPI is not installed (pip install 'tinycnn[mpi]')" if find_mpirun() is None else None,
               "exhaustive": "takes long: pytest -m exhaustive" if "exhaustive" not in config.getoption("-m") else None}
    for item in items:
        for mark, reason in missing.items():
            if reason and item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))
