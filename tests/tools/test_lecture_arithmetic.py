"""The claims that need no training, against exact numbers."""
import pytest

from tinycnn.lecture import conv1, find, runner
from tinycnn.lecture.claim import HELD, IN_PART, Plan


@pytest.fixture
def answer(tmp_path):
    """answer(name): rows and report of a claim."""
    def computed(name):
        claim = find(name)
        rows = runner.run(claim, Plan("quick"), tmp_path, runner.Bars(quiet=True))
        return rows, claim.report(rows)
    return computed


def test_conv1(answer):
    """Kills: biases counted among the 35K, padding forgotten in the formula, a verdict that does not look."""
    rows, found = answer("conv1")
    assert [(row["formula"], row["output"], row["weights"], row["biases"]) for row in rows] == [
        (55, [55, 55, 96], 34_848, 96), (54.25, [54, 54, 96], 34_848, 96), (55.25, [55, 55, 96], 34_848, 96)]
    assert found.verdict == HELD and conv1.report([{**rows[0], "formula": 54}, *rows[1:]]).verdict == IN_PART


def test_parameters(answer):
    """Kills: parameters counted twice or not at all."""
    rows, found = answer("parameters")
    assert {row["network"]: row["parameters"] for row in rows} == {"lenet5_1998": 60_000, "lenet5": 61_706, "alexnet": 60_965_224, "alexnet_owt": 61_100_840}
    assert rows[2]["layers"]["classifier.0"] == 9216 * 4096 + 4096 and "96% of AlexNet's" in found.words and found.verdict == HELD
