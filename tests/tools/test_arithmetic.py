"""`tinycnn summary --explain`: formulas with the numbers put in."""
import json
import re

import pytest

import tinycnn
from tinycnn import models, nn
from tinycnn.cli import main
from tinycnn.nn import init
from tinycnn.tools.arithmetic import arithmetic, comparisons


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    monkeypatch.setattr(init, "uniform_", lambda tensor, *_, **__: tensor)


def lines(model, input_size):
    return dict(arithmetic(tinycnn.summary(model, input_size).runs))


def test_alexnets_first_layers_as_the_lectures_have_them():
    """Kills: padding once, a stride that multiplies too early, weights of all groups, the field of the output for that of the input."""
    explained = lines(models.alexnet(init=None), (3, 227, 227))
    assert explained["features.0"] == [
        "output   (227 - 11)/4 + 1 = 55", "weights  11*11*3*96 = 34,848, and 96 biases", "MACs     34,848*55*55 = 105,415,200",
        "sees     1 + (11 - 1)*1 = 11 pixels, neighbours 1*4 = 4 apart"]
    assert explained["features.4"] == [
        "output   (27 + 2*2 - 5)/1 + 1 = 27", "weights  5*5*48*256 = 307,200, and 256 biases (each filter sees 96/2 maps)", "MACs     307,200*27*27 = 223,948,800",
        "sees     19 + (5 - 1)*8 = 51 pixels, neighbours 8 apart"]
    assert explained["features.7"] == ["output   (27 - 3)/2 + 1 = 13", "sees     51 + (3 - 1)*8 = 67 pixels, neighbours 8*2 = 16 apart"]
    assert explained["classifier.6"] == ["weights  4,096*1,000 = 4,096,000, and 1,000 biases; as many MACs"]
    assert "features.1" not in explained  # ReLU has no arithmetic


def test_odd_layers():
    """Kills: one axis for both, taps that are 1 apart, a rounding that is not said or goes the other way, "same" taken for a number."""
    model = nn.Sequential(nn.Conv2d(2, 4, (3, 1), stride=(2, 1), dilation=(2, 1), bias=False), nn.BatchNorm2d(4), nn.MaxPool2d(2, ceil_mode=True),
                          nn.Conv2d(4, 4, 3, padding="same"), nn.AvgPool2d(2))
    explained = lines(model, (2, 10, 9))
    assert explained["0"][0] == "output   (10 - 5)/2 + 1 = 3 rounded down (the 3 taps, 2 apart, span 5) high, (9 - 1)/1 + 1 = 9 wide"
    assert explained["0"][1] == "weights  3*1*2*4 = 24"
    assert explained["0"][3] == "sees     1 + (5 - 1)*1 = 5 pixels, neighbours 1*2 = 2 apart high, 1 + (1 - 1)*1 = 1 pixels, neighbours 1 apart wide"
    assert explained["1"] == ["weights  2*4 = 8 (scale and shift of each map)"]
    assert explained["2"][0] == "output   (3 - 2)/2 + 1 = 2 rounded up high, (9 - 2)/2 + 1 = 5 rounded up wide"
    assert explained["3"][0] == "output   2, the padding makes it as large as the input high, 5, the padding makes it as large as the input wide"


@pytest.mark.parametrize("name, size", [("vgg16", 224), ("resnet18", 97), ("googlenet", 113), ("zfnet", 224)])
def test_every_sum_is_right(name, size):
    """What stands left of each "=" is worked out by Python. Kills: a formula whose numbers are not those of the layer."""
    summary = tinycnn.summary(models.build(name, image_size=size, init=None).eval(), (3, size, size))
    rounded = {" rounded down": lambda value: int(value), " rounded up": lambda value: int(-(-value // 1)), "": lambda value: value}
    checked = 0
    for line in [line for _, lines in arithmetic(summary.runs) for line in lines] + comparisons(summary.runs):
        for formula, result, how in re.findall(r"((?:[\d(),]| ?[-+*/] ?)*\d[\d,)]*) = ([\d,]+)( rounded \w+)?", line):
            if any(sign in formula for sign in "+-*/"):
                assert rounded[how](eval(formula.replace(",", ""))) == int(result.replace(",", "")), line
                checked += 1
    assert checked > 30
    total = sum(int(line.split(" = ")[-1].replace(",", "")) for _, lines in arithmetic(summary.runs) for line in lines if line.startswith("MACs"))
    assert total + sum(layer.macs for layer in summary.layers if layer.kind == "Linear") == summary.macs


def test_three_3x3_against_one_7x7():
    """Kills: stacks across a pool or another size, sums over the wrong maps, the slides' figures."""
    stack = nn.Sequential(*(part for _ in range(3) for part in (nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 5))
    assert comparisons(tinycnn.summary(stack, (8, 20, 20)).runs) == [
        "0 ... 4: 3 of 3x3 see 7x7, as one 7x7 would: 3*3*3 C^2 = 27 C^2 = 1,728 weights for C = 8 against 7*7 C^2 = 3,136, and 3 rectifiers rather than 1"]
    vgg = comparisons(tinycnn.summary(models.vgg16(init=None), (3, 224, 224)).runs)
    assert len(vgg) == 5 and "3*3*128*256 + 3*3*256*256 + 3*3*256*256 = 1,474,560 weights against 7*7*128*256 = 1,605,632" in vgg[2]
    assert vgg[4].startswith("features.24 ... features.28: 3 of 3x3") and "27 C^2 = 7,077,888 weights for C = 512 against 7*7 C^2 = 12,845,056" in vgg[4]


def test_reductions():
    """GoogLeNet's 5x5 in 3a. Kills: a projection of another branch taken for the reduction, a shortcut for the layer after the block's last."""
    found = comparisons(tinycnn.summary(models.googlenet(init=None).eval(), (3, 224, 224)).runs)
    assert ("inception3a.branch3.0.conv ... inception3a.branch3.1.conv: 192 maps reduced to 16 before 5x5: 192*16*784 + 5*5*16*32*784 = 12,443,648 MACs "
            "against 5*5*192*32*784 = 120,422,400 without") in found
    residual = comparisons(tinycnn.summary(models.resnet50(init=None), (3, 224, 224)).runs)
    assert not any("downsample" in line for line in residual) and any("layer3.1.conv1 ... layer3.1.conv2 (and 4 alike)" in line for line in residual)


def test_on_the_command_line(capsys):
    """Kills: an option that does nothing, text in the JSON."""
    main(["summary", "lenet5", "--explain"])
    text = capsys.readouterr().out
    assert text.index("total") < text.index("features.0: Conv2d, 1 x 32 x 32 -> 6 x 28 x 28\n  output   (32 - 5)/1 + 1 = 28")
    main(["summary", "lenet5", "--explain", "--json"])
    data = json.loads(capsys.readouterr().out)
    assert data["arithmetic"][0]["layer"] == "features.0" and data["comparisons"] == []
    main(["summary", "lenet5", "--json"])
    assert "arithmetic" not in json.loads(capsys.readouterr().out)
