"""Claim 9: what a network's last hidden layer, fc7, has learned to see is of use for other tasks.

A small AlexNet is trained on half of the classes. It is then frozen, and a linear classifier learns the other classes from a few images, described by

    fc7             the network's 7th layer
    random          the same layer of a network that has learned nothing
    pixels          the image itself
    and there is    a whole network trained from scratch on the few images
"""
import numpy as np

from .. import from_numpy, manual_seed, nn, no_grad, optim
from ..data import DataLoader, Subset, open_dataset
from ..nn import functional as F
from ..train import make_model
from ..train.build import make_transform
from .ablations import RECIPE
from .claim import NOT_SHOWN, Report
from .noise import difference, percent, points, together
from .plots import COLOURS, percentages
from .training import train, trained_on

TITLE = "fc7 features generalise: they help with classes that the network was not trained on"
SLIDES = "FC7 features generalize well to other tasks"
PAPER = ("“We also show that our representations generalise well to other datasets, where they achieve state-of-the-art results” (Simonyan, Zisserman 2015, abstract; in "
         "its appendix B the last hidden layer's 4096 numbers are given to a linear classifier)")
WAYS = ("fc7", "random", "pixels", "from scratch")
SCRATCH_STEPS = 300
LINEAR_STEPS = 300


def cells(plan):
    epochs, images, width = plan.choose((12, [10], 0.125), (24, [5, 20, 100], 0.125), (90, [5, 20, 100], 0.25))
    return [{"seed": seed, "epochs": epochs, "images": images, "width": width, "data": plan.data} for seed in plan.seed_list(3, 5, 10)]


def compute(cell, place):
    splits = [open_dataset(cell["data"], split) for split in ("train", "test")]
    rng = np.random.default_rng(cell["seed"])
    classes = rng.permutation(np.unique(splits[0].labels))  # another half each time
    known, others = classes[:len(classes) // 2], classes[len(classes) // 2:]
    asked = {"model": "alexnet", "recipe": RECIPE, "seed": cell["seed"], "model_options": {"width": cell["width"]}}
    trainer = train(place.folder / "known", place.progress, [OfClasses(part, known) for part in splits], data="the known classes", epochs=cell["epochs"], **asked)
    network, config = trainer.model.eval(), trainer.config
    manual_seed(cell["seed"])
    untrained = make_model(config).eval()
    describe = {"fc7": lambda x: fc7(network, x), "random": lambda x: fc7(untrained, x), "pixels": lambda x: x.flatten(1)}

    every, test = (OfClasses(part, others) for part in splits)
    result = {"known_error": 1 - trainer.best, "known": [splits[0].classes[label] for label in known], **{way: [] for way in WAYS}}
    for images in cell["images"]:
        few = take(every, images, rng)
        for way, features in describe.items():
            x, x_test = (described(dataset, features, config) for dataset in (few, test))
            result[way].append(linear_error(x, few.labels, x_test, test.labels))
        epochs = 5
        scratch = train(place.folder / str(images), place.progress, datasets=(repeated(few, SCRATCH_STEPS // epochs, RECIPE.batch_size), test), data=f"{images} images",
                        epochs=epochs, **asked)
        result["from scratch"].append(1 - scratch.test().top1)
    return result


class OfClasses(Subset):
    """The images of some classes of a dataset; the classes are numbered anew, in this order."""

    def __init__(self, dataset, classes):
        super().__init__(dataset, np.flatnonzero(np.isin(dataset.labels, classes)))
        self.classes, number = [dataset.classes[label] for label in classes], np.zeros(len(dataset.classes), np.int64)
        number[classes] = range(len(classes))
        self.labels = number[self.labels]
        if hasattr(dataset, "images"):
            self.take = lambda positions: (dataset.images[self.indices[positions]], self.labels[positions])

    def __getitem__(self, index):
        image, _ = super().__getitem__(index)
        return image, int(self.labels[index])


def take(dataset, images, rng):
    """So many images of each class (or all, where there are not so many)."""
    return Subset(dataset, np.concatenate([rng.permutation(np.flatnonzero(dataset.labels == label))[:images] for label in range(len(dataset.classes))]))


def repeated(dataset, steps, batch_size):
    """The images again and again, so that an epoch has about so many steps."""
    return Subset(dataset, np.tile(np.arange(len(dataset)), max(1, steps * batch_size // len(dataset))))


def fc7(network, x):
    """The numbers (N, hidden) that come out of the 7th layer, behind its ReLU."""
    return network.classifier[:5](network.avgpool(network.features(x)).flatten(1))


@no_grad()
def described(dataset, features, config):
    """Features of all images, as an array."""
    return np.concatenate([features(x).numpy() for x, _ in DataLoader(dataset, 100, transform=make_transform(config))])


def linear_error(x, labels, x_test, labels_test):
    """The test error of a linear classifier: cross entropy and weight decay, Adam, all images in each step. Features are centred, and scaled by one number."""
    mean, scale = x.mean(axis=0), x.std() + 1e-6
    x, x_test = (from_numpy(((part - mean) / scale).astype(np.float32)) for part in (x, x_test))
    manual_seed(0)
    classifier = nn.Linear(x.shape[1], int(labels.max()) + 1)
    optimizer = optim.AdamW(classifier.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(LINEAR_STEPS):
        optimizer.zero_grad()
        F.cross_entropy(classifier(x), from_numpy(labels)).backward()
        optimizer.step()
    with no_grad():
        return float(np.mean(classifier(x_test).numpy().argmax(axis=1) != labels_test))


def report(rows):
    images = rows[0]["images"]
    table = [(f"{count} images of each class", *(percent([row[way][i] for row in rows]) for way in WAYS)) for i, count in enumerate(images)]
    gains = {way: difference([row[way][0] for row in rows], [row["fc7"][0] for row in rows]) for way in WAYS[1:]}
    compared = "; ".join(sentence(way, gain) for way, gain in gains.items())
    words = (f"With {images[0]} images of each new class, compared with fc7 features: {compared}. On the classes that it was trained on the network errs in "
             f"{percent([row['known_error'] for row in rows])}. ({len(rows)} seeds, each with another half of the classes for the training.)")
    different = (f"AlexNet at {rows[0]['width']:g} of its width, trained for {rows[0]['epochs']} epochs on {len(rows[0]['known'])} classes of {trained_on(rows)}; the "
                 "paper has VGG and the thousand of ImageNet.",
                 "The other task is the other classes of the same images, which is nearer than the paper's other data sets.")
    return Report(("errors on new classes", *WAYS), table, together([gain.verdict for gain in gains.values()]), words, different)


def sentence(way, gain):
    """gain: by how much the error of that way is above that of fc7 features."""
    name = {"random": "a random network's features", "pixels": "raw pixels", "from scratch": "training from scratch"}[way]
    if gain.verdict == NOT_SHOWN:
        return f"with {name} the error changes by {points(gain)}, which can be chance"
    return f"with {name} the error is {'higher' if gain.mean > 0 else 'lower'}: {points(gain)}"


def draw(figure, rows):
    axes = figure.subplots()
    for i, way in enumerate(WAYS):
        values = np.array([row[way] for row in rows])
        places = np.arange(values.shape[1]) + (i - 1.5) * 0.2
        axes.bar(places, values.mean(axis=0), width=0.18, color=COLOURS[i], yerr=values.std(axis=0, ddof=1) if len(rows) > 1 else None, label=way, capsize=5)
    axes.set_xticks(range(len(rows[0]["images"])), [f"{count} images of each class" for count in rows[0]["images"]])
    axes.set(ylabel="new classes' images that are wrong", title="A linear classifier on frozen features, and a network from scratch (lines: ± standard deviation)")
    percentages(axes.yaxis)
    axes.margins(y=0.2)
    axes.legend(ncols=len(WAYS), loc="upper center")
