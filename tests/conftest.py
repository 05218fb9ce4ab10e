"""What all tests share: the marker `torch`.

Tests marked so compare with PyTorch and import it themselves; where it is not installed they are skipped. An unmarked test that imports PyTorch fails there, so a mark
cannot be forgotten: the ordinary run is one without PyTorch, `pytest -m torch` in an environment with it is the rest.
"""
from importlib.util import find_spec

import pytest


def pytest_collection_modifyitems(items):
    if find_spec("torch") is None:
        for item in items:
            if item.get_closest_marker("torch"):
                item.add_marker(pytest.mark.skip(reason="PyTorch is not installed"))
