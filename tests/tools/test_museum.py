"""The museum of wrong gradients: every bug is caught and its family named, every repair accepted, over random shapes."""
import re

import numpy as np
import pytest

from tinycnn import museum

SHAPES = 4  # of each exhibit here; .ci/run takes more and prints the rates


@pytest.mark.parametrize("name", museum.names())
def test_the_bug_is_caught_and_named_and_the_repair_accepted(name):
    """At default settings, for every shape. Kills: a tolerance too wide or too narrow; a diagnosis that holds for other bugs too."""
    rates = museum.rates(name, SHAPES, seed=100)
    assert rates.caught == SHAPES, f"{name}: only {rates.caught} of {SHAPES} wrong gradients were caught"
    assert rates.named == SHAPES, f"{name} should be called {rates.family!r}, and was called {rates.others} too"
    assert rates.accepted == SHAPES, f"{name}: only {rates.accepted} of {SHAPES} right gradients were accepted"


def test_the_collection():
    """At least 25, each with a story and a source, and of many families."""
    exhibits = [museum.exhibit(name) for name in museum.names()]
    assert len(exhibits) >= 25 and len({exhibit.family for exhibit in exhibits}) >= 15
    for exhibit in exhibits:
        assert len(exhibit.story) > 80 and re.match("Seen in: |A classic", exhibit.source), exhibit.name
        assert "repaired" not in exhibit.code and "FAMILY" not in exhibit.code, f"{exhibit.name} gives its answer away"
    assert len({exhibit.title for exhibit in exhibits}) == len(exhibits)


@pytest.mark.parametrize("name", museum.names())
def test_the_shapes_vary_and_depend_on_the_generator_alone(name):
    """Kills: an exhibit that is always the same size, and so proves nothing about others."""
    exhibit = museum.exhibit(name)

    def drawn(seed):
        return exhibit.inputs(np.random.default_rng(seed))

    def shapes(seed):
        return [np.shape(value) for value in drawn(seed)]
    assert all(np.array_equal(a, b) for a, b in zip(drawn(1), drawn(1)))
    assert len({tuple(shapes(seed)) for seed in range(30)}) > 2


def test_an_unknown_exhibit():
    with pytest.raises(ValueError, match="no exhibit is called 'nothing'; there are avgpool_divisor"):
        museum.exhibit("nothing")
