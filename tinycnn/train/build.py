"""From what a person asks for to the objects that train.

    configure("lenet5", epochs=3)       a config: every decision, as plain values (JSON-able); what config.json and each checkpoint hold
    make_trainer(config, folder)        the Trainer that it describes; called again with the same config, the same one, bit for bit
    make_model(config)                  its network
    trained_model(checkpoint)           the same with the weights of a checkpoint;  inference_model: and as fast as it can be

All defaults are decided in `configure`, so that a run can be resumed or evaluated when defaults have changed.
"""
import json
from dataclasses import asdict, replace
from inspect import signature
from pathlib import Path

from .. import __version__, models, nn, optim
from ..data import DataLoader, open_dataset
from ..data.transforms import IMAGENET_MEAN, IMAGENET_STD, channel_statistics
from ..distributed.data_parallel import Alone
from ..inference import fuse
from ..random import manual_seed
from . import recipes
from .averaging import WeightAverage
from .checkpoint import restore
from .loss import ClassificationLoss
from .progress import Progress
from .schedule import Schedule
from .trainer import Trainer

OPTIMIZERS = ("SGD", "Adam", "AdamW", "RMSprop")


def configure(model="lenet5", data="bundled", recipe=None, *, epochs=None, batch_size=None, lr=None, label_smoothing=None, optimizer=None, optimizer_options=None,
              augment=True, seed=0, image_size=None, model_options=None, datasets=None):
    """The config of a run. What is None is the recipe's to say, or the data's (image_size, numbers of channels and classes).

    recipe: a name or a Recipe, by default the quick one for this network. optimizer: a class of tinycnn.optim; another one than the recipe's starts from its own
    options and learning rate. optimizer_options: momentum, weight_decay, ... model_options: width, and whatever else the network's function takes.
    datasets: (train, test), where these are not simply what is in a folder; `data` is then what they are called, and make_trainer wants them too.
    """
    if datasets is None:
        data = data if data == "bundled" else str(Path(data).absolute())  # the run may be resumed from elsewhere
    train, test = datasets or (open_dataset(data, split) for split in ("train", "test"))
    chosen = recipe if isinstance(recipe, recipes.Recipe) else recipes.get(recipe) if recipe else recipes.default_for(model)
    chosen = _with_optimizer(chosen, optimizer, lr, optimizer_options or {})
    given = {"lr": lr, "batch_size": batch_size, "label_smoothing": label_smoothing}
    chosen = replace(chosen, **{name: value for name, value in given.items() if value is not None})
    if not augment:
        chosen = replace(chosen, train_transforms=chosen.test_transforms)
    channels, size = _image(train)
    mean, std = _statistics(train)
    options = {"num_classes": len(train.classes), "in_channels": channels, "image_size": image_size or size or models.default_input(model)[1],
               **chosen.model_options, **(model_options or {})}
    config = {"tinycnn": __version__, "model": model, "model_options": options, "data": data, "images": {"train": len(train), "test": len(test)},
              "classes": list(train.classes), "mean": mean, "std": std, "seed": seed, "epochs": chosen.epochs_for(len(train)) if epochs is None else epochs,
              "recipe": asdict(chosen)}
    return json.loads(json.dumps(config))  # as it will be read again: no tuples


def make_model(config):
    """The network of a config, with fresh weights."""
    return models.build(config["model"], **config["model_options"])


def trained_model(checkpoint):
    """The network of a checkpoint, ready to be used."""
    with nn.init.skip():  # every weight comes from the checkpoint
        model = make_model(checkpoint.config)
    restore(model, checkpoint, checkpoint.average or None)
    return model.eval()


def inference_model(checkpoint, device="cpu"):
    """trained_model, on the CPU in the form in which it answers fastest."""
    model = trained_model(checkpoint)
    return fuse(model, fallback=True) if device == "cpu" else model.to(device)


def make_recipe(config):
    """The recipe in a config (JSON has made dicts and lists of its parts)."""
    plain = config["recipe"]
    return recipes.Recipe(**{**plain, "schedules": tuple(recipes.Schedule(**schedule) for schedule in plain["schedules"])})


def make_transform(config, train=False, ten_crop=False):
    """What is done to the images before the network sees them. ten_crop: corners, centre and their mirror images in the place of the centre."""
    recipe = make_recipe(config)
    if ten_crop:
        recipe = replace(recipe, test_transforms=tuple(_ten_crops(recipe.test_transforms)))
    return recipe.transform(config["model_options"]["image_size"], config["mean"], config["std"], train)


def make_trainer(config, folder, progress=None, workers=0, checkpoint_every=1000, datasets=None, processes=None, device="cpu"):
    """The Trainer of a config, at its beginning, with its run in the folder `folder`. datasets: those that `configure` was given, if it was.

    device: where it computes, "cpu" or "cuda". It is no part of the config: a run may go on elsewhere. Weights are drawn on the CPU, so they are the same everywhere.
    processes: a DataParallel, if this is one of several processes that share each batch of the recipe's size.
    """
    processes = processes or Alone()
    datasets = dict(zip(("train", "test"), datasets or [open_dataset(config["data"], split) for split in ("train", "test")]))
    _check_unchanged(config, datasets)
    recipe, epochs = make_recipe(config), config["epochs"]
    manual_seed(config["seed"])
    model = make_model(config).to(device)
    how = {"batch_size": recipe.batch_size, "num_workers": workers, "seed": config["seed"], "device": device}
    train = DataLoader(datasets["train"], shuffle=True, transform=make_transform(config, train=True), drop_last=_leaves_one(datasets["train"], recipe.batch_size),
                       part=(processes.rank, processes.size), **how)
    test = DataLoader(processes.own_part(datasets["test"]), transform=make_transform(config), **how)
    optimizer = recipe.make_optimizer(model.parameters())
    schedule = Schedule(recipe.make_schedulers(optimizer, epochs, len(train)))
    average = WeightAverage(model, start=epochs * len(train) // 2) if recipe.average_weights else None
    return Trainer(model, ClassificationLoss(recipe.label_smoothing, recipe.aux_weight), optimizer, schedule, train, test, epochs, folder, config,
                   progress or Progress(quiet=True), average, checkpoint_every, processes=processes)


def _with_optimizer(recipe, optimizer, lr, options):
    """The recipe with another optimiser, or other options for its own."""
    name = optimizer or recipe.optimizer
    if name not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {name!r}: there are {', '.join(OPTIMIZERS)}")
    known = signature(getattr(optim, name)).parameters
    for option in options:
        if option not in known:
            raise ValueError(f"optimizer {name} has no option {option!r} (it has: {', '.join(list(known)[1:])})")
    if name == recipe.optimizer:
        return replace(recipe, optimizer_options={**recipe.optimizer_options, **options})
    return replace(recipe, optimizer=name, optimizer_options=options, lr=known["lr"].default if lr is None else lr)


def _ten_crops(transforms):
    """Test transforms with TenCrop for CenterCrop; before it, images are made 8/7 as large as the crop (256 for 224) unless they are larger anyway."""
    crop = next((options["size"] for name, options in transforms if name == "CenterCrop"), None)
    if crop is None:
        raise ValueError("ten crops: the recipe of this checkpoint has no CenterCrop in its test transforms")
    for name, options in transforms:
        if name == "Resize":
            options = {**options, "size": max(options["size"], round(crop * 8 / 7))}
        yield ("TenCrop" if name == "CenterCrop" else name), options


def _image(dataset):
    """(channels, size) of the images; the size is None where each image has its own."""
    if hasattr(dataset, "images"):
        H, W, C = dataset.images.shape[1:]
        return C, min(H, W)
    return dataset[0][0].shape[-1], None


def _statistics(dataset):
    """Mean and standard deviation of each channel, for pixels in [0, 1]. For photographs in files, which would all have to be read, those of ImageNet."""
    if not hasattr(dataset, "images"):
        return list(IMAGENET_MEAN), list(IMAGENET_STD)
    mean, covariance = channel_statistics(dataset)
    return mean.tolist(), (covariance.diagonal() ** 0.5).tolist()


def _leaves_one(dataset, batch_size):
    """Whether the last batch would be a single image, from which batch normalisation cannot learn a variance: it is left out."""
    return batch_size > 1 and len(dataset) % batch_size == 1


def _check_unchanged(config, datasets):
    for split, dataset in datasets.items():
        if len(dataset) != config["images"][split] or list(dataset.classes) != config["classes"]:
            raise ValueError(f"{config['data']}: the {split} images have changed since the run began: {len(dataset):,} images of {len(dataset.classes)} classes, "
                             f"there were {config['images'][split]:,} of {len(config['classes'])}")
