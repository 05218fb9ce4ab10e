"""How to train: the recipes of the papers, and quick ones for small images, as plain data.

    get("resnet_cifar")             a Recipe
    default_for("resnet20")         the quick recipe of that network's family
    describe()                      all of them, to be read
    get("vgg").epochs_for(50_000)   ... and what a Recipe makes of itself: its transforms, optimiser and schedulers

Sizes of images and crops are the papers', for images of `image_size`; for other sizes all are scaled alike. Names are those of tinycnn.data.transforms,
tinycnn.optim and tinycnn.optim.lr_scheduler, hence PyTorch's and torchvision's wherever they have the thing.
"""
from dataclasses import dataclass, field, fields, replace

from ..names import nearest

ALL = "all"  # in the options of a schedule: as many steps or epochs as the run has


@dataclass(frozen=True)
class Schedule:
    """A class of tinycnn.optim.lr_scheduler, its options, and whether it counts steps or epochs."""

    name: str
    options: dict = field(default_factory=dict)
    every: str = "epoch"  # or "step"

    def __str__(self):
        return call(self.name, self.options) + f" every {self.every}"


@dataclass(frozen=True)
class Recipe:
    """What a training run needs to know besides the network and the data."""

    name: str
    about: str
    batch_size: int
    lr: float
    epochs: int | None = None
    steps: int | None = None  # instead of epochs, where the paper counts these
    optimizer: str = "SGD"
    optimizer_options: dict = field(default_factory=dict)  # besides lr
    schedules: tuple = ()  # of Schedule; their factors multiply
    image_size: int = 224
    train_transforms: tuple = ()  # of (name, options)
    test_transforms: tuple = ()
    pixels: str = "mean_std"  # what comes last: see `transform`
    aux_weight: float = 0.3  # of the losses of auxiliary classifiers, in networks that have them
    label_smoothing: float = 0.0
    average_weights: bool = False  # Polyak averaging: evaluate the mean of the weights over the run instead of the last ones
    model_options: dict = field(default_factory=dict)  # for the network, where the user gives none

    def __str__(self):
        return self.about.partition("\n")[0]

    def epochs_for(self, images):
        """How many epochs that is on so many training images."""
        return self.epochs if self.steps is None else -(-self.steps // -(-images // self.batch_size))

    def transform(self, image_size, mean, std, train):
        """The transforms of tinycnn.data for training or testing on images of image_size, and the mean and standard deviation (each one per channel, for
        pixels in [0, 1]) of the data set. Colour noise is left out for images without colours.

        pixels = "mean_std": (x - mean) / std. "mean": x - mean, of pixels from 0 to 255, as before BatchNorm. "lenet": -0.1 for black, 1.175 for white.
        """
        from ..data import transforms
        steps = [getattr(transforms, name)(**self.scaled(options, image_size)) for name, options in (self.train_transforms if train else self.test_transforms)
                 if name != "PCANoise" or len(mean) == 3]
        if not any(isinstance(step, transforms.ToFloat) for step in steps):
            steps.append(transforms.ToFloat())
        last = {"mean_std": lambda: transforms.Normalize(mean, std), "mean": lambda: transforms.Normalize(mean, 1 / 255),
                "lenet": lambda: transforms.Normalize(0.1 / 1.275, 1 / 1.275)}
        return transforms.Compose([*steps, last[self.pixels]()])

    def scaled(self, options, image_size):
        """Options of a transform with their numbers of pixels brought from self.image_size to image_size."""
        return {name: round(value * image_size / self.image_size) if name in ("size", "min_size", "max_size", "padding") else value for name, value in options.items()}

    def make_optimizer(self, parameters, lr=None):
        """The optimiser for these parameters."""
        from .. import optim
        return getattr(optim, self.optimizer)(parameters, lr=self.lr if lr is None else lr, **self.optimizer_options)

    def make_schedulers(self, optimizer, epochs, steps_per_epoch):
        """[(scheduler, "epoch" or "step")]: whose step() to call, and when."""
        from ..optim import lr_scheduler
        length = {"epoch": epochs, "step": epochs * steps_per_epoch}
        return [(getattr(lr_scheduler, schedule.name)(optimizer, **{name: length[schedule.every] if value == ALL else value for name, value in schedule.options.items()}),
                 schedule.every) for schedule in self.schedules]


# ---- the papers

MOMENTUM = {"momentum": 0.9, "weight_decay": 5e-4}
ON_PLATEAU = Schedule("ReduceLROnPlateau", {"mode": "max", "factor": 0.1, "patience": 5})  # no paper says how long it waited; the score is the test accuracy
FLIP = ("RandomHorizontalFlip", {})
FLOAT = ("ToFloat", {})
PCA = ("PCANoise", {"sigma": 0.1})


def centre(size, crop):
    """The short side to `size`, the middle `crop` of it."""
    return ("Resize", {"size": size}), ("CenterCrop", {"size": crop})


ALEXNET = Recipe(
    "alexnet", "AlexNet (Krizhevsky et al. 2012): SGD, batch 128, lr 0.01 / 10 on plateau, crops, flips, PCA colour noise; 90 epochs\n"
               "The paper divided the rate three times in all, by hand.",
    batch_size=128, lr=0.01, epochs=90, optimizer_options=MOMENTUM, schedules=(ON_PLATEAU,), image_size=227, pixels="mean",
    train_transforms=(*centre(256, 256), ("RandomCrop", {"size": 227}), FLIP, FLOAT, PCA), test_transforms=centre(256, 227))

ZFNET = replace(
    ALEXNET, name="zfnet", image_size=224, epochs=70,
    about="ZFNet (Zeiler, Fergus 2014): as AlexNet, without the colour noise; 70 epochs\n"
          "The paper crops at the corners and the centre only, and rescales filters of the convolutions whose RMS exceeds 0.1: left out.",
    train_transforms=(*centre(256, 256), ("RandomCrop", {"size": 224}), FLIP), test_transforms=centre(256, 224))

VGG = Recipe(
    "vgg", "VGG (Simonyan, Zisserman 2015): SGD, batch 256, lr 0.01 / 10 on plateau, scale jitter 256-512, flips, PCA colour noise; 74 epochs",
    batch_size=256, lr=0.01, epochs=74, optimizer_options=MOMENTUM, schedules=(ON_PLATEAU,), pixels="mean",
    train_transforms=(("ScaleJitterCrop", {"size": 224, "min_size": 256, "max_size": 512}), FLIP, FLOAT, PCA), test_transforms=centre(384, 224))

GOOGLENET = Recipe(
    "googlenet", "GoogLeNet (Szegedy et al. 2015): SGD, lr -4% every 8 epochs, crops of 8-100% of the area, photometric distortions, averaged weights\n"
                 "The paper gives neither batch, first rate, weight decay nor epochs: 32, 0.01 and 2e-4 are those of Caffe's model; 240 epochs come to a rate of 0.003.",
    batch_size=32, lr=0.01, epochs=240, optimizer_options={"momentum": 0.9, "weight_decay": 2e-4}, schedules=(Schedule("StepLR", {"step_size": 8, "gamma": 0.96}),),
    train_transforms=(("RandomResizedCrop", {"size": 224, "scale": (0.08, 1.0), "ratio": (3 / 4, 4 / 3)}), FLIP, FLOAT, ("PhotometricDistortion", {})),
    test_transforms=centre(256, 224), pixels="mean", aux_weight=0.3, average_weights=True)

RESNET = Recipe(
    "resnet", "ResNet (He et al. 2015) on ImageNet: SGD, batch 256, lr 0.1 / 10 on plateau, scale jitter 256-480, flips, PCA colour noise; 120 epochs (600,000 steps)",
    batch_size=256, lr=0.1, epochs=120, optimizer_options={"momentum": 0.9, "weight_decay": 1e-4}, schedules=(ON_PLATEAU,),
    train_transforms=(("ScaleJitterCrop", {"size": 224, "min_size": 256, "max_size": 480}), FLIP, FLOAT, PCA), test_transforms=centre(256, 224))

RESNET_CIFAR = Recipe(
    "resnet_cifar", "ResNet (He et al. 2015) on CIFAR-10: SGD, batch 128, lr 0.1 / 10 after 32,000 and 48,000 of 64,000 steps, pad 4, crop, flip",
    batch_size=128, lr=0.1, steps=64_000, optimizer_options={"momentum": 0.9, "weight_decay": 1e-4}, image_size=32,
    schedules=(Schedule("MultiStepLR", {"milestones": (32_000, 48_000), "gamma": 0.1}, every="step"),),
    train_transforms=(*centre(32, 32), ("RandomCrop", {"size": 32, "padding": 4}), FLIP), test_transforms=centre(32, 32))

RESNET110_CIFAR = replace(
    RESNET_CIFAR, name="resnet110_cifar", schedules=(Schedule("ConstantLR", {"factor": 0.1, "total_iters": 400}, every="step"), *RESNET_CIFAR.schedules),
    about="The same for ResNet-110, which does not start at lr 0.1: 400 steps at 0.01 first\nThe paper waits until the training error is below 80%, about 400 steps.")

LENET_1998 = Recipe(
    "lenet_1998", "LeNet-5 (LeCun et al. 1998): one image at a time, 20 epochs with a falling rate, pixels -0.1 to 1.175\n"
                  "The paper divides the rate of each weight by its curvature, after which rates are 7e-5 to 0.016; here all have the same, which falls as fast as the\n"
                  "paper's (5, 2, 1, 0.5, 0.1 in epochs 1-2, 3-5, 6-8, 9-12, 13-20), in equal ratios.",
    batch_size=1, lr=1e-3, epochs=20, schedules=(Schedule("MultiStepLR", {"milestones": (2, 5, 8, 12), "gamma": 0.376}),), image_size=32, pixels="lenet",
    train_transforms=centre(32, 32), test_transforms=centre(32, 32))


# ---- quick ones: small images, two processor cores, a minute or a few

COSINE = Schedule("CosineAnnealingLR", {"T_max": ALL}, every="step")
# Without BatchNorm the gradients of the first steps are larger than the weights (GoogLeNet: most |dw| / |w| are 1 to 4). Full steps along them leave units that no image
# of a batch switches on, whose ReLU lets no gradient through: after 60 steps 23% of GoogLeNet's maps, after 60 steps of warm-up 6%, of 9% to begin with.
WARM_UP = Schedule("LinearLR", {"start_factor": 0.01, "total_iters": 200}, every="step")
FLIPPED = (*centre(32, 32), FLIP)
MOVED = (*centre(32, 32), ("RandomCrop", {"size": 32, "padding": 1}), FLIP)  # by a pixel at most: more costs a short run more than it gains

QUICK = Recipe(
    "quick", "Small images, in less than a minute: SGD, batch 64, lr 0.02 falling to 0 along a cosine, 20 epochs",
    batch_size=64, lr=0.02, epochs=20, optimizer_options={"momentum": 0.9, "weight_decay": 2e-3}, label_smoothing=0.1, schedules=(COSINE,), image_size=32,
    train_transforms=centre(32, 32), test_transforms=centre(32, 32))
QUICK_ALEXNET = replace(
    QUICK, name="quick_alexnet", about="AlexNet and ZFNet at a quarter of their width, for small images: as quick, with flips and a warm-up, 24 epochs",
    epochs=24, optimizer_options=MOMENTUM, schedules=(WARM_UP, COSINE), train_transforms=FLIPPED, model_options={"width": 0.25, "init": "he", "dropout": 0.5})
QUICK_VGG = replace(
    QUICK_ALEXNET, name="quick_vgg", about="VGG at a quarter of its width, for small images: as quick, with flips, moved by a pixel, and a warm-up, 24 epochs",
    train_transforms=MOVED)
QUICK_GOOGLENET = replace(
    QUICK_VGG, name="quick_googlenet", about="GoogLeNet at a quarter of its width, for small images: AdamW, lr 0.002 after a warm-up, flips, moved by a pixel, 16 epochs",
    epochs=16, lr=0.002, optimizer="AdamW", optimizer_options={"weight_decay": 0.01}, model_options={"width": 0.25, "init": "he"})
QUICK_RESNET = replace(
    QUICK, name="quick_resnet", about="ResNets for small images: as quick, with flips, from lr 0.1, 12 epochs",
    lr=0.1, epochs=12, optimizer_options=MOMENTUM, train_transforms=FLIPPED)
QUICK_RESNET_IMAGENET = replace(
    QUICK_RESNET, name="quick_resnet_imagenet", about="ImageNet's ResNets at a quarter of their width, for small images; otherwise as quick_resnet",
    model_options={"width": 0.25})

RECIPES = {recipe.name: recipe for recipe in (
    ALEXNET, ZFNET, VGG, GOOGLENET, RESNET, RESNET_CIFAR, RESNET110_CIFAR, LENET_1998,
    QUICK, QUICK_ALEXNET, QUICK_VGG, QUICK_GOOGLENET, QUICK_RESNET, QUICK_RESNET_IMAGENET)}

FAMILIES = {"lenet": QUICK, "alexnet": QUICK_ALEXNET, "zfnet": QUICK_ALEXNET, "vgg": QUICK_VGG, "googlenet": QUICK_GOOGLENET}


# ---- finding and showing them

def names():
    """The names of all recipes."""
    return list(RECIPES)


def get(name):
    """The recipe called `name`."""
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}{nearest(name, RECIPES)} (all: {', '.join(RECIPES)})")
    return RECIPES[name]


def default_for(network):
    """The quick recipe for the network called `network`."""
    from ..models import default_input
    size = default_input(network)[1]  # refuses unknown names
    for family, recipe in FAMILIES.items():
        if network.startswith(family):
            return recipe
    return QUICK_RESNET_IMAGENET if size > 32 else QUICK_RESNET


def describe(*recipes):
    """Text with everything in these recipes (all, if none are given)."""
    return "\n\n".join(_described(recipe) for recipe in recipes or RECIPES.values())


def _described(recipe):
    shown = {"train_transforms": _pipeline, "test_transforms": _pipeline, "schedules": lambda schedules: ", ".join(map(str, schedules)),
             "optimizer_options": _options, "model_options": _options}
    lines = [f"{recipe.name}: {recipe.about}".replace("\n", "\n    ")]
    for entry in fields(recipe):
        value = getattr(recipe, entry.name)
        if entry.name not in ("name", "about") and value not in (None, (), {}, False):
            lines.append(f"    {entry.name.replace('_', ' '):18}{shown.get(entry.name, str)(value)}")
    return "\n".join(lines)


def _pipeline(transforms):
    return ", ".join(call(name, options) for name, options in transforms)


def _options(options):
    return ", ".join(f"{name}={value}" for name, value in options.items())


def call(name, options):
    """A call as it is written in Python."""
    return f"{name}({_options(options)})"
