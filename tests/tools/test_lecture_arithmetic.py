"""The claims that need no training, against exact numbers."""
import numpy as np
import pytest

from tinycnn.lecture import conv1, find, googlenet, runner, vgg
from tinycnn.lecture.claim import DID_NOT_HOLD, HELD, IN_PART, Plan
from tinycnn.lecture.depth import depth


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


def test_small_filters(answer):
    """Kills: a field computed where it should be measured, gradients that cancel, one layer too many."""
    rows, found = answer("small-filters")
    assert [(row["filter"], row["layers"], row["sees"], row["weights"]) for row in rows] == [
        (3, 1, [3, 3], 9 * 256), (3, 2, [5, 5], 18 * 256), (3, 3, [7, 7], 27 * 256), (5, 1, [5, 5], 25 * 256), (7, 1, [7, 7], 49 * 256)]
    assert found.verdict == HELD and "81% more" in found.words
    stack, single = (np.array(rows[i]["gradient"])[4:11, 4:11] for i in (2, 4))
    ways = np.convolve(np.convolve([1, 1, 1], [1, 1, 1]), [1, 1, 1])
    assert stack[3, 0] < 0.5 < stack[3, 3] and stack[0, 0] == pytest.approx(1 / 49, rel=0.5) and (single > 0.5).all()
    assert np.corrcoef(stack.ravel(), np.outer(ways, ways).ravel())[0, 1] > 0.99


def test_vgg(answer, monkeypatch):
    """Kills: a configuration mistaken for another, pools or dropout counted as layers, gigabytes for bytes."""
    monkeypatch.setattr(vgg, "seconds", lambda names, repeats: {"vgg16": 0.5, "vgg19": 0.6})
    rows, found = answer("vgg")
    assert {row["network"]: (row["depth"], row["parameters"], row["macs"]) for row in rows[:-1]} == {
        "alexnet": (8, 60_965_224, 724_406_816), "vgg11": (11, 132_863_336, 7_609_090_048), "vgg13": (13, 133_047_848, 11_308_466_176),
        "vgg16c": (16, 133_638_952, 11_770_888_192), "vgg16": (16, 138_357_544, 15_470_264_320), "vgg19": (19, 143_667_240, 19_632_062_464)}
    maps = sum(size ** 2 * maps for size, maps in ((224, 2 * 64), (112, 64 + 2 * 128), (56, 128 + 3 * 256), (28, 256 + 3 * 512), (14, 512 + 3 * 512),
                                                   (7, 512 + 512)))  # the last: pooled, and averaged down to 7x7, which they are already
    assert rows[4]["activation_bytes"] == 4 * (maps + 4096 + 4096 + 1000)
    assert found.verdict == HELD and "+20% here" in found.words
    assert vgg.report([{**row, "depth": 18} if row.get("network") == "vgg19" else row for row in rows]).verdict == IN_PART


def test_the_time_of_networks():
    """Kills: the first time counted, which includes compiling; the longest for the shortest."""
    times = vgg.seconds(["resnet20", "plain20"], 2)
    assert times.keys() == {"resnet20", "plain20"} and all(0 < value < 60 for value in times.values())


def test_googlenet(answer):
    """Kills: auxiliary classifiers counted with the network, branches side by side counted as depth, a verdict that takes the slides' word."""
    rows, found = answer("googlenet")
    assert [(row["depth"], row["parameters"], row["macs"]) for row in rows] == [
        (8, 60_965_224, 724_406_816), (22, 6_998_552, 1_582_671_872), (22, 13_378_280, 1_591_044_096), (22, 6_624_904, 1_498_376_192)]
    assert rows[1]["connected"] == [1_024_000] and sum(rows[1]["parts"].values()) == 6_998_552 and list(rows[1]["parts"])[3:5] == ["3a", "3b"]
    assert found.verdict == IN_PART and "8.7 times fewer" in found.words and "5,973,552" in found.words
    assert googlenet.report([{**row, "depth": 23, "connected": [1]} for row in rows]).verdict == DID_NOT_HOLD


def test_winners(answer):
    """Kills: projections on the shortcuts counted as depth (ResNet-152 would be deeper), another network's numbers."""
    rows, found = answer("winners")
    assert {row["network"]: (row["depth"], row["parameters"]) for row in rows} == {
        "alexnet": (8, 60_965_224), "zfnet": (8, 62_357_608), "vgg19": (19, 143_667_240), "googlenet": (22, 6_998_552), "resnet152": (152, 60_192_808)}
    assert found.verdict == IN_PART and [line[1] for line in found.table] == ["28.2%", "25.8%", "16.4%", "11.7%", "14.8%", "7.3%", "6.7%", "3.57%"]


@pytest.mark.parametrize("name, layers", [("lenet5", 5), ("plain56", 56), ("resnet50", 50)])
def test_depth(name, layers):
    """Kills: shortcuts, norms or pools counted."""
    assert depth(name) == layers
