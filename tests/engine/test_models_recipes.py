"""The recipes: what the papers say, and that every name in them is one that the engine has."""
import numpy as np
import pytest

import tinycnn
from tinycnn import models
from tinycnn.data import Streams, transforms
from tinycnn.train import recipes


def test_what_the_papers_say():
    """Kills: a recipe with another paper's numbers."""
    def numbers(name):
        recipe = recipes.get(name)
        return (recipe.batch_size, recipe.lr, recipe.epochs or recipe.steps, recipe.optimizer_options.get("momentum"), recipe.optimizer_options.get("weight_decay"))
    assert numbers("alexnet") == (128, 0.01, 90, 0.9, 5e-4)
    assert numbers("zfnet") == (128, 0.01, 70, 0.9, 5e-4)
    assert numbers("vgg") == (256, 0.01, 74, 0.9, 5e-4)
    assert numbers("resnet") == (256, 0.1, 120, 0.9, 1e-4)
    assert numbers("resnet_cifar") == (128, 0.1, 64_000, 0.9, 1e-4)
    assert numbers("lenet_1998") == (1, 0.001, 20, None, None)
    google = recipes.get("googlenet")
    assert (google.aux_weight, google.average_weights, google.optimizer_options["momentum"]) == (0.3, True, 0.9)
    assert google.schedules[0].options == {"step_size": 8, "gamma": 0.96}
    assert all(recipes.get(name).schedules[0].options["factor"] == 0.1 for name in ("alexnet", "vgg", "resnet"))


def test_epochs_follow_from_steps():
    """64,000 steps of 128 images are 164 epochs of CIFAR-10's 50,000. Kills: rounding down, counting images instead of batches."""
    assert recipes.get("resnet_cifar").epochs_for(50_000) == 164  # 391 steps each
    assert recipes.get("resnet_cifar").epochs_for(128) == 64_000
    assert recipes.get("alexnet").epochs_for(50_000) == 90


@pytest.mark.parametrize("name", recipes.names())
@pytest.mark.parametrize("C", [1, 3])
def test_transforms(name, C):
    """At the published size and at others, grey and in colour, for training and testing. Kills: a transform or an option that does not exist, a size that is not
    scaled with the rest, colour noise on grey images, a resize that is missing."""
    recipe = recipes.get(name)
    for size in (recipe.image_size, 28, 48):
        for train in (True, False):
            transform = recipe.transform(size, [0.5] * C, [0.25] * C, train)
            images = np.random.default_rng(0).integers(0, 256, (2, 40, 52, C), np.uint8)
            out = transform(images, Streams((0, 0), np.arange(2)))
            assert out.shape == (2, size, size, C) and out.dtype == np.float32
            assert train or not transform.random


def test_test_transforms_and_last_steps():
    """Kills: flips while testing; the mean of pixels in [0, 1] taken from pixels of 0 to 255; LeCun's scale upside down."""
    white, black = np.full((1, 32, 32, 1), 255, np.uint8), np.zeros((1, 32, 32, 1), np.uint8)
    for name, expected in (("quick", (2.0, -2.0)), ("alexnet", (127.5, -127.5)), ("lenet_1998", (1.175, -0.1))):
        transform = recipes.get(name).transform(32, [0.5], [0.25], False)
        np.testing.assert_allclose([transform(white).max(), transform(black).min()], expected, rtol=1e-6)


def test_sizes_are_the_papers_at_the_published_size():
    """Kills: scaling by the wrong size."""
    steps = recipes.get("alexnet").transform(227, [0.5] * 3, [0.25] * 3, True).transforms
    assert [type(step) for step in steps] == [transforms.Resize, transforms.CenterCrop, transforms.RandomCrop, transforms.RandomHorizontalFlip, transforms.ToFloat,
                                              transforms.PCANoise, transforms.Normalize]
    assert (steps[0].size, steps[1].size, steps[2].size) == (256, (256, 256), (227, 227))
    crop = recipes.get("resnet_cifar").transform(64, [0.5] * 3, [0.25] * 3, True).transforms[2]
    assert (crop.size, crop.padding) == ((64, 64), 8)


def test_every_network_has_a_default_and_its_options_exist():
    """Kills: a network without a recipe; a model option that its networks do not take."""
    for name in models.names():
        recipe = recipes.default_for(name)
        assert recipe.name.startswith("quick")
        options = {**recipe.model_options, "init": None, "width": 0.02}
        if "1202" not in name:  # as resnet20, only long
            models.build(name, image_size=28, **options)
    assert recipes.default_for("resnet20").name == recipes.default_for("plain110").name == "quick_resnet"
    assert recipes.default_for("resnet50").name == "quick_resnet_imagenet"
    assert recipes.default_for("lenet5").name == "quick"


def test_optimisers_and_schedules():
    """Warm-up and steps of ResNet-110: 0.01 for 400 steps, 0.1, then 0.01 and 0.001; a cosine ends where the run does. Kills: a class or option that does not exist,
    schedules that undo each other, lengths in epochs for schedules in steps."""
    weight = tinycnn.ones(1, requires_grad=True)
    for recipe in recipes.RECIPES.values():
        optimizer = recipe.make_optimizer([weight])
        assert isinstance(optimizer, getattr(tinycnn.optim, recipe.optimizer)) and optimizer.param_groups[0]["lr"] == pytest.approx(recipe.lr)
        recipe.make_schedulers(optimizer, 3, 5)

    def rates(name, epochs, steps_per_epoch):
        recipe = recipes.get(name)
        optimizer = recipe.make_optimizer([weight])
        schedulers = recipe.make_schedulers(optimizer, epochs, steps_per_epoch)
        seen = []
        for _ in range(epochs):
            for _ in range(steps_per_epoch):
                seen.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                for scheduler, every in schedulers:
                    if every == "step":
                        scheduler.step()
        return seen

    seen = rates("resnet110_cifar", 164, 391)
    assert [seen[i] for i in (0, 399, 400, 31_999, 32_000, 47_999, 48_000, 63_999)] == pytest.approx([0.01, 0.01, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    seen = rates("quick", 4, 10)
    assert seen[0] == pytest.approx(0.02) and seen[20] == pytest.approx(0.01) and 0 < seen[39] < 0.001
    seen = rates("quick_vgg", 4, 100)
    assert [seen[i] for i in (0, 100, 200)] == pytest.approx([0.0002, 0.02 * 0.505 * (1 + 0.5 ** 0.5) / 2, 0.01]) and 0 < seen[399] < 0.001


def test_unknown_names_and_descriptions():
    """Kills: an error that does not help; a recipe or field that is not shown."""
    with pytest.raises(ValueError, match="unknown recipe 'resnet-cifar'; did you mean 'resnet_cifar'"):
        recipes.get("resnet-cifar")
    with pytest.raises(ValueError, match="unknown network"):
        recipes.default_for("resnet19")
    text = recipes.describe()
    assert all(f"\n{name}: " in f"\n{text}" for name in recipes.names())
    text = recipes.describe(recipes.get("resnet_cifar"))
    assert "MultiStepLR(milestones=(32000, 48000), gamma=0.1) every step" in text and "RandomCrop(size=32, padding=4)" in text
    assert "\n" not in str(recipes.get("alexnet"))
