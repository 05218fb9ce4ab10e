"""The sets of layers: complete, and those of the networks."""
import json

import pytest

from tinycnn.bench import layers
from tinycnn.bench.layers import Layer

# multiply-adds of the whole network, those of its fully connected layers, and how many convolutions it has
NETWORKS = {
    "alexnet": (724_406_816, 256 * 36 * 4096 + 4096 * 4096 + 4096 * 1000, 5),
    "alexnet_owt": (714_188_480, 256 * 36 * 4096 + 4096 * 4096 + 4096 * 1000, 5),
    "vgg16": (15_470_264_320, 512 * 49 * 4096 + 4096 * 4096 + 4096 * 1000, 13),
    "googlenet": (1_582_671_872, 1024 * 1000, 3 + 9 * 6),
    "googlenet_torchvision": (1_498_376_192, 1024 * 1000, 3 + 9 * 6),
    "resnet50": (4_089_184_256, 2048 * 1000, 1 + 16 * 3 + 4),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_layers_of_a_network_are_all_of_it(name):
    """Kills: a layer left out, counted too often, without its groups, or with another stride or padding (which changes the multiply-adds)."""
    macs, linear, convolutions = NETWORKS[name]
    found = layers.load(name, batch=1)
    assert sum(layer.count for layer in found) == convolutions
    assert sum(layer.count * layer.macs for layer in found) == macs - linear
    assert len({layer._replace(name="", count=1) for layer in found}) == len(found)


@pytest.mark.parametrize("name", ["alexnet", "googlenet", "resnet50"])
def test_the_files_say_what_the_networks_are(name):
    """Kills: a file that is older than its network."""
    assert json.loads((layers.folder() / f"{name}.json").read_text())["layers"] == json.loads(json.dumps(layers.of_network(name)))


def test_published_sets_are_whole():
    """How many there are, and their multiply-adds at the published batch. Kills: an entry lost, stride or padding dropped or exchanged, a batch that is not the
    published one."""
    totals = {name: (len(found), sum(layer.macs for layer in found))
              for name in ("deepbench_training", "deepbench_server", "deepbench_device", "convnet_benchmarks") for found in [layers.load(name, fit=False)]}
    assert {name: number for name, (number, _) in totals.items()} == {"deepbench_training": 94, "deepbench_server": 107, "deepbench_device": 16, "convnet_benchmarks": 5}
    L1, *_, L5 = layers.load("convnet_benchmarks", fit=False)
    assert (L1.flops, L5.flops) == (2 * 128 * 96 * 118**2 * 3 * 121, 2 * 128 * 384 * 121 * 384 * 9)
    speech = layers.load("deepbench_training", fit=False)[0]
    assert speech == Layer(speech.name, 4, 1, 161, 700, 32, 5, 20, stride=(2, 2), published_N=4)
    assert speech.name == "1x161x700 -> 32, 5x20 stride 2"


def test_batches_are_cut_until_they_fit_and_the_published_one_stays_known():
    """Kills: no cut, a cut below one image, a cut of what fits, a cut that nobody is told of."""
    layer = Layer("large", 128, 64, 64, 64, 128, 9, 9, published_N=128)
    cut = layer.fitted(most_bytes=64 << 20, most_flops=1e15)
    assert cut.N == 16 and cut.published_N == 128 and cut._replace(N=128) == layer
    assert 4 * (16 * 64 * 64 * 64 + 16 * 128 * 56 * 56) <= 64 << 20 < 4 * (32 * 64 * 64 * 64 + 32 * 128 * 56 * 56)
    assert layer.fitted(most_bytes=1).N == 1
    assert layer.fitted(most_bytes=1 << 40, most_flops=layer.flops).N == 128
    assert layer.fitted(most_bytes=1 << 40, most_flops=layer.flops / 2).N == 64
    assert all(found.N == 16 for found in layers.load("resnet50", 16))  # no benchmark says what its batch is


def test_flops_and_bytes_of_one_layer_by_hand():
    """Kills: FLOPs of the input's size or of all groups; bytes of the padded image, or without the weights; the terms of another pass."""
    layer = Layer("", 2, 6, 9, 7, 4, 3, 2, stride=(2, 1), padding=(1, 0), groups=2)
    assert layer.y_shape == (2, 4, 5, 6) and layer.w_shape == (4, 3, 3, 2)
    assert layer.flops == 2 * (2 * 4 * 5 * 6) * (3 * 3 * 2)
    assert layer.bytes == 4 * (2 * 6 * 9 * 7 + 4 * 3 * 3 * 2 + 2 * 4 * 5 * 6)
    assert [layer.length(form) for form in layers.FORMS] == [18, 2 * 3 * 2, 2 * 5 * 6]


def test_sets_of_ones_own_and_mistakes_in_them(tmp_path):
    """Kills: a batch of the file ignored, an unknown set that raises something obscure, an error that does not say where."""
    path = tmp_path / "mine.json"
    path.write_text('{"layers": [{"name": "a", "C": 3, "H": 5, "W": 5, "K": 2, "R": 3, "S": 3}, {"C": 3, "H": 2, "W": 2, "K": 2, "R": 3, "S": 3}]}')
    with pytest.raises(ValueError, match=r"mine.json, layer 2: a window of 3 .* does not fit an input of 2"):
        layers.load(path)
    path.write_text('{"layers": [{"name": "a", "C": 3, "H": 5, "W": 5, "K": 2, "R": 3, "S": 3, "N": 4}]}')
    assert layers.load(str(path), batch=9) == [Layer("a", 4, 3, 5, 5, 2, 3, 3, published_N=4)]
    path.write_text('{"layers": [{"C": 3, "H": 5, "W": 5, "K": 2, "R": 3, "strides": 2}]}')
    with pytest.raises(ValueError, match="mine.json, layer 1: .*strides"):
        layers.load(path)
    with pytest.raises(FileNotFoundError, match="no set of layers 'resnet51'; did you mean 'resnet50'"):
        layers.load("resnet51")
