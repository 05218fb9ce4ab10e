"""Every network as published: parameters and multiply-adds of the papers, torchvision's names, registry and errors.

Nothing is computed and nothing drawn here: `undrawn` keeps the layers from filling their (untouched, hence free) memory, and `summary` runs on kernels that compute
shapes only. So VGG-19 costs milliseconds.
"""
from pathlib import Path

import pytest

import tinycnn
from tinycnn import models, nn
from tinycnn.nn import init

# parameters, multiply-adds of one forward pass on one image of the published size; None: not known from elsewhere
PUBLISHED = {
    "lenet5": (61_706, 416_520),
    "lenet5_1998": (60_000, None),
    "alexnet": (60_965_224, 724_406_816),
    "alexnet_owt": (61_100_840, 714_188_480),
    "zfnet": (62_357_608, 1_168_032_896),
    "vgg11": (132_863_336, 7_609_090_048),
    "vgg11_lrn": (132_863_336, 7_609_090_048),
    "vgg13": (133_047_848, 11_308_466_176),
    "vgg16c": (133_638_952, 11_770_888_192),
    "vgg16": (138_357_544, 15_470_264_320),
    "vgg19": (143_667_240, 19_632_062_464),
    "googlenet": (13_378_280, 1_591_044_096),
    "googlenet_torchvision": (13_004_888, None),
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnet101": (44_549_160, 7_801_405_440),
    "resnet152": (60_192_808, 11_513_626_624),
    "plain18": (11_515_688, 1_794_805_760),
    "plain34": (21_623_848, 3_644_493_824),
}
for depth, counts in {20: (269_722, 40_551_040), 32: (464_154, 68_862_592), 44: (658_586, 97_174_144), 56: (853_018, 125_485_696), 110: (1_727_962, 252_887_680),
                      1202: (19_421_274, 2_829_238_912)}.items():
    PUBLISHED[f"resnet{depth}"] = PUBLISHED[f"plain{depth}"] = counts

OPTIONS = {
    "resnet50, stride in the 1x1": ("resnet50", {"stride_in": "1x1"}, (25_557_032, 3_857_973_248)),
    "googlenet, no auxiliary heads": ("googlenet", {"aux_logits": False}, (6_998_552, 1_582_671_872)),
    "googlenet_torchvision, no auxiliary heads": ("googlenet_torchvision", {"aux_logits": False}, (6_624_904, None)),
    # the projections are all that differs from the plain network: 64*128 + 128*256 + 256*512 weights and two BatchNorm parameters for each new map
    "resnet18, shortcut A": ("resnet18", {"shortcut": "A"}, PUBLISHED["plain18"]),
    # ... and C has a projection in each of the other blocks too: 3 of 64 maps, 3 of 128, 5 of 256, 2 of 512
    "resnet34, shortcut C": ("resnet34", {"shortcut": "C"}, (21_797_672 + sum(n * (maps**2 + 2 * maps) for n, maps in ((3, 64), (3, 128), (5, 256), (2, 512))), None)),
    # a network without groups has what each group of conv2, conv4, conv5 lacked
    "alexnet, one tower": ("alexnet", {"groups": 1}, (60_965_224 + 256 * 48 * 25 + 384 * 192 * 9 + 256 * 192 * 9, None)),
}

TORCHVISION = {"alexnet_owt": "alexnet", "googlenet_torchvision": "googlenet"}  # ours: theirs, where they differ


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    monkeypatch.setattr(init, "uniform_", lambda tensor, *_, **__: tensor)


def counts(name, **options):
    summary = tinycnn.summary(models.build(name, init=None, **options), models.default_input(name))
    return summary.params, summary.macs


def test_every_network_has_a_row():
    """Kills: a network that nobody counts."""
    assert set(PUBLISHED) == set(models.names())


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_macs(name):
    """Kills, in the network it is in: a wrong number of maps or blocks, stride, padding, filter or pool size, a missing bias, group, projection or auxiliary head."""
    params, macs = counts(name)
    assert params == PUBLISHED[name][0]
    assert macs == (PUBLISHED[name][1] or macs)


@pytest.mark.parametrize("case", OPTIONS)
def test_options_change_the_counts_as_they_should(case):
    """Kills: an option that is accepted and ignored."""
    name, options, (expected_params, expected_macs) = OPTIONS[case]
    params, macs = counts(name, **options)
    assert params == expected_params
    assert macs == (expected_macs or macs)


def torchvision_states():
    states = {}
    for line in (Path(__file__).parents[1] / "vectors" / "torchvision_names.txt").read_text().splitlines()[1:]:
        if line.startswith("["):
            state = states[line.strip("[]")] = []
        else:
            name, *shape = line.split()
            state.append((name, tuple(map(int, shape))))
    return states


@pytest.mark.parametrize("theirs", torchvision_states())
def test_state_dicts_are_torchvisions(theirs):
    """Names, order and shapes, so that torchvision's weights load. Kills: a renamed attribute, a layer moved within a Sequential, a bias beside BatchNorm."""
    name = {their: our for our, their in TORCHVISION.items()}.get(theirs, theirs)
    state = models.build(name, init=None).state_dict()
    assert [(key, tensor.shape) for key, tensor in state.items()] == torchvision_states()[theirs]


def test_names_do_not_depend_on_the_image_size():
    """What is left out for small images leaves an Identity behind. Kills: dropping it from the Sequential, which shifts the names of all that follows."""
    for name in set(models.names()) - {"resnet1202", "plain1202"}:
        full, small = (list(models.build(name, init=None, width=0.05, image_size=size).state_dict()) for size in (models.default_input(name)[1], 28))
        assert small == full


@pytest.mark.parametrize("name", [name for name in models.names() if "1202" not in name])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64), (2, 5, 5)])
def test_small_images_and_narrow_networks(name, shape):
    """Every family takes small images, other numbers of channels and classes, and any width. Kills: maps that vanish; a classifier that counts on 6x6 or 7x7 maps;
    widths that round to 0 or do not divide into groups."""
    C, H, _ = shape
    for width in (0.01, 0.13, 1.3):
        model = models.build(name, init=None, num_classes=7, in_channels=C, image_size=H, width=width)
        assert tinycnn.summary(model.eval(), shape).layers[-1].output_shape == (7,)


def test_the_last_maps_of_small_images():
    """The rule of scaling.py: as many halvings as leave half of the published 7x7. Kills: leaving out too few or too many, or the wrong end."""
    for name, expected in {
        "resnet18": {224: 7, 112: 4, 96: 6, 64: 4, 32: 4, 28: 4, 24: 6, 16: 4}, "googlenet": {224: 7, 64: 4, 32: 4, 28: 3}, "vgg11": {224: 7, 64: 4, 32: 4, 28: 3},
        "alexnet": {227: 6, 64: 3, 32: 3, 28: 2}, "zfnet": {224: 6, 64: 3, 32: 3, 28: 2},
    }.items():
        for size, last in expected.items():
            layers = tinycnn.summary(models.build(name, init=None, width=0.05, image_size=size).eval(), (3, size, size)).layers
            assert [layer for layer in layers if len(layer.output_shape) == 3 and layer.kind != "AdaptiveAvgPool2d"][-1].output_shape[1:] == (last, last), (name, size)
    first = {name: tinycnn.summary(models.build(name, init=None, width=0.05, image_size=32).eval(), (3, 32, 32)).layers for name in ("resnet18", "alexnet", "vgg11")}
    assert [layers[0].output_shape[1] for layers in first.values()] == [32, 32, 32]  # conv1 keeps what little there is
    assert first["vgg11"][2].output_shape[1] == 16  # but VGG pools after its first convolution


def test_larger_images_than_published_where_the_last_pool_adapts():
    """torchvision's AlexNet and VGG, GoogLeNet and ResNet classify any image that is large enough. Kills: a pool of fixed size in its place."""
    for name in ("alexnet_owt", "vgg11", "googlenet", "resnet18", "resnet20"):
        assert tinycnn.summary(models.build(name, init=None, width=0.1).eval(), (3, 288, 320)).layers[-1].output_shape in ((1000,), (10,))


def test_torchvisions_classifiers_do_not_grow_with_the_image():
    """Maps above 6x6 (AlexNet) and 7x7 (VGG) are averaged down to that. Kills: a classifier on the maps as they are."""
    for name in ("alexnet_owt", "vgg16"):
        model = models.build(name, init=None, image_size=448)
        assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED[name][0]


ABBREVIATIONS = {"Conv2d": "conv", "LocalResponseNorm": "lrn", "MaxPool2d": "max", "AdaptiveAvgPool2d": "avg", "Linear": "fc", "ReLU": "relu", "Tanh": "tanh",
                 "BatchNorm2d": "bn", "Dropout": "drop", "AvgPool2d": "mean"}
ORDER = {
    "lenet5": "conv relu max conv relu max fc relu fc relu fc",
    "alexnet": "conv relu lrn max conv relu lrn max conv relu conv relu conv relu max fc relu drop fc relu drop fc",
    "alexnet_owt": "conv relu max conv relu max conv relu conv relu conv relu max avg drop fc relu drop fc relu fc",
    "zfnet": "conv relu max lrn conv relu max lrn conv relu conv relu conv relu max fc relu drop fc relu drop fc",
    "vgg11_lrn": "conv relu lrn max conv relu max conv relu conv relu max conv relu conv relu max conv relu conv relu max avg fc relu drop fc relu drop fc",
    "vgg11": "conv relu max conv relu max conv relu conv relu max conv relu conv relu max conv relu conv relu max avg fc relu drop fc relu drop fc",
    "googlenet": "conv relu max lrn conv relu conv relu lrn max conv relu conv relu conv relu conv relu conv relu max conv relu",  # up to inception 3a
    "googlenet_torchvision": "conv bn relu max conv bn relu conv bn relu max",
    "resnet20": "conv bn relu conv bn relu conv bn relu conv bn relu",
    "resnet50": "conv bn relu max conv bn relu conv bn relu conv conv bn bn relu conv bn relu conv bn relu conv bn relu",  # the second of the two: downsample
}


@pytest.mark.parametrize("name", ORDER)
def test_order_of_layers(name):
    """What counts do not see. Kills: a missing or misplaced nonlinearity, normalisation or dropout."""
    layers = tinycnn.summary(models.build(name, init=None).eval(), models.default_input(name)).layers
    kinds = " ".join(ABBREVIATIONS[layer.kind] for layer in layers if layer.kind in ABBREVIATIONS)
    assert kinds == ORDER[name] or (name.startswith(("google", "res")) and kinds.startswith(ORDER[name]))


def test_constants_of_response_normalisation_and_dropout():
    """Kills: k = 1 in AlexNet, 2 in GoogLeNet; alpha divided by n where it is not, and the reverse; another probability of dropout."""
    def constants(model):
        norms = {(layer.size, layer.alpha, layer.beta, layer.k, layer.alpha_convention) for layer in model.modules() if isinstance(layer, nn.LocalResponseNorm)}
        return norms, [layer.p for layer in model.modules() if isinstance(layer, nn.Dropout)]
    small = {"init": None, "width": 0.05}
    paper = {(5, 1e-4, 0.75, 2.0, "paper")}
    for name in ("alexnet", "zfnet", "vgg11_lrn"):
        assert constants(models.build(name, **small)) == (paper, [0.5, 0.5])
    assert constants(models.build("alexnet", lrn="torch", dropout=0.1, **small)) == ({(5, 1e-4, 0.75, 2.0, "torch")}, [0.1, 0.1])
    assert constants(models.build("alexnet", lrn=None, **small))[0] == set()
    assert constants(models.build("googlenet", **small)) == ({(5, 1e-4, 0.75, 1.0, "torch")}, [0.7, 0.7, 0.4])
    assert constants(models.build("googlenet_torchvision", **small)) == (set(), [0.7, 0.7, 0.2])


def test_options_that_counts_do_not_see():
    """Kills: activation, pool or pool_size accepted and ignored, or applied to some of the layers only."""
    def kinds(model):
        return {type(layer).__name__ for layer in model.modules() if not list(layer.children())}
    assert kinds(models.build("lenet5", init=None, activation="tanh", pool="avg")) == {"Conv2d", "Tanh", "AvgPool2d", "Linear", "Identity"}
    model = models.build("alexnet", init=None, width=0.05, activation="tanh", lrn=None, pool_size=2)
    assert kinds(model) == {"Conv2d", "Tanh", "MaxPool2d", "Dropout", "Linear", "Identity"}
    assert {layer.kernel_size for layer in model.modules() if isinstance(layer, nn.MaxPool2d)} == {2}


def test_registry():
    """Kills: a default input that is not the network's; a name or option that is not checked; an error that does not help."""
    assert models.default_input("alexnet") == (3, 227, 227)
    assert models.default_input("lenet5") == (1, 32, 32)
    assert models.names()[0] == "lenet5" and len(models.names()) == 32
    with pytest.raises(ValueError, match="did you mean 'resnet20'"):
        models.build("resnet-20")
    with pytest.raises(ValueError, match="vgg16 has no option 'n_classes'; did you mean 'num_classes'"):
        models.build("vgg16", n_classes=3)


@pytest.mark.parametrize("name, options, message", [
    ("alexnet", {"width": 0}, "width is 0"),
    ("vgg11", {"image_size": 0}, "image_size is 0"),
    ("lenet5", {"image_size": 7.5}, "image_size is 7.5"),
    ("lenet5", {"pool": "mean"}, "pool is 'mean'"),
    ("lenet5", {"activation": "gelu"}, "activation is 'gelu'"),
    ("zfnet", {"lrn": True}, "lrn is True"),
    ("resnet18", {"shortcut": "D"}, "shortcut is 'D'"),
    ("resnet50", {"stride_in": "5x5"}, "stride_in is '5x5'"),
    ("googlenet_torchvision", {"in_channels": 1, "transform_input": True}, "in_channels is 1"),
    ("resnet20", {"init": "kaiming"}, "init is 'kaiming'"),
])
def test_wrong_options(name, options, message):
    """Kills: an option whose unknown value means something."""
    with pytest.raises(ValueError, match=message):
        models.build(name, **{"width": 0.05, **options})
