"""A run as small as a run can be that has all that can go wrong in a resume: shuffling, augmentation, dropout, batch normalisation, momentum, schedules by step, by
epoch and by score, an average of the weights."""
import numpy as np

import tinycnn
from tinycnn import nn, optim
from tinycnn.data import ArrayDataset, DataLoader
from tinycnn.data.transforms import Compose, Normalize, RandomCrop, RandomHorizontalFlip, ToFloat
from tinycnn.optim import lr_scheduler
from tinycnn.train.averaging import WeightAverage
from tinycnn.train.loss import ClassificationLoss
from tinycnn.train.progress import Progress
from tinycnn.train.schedule import Schedule
from tinycnn.train.trainer import Trainer

EPOCHS, BATCHES = 3, 4  # 4 batches of 5 images, the last of 3
TIMES = ("seconds", "images_per_second")  # what differs from run to run in metrics.jsonl


def images(count, seed):
    """Noise, of class b brighter above, of class c brighter below."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    pixels = rng.integers(0, 100, (count, 6, 6, 1))
    for image, label in zip(pixels, labels):
        image[{0: slice(0), 1: slice(3), 2: slice(3, 6)}[int(label)]] += 150
    return ArrayDataset(pixels.astype(np.uint8), labels, ["a", "b", "c"])


def make_model():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 3))


def make_trainer(folder, lr=0.05, epochs=EPOCHS, progress=None, optimizer="SGD", model=None, workers=0, **options):
    """The same Trainer every time."""
    folder.mkdir(exist_ok=True)
    tinycnn.manual_seed(5)
    model = make_model() if model is None else model
    flips = Compose([RandomCrop(6, padding=1), RandomHorizontalFlip(), ToFloat(), Normalize([0.4], [0.2])])
    plain = Compose([ToFloat(), Normalize([0.4], [0.2])])
    train = DataLoader(images(18, 0), 5, shuffle=True, transform=flips, seed=5, num_workers=workers)
    test = DataLoader(images(12, 1), 5, transform=plain)
    how = {"SGD": {"momentum": 0.9, "weight_decay": 1e-3}, "Adam": {}}[optimizer]
    optimizer = getattr(optim, optimizer)(model.parameters(), lr=lr, **how)
    schedule = Schedule([(lr_scheduler.CosineAnnealingLR(optimizer, 2 * EPOCHS * BATCHES), "step"), (lr_scheduler.StepLR(optimizer, 2, gamma=0.5), "epoch"),
                         (lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", factor=0.5, patience=0, eps=0), "epoch")])
    average = WeightAverage(model, start=2)
    config = {"model": "tiny", "classes": ["a", "b", "c"]}
    return Trainer(model, ClassificationLoss(), optimizer, schedule, train, test, epochs, folder, config, progress or Progress(quiet=True), average,
                   **{"checkpoint_every": 1, "log_every": 2, **options})


def timeless(lines):
    """Lines of metrics without the times."""
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]
