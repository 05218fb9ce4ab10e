"""A small run that one process or several can make, with all that several have to agree on: the order of images, augmentation, dropout, momentum, schedules, an average
of the weights, a last batch that is smaller. In float64, where the order of additions hardly matters, and everything else does."""
from tiny_run import images as make_images

import tinycnn
from tinycnn import nn, optim
from tinycnn.data import DataLoader
from tinycnn.data.transforms import Compose, Normalize, RandomCrop, RandomHorizontalFlip, ToFloat
from tinycnn.distributed.data_parallel import Alone
from tinycnn.distributed.shares import share
from tinycnn.nn import functional as F
from tinycnn.optim import lr_scheduler
from tinycnn.train.averaging import WeightAverage
from tinycnn.train.loss import ClassificationLoss
from tinycnn.train.progress import Progress
from tinycnn.train.schedule import Schedule
from tinycnn.train.trainer import Trainer

EPOCHS = 3


class InDouble(nn.Module):
    def forward(self, x):
        return x.to("float64")


class NormInShares(nn.BatchNorm2d):
    """What batch normalisation in several processes comes to, in one: each share of the batch by its own statistics, and the mean of the running ones."""

    shares = 1

    def forward(self, x):
        if not self.training:
            return super().forward(x)
        outputs, means, variances = [], 0, 0
        for rank in range(self.shares):
            own = share(len(x), rank, self.shares)
            if own.start == own.stop:
                continue
            mean, variance = self.running_mean.clone(), self.running_var.clone()
            outputs.append(F.batch_norm(x[own], mean, variance, self.weight, self.bias, True, self.momentum, self.eps))
            part = (own.stop - own.start) / len(x)
            means, variances = means + mean * part, variances + variance * part
        with tinycnn.no_grad():
            self.running_mean.copy_(means)
            self.running_var.copy_(variances)
            self.num_batches_tracked += 1
        return tinycnn.cat(outputs)


def make_run(folder, network, count, batch_size, processes=None, shares=1, progress=None):
    """The same Trainer every time. network: "plain" or "norm". count: images to train on. shares: how many processes a single one is to imitate in "norm"."""
    folder.mkdir(exist_ok=True)
    tinycnn.manual_seed(5)
    norm = [] if network == "plain" else [NormInShares(4) if shares > 1 else nn.BatchNorm2d(4)]
    model = nn.Sequential(InDouble(), nn.Conv2d(1, 4, 3, bias=not norm), *norm, nn.ReLU(), nn.Dropout2d(0.2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 3)).double()
    for layer in norm:
        layer.shares = shares
    processes = processes or Alone()
    flips = Compose([RandomCrop(6, padding=1), RandomHorizontalFlip(), ToFloat(), Normalize([0.4], [0.2])])
    train = DataLoader(make_images(count, 0), batch_size, shuffle=True, transform=flips, seed=5, part=(processes.rank, processes.size))
    test = DataLoader(processes.own_part(make_images(13, 1)), batch_size, transform=Compose([ToFloat(), Normalize([0.4], [0.2])]))
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    schedule = Schedule([(lr_scheduler.CosineAnnealingLR(optimizer, 30), "step"),
                         (lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", factor=0.5, patience=0, eps=0), "epoch")])
    config = {"model": "small", "classes": ["a", "b", "c"]}
    return Trainer(model, ClassificationLoss(), optimizer, schedule, train, test, EPOCHS, folder, config, progress or Progress(quiet=True),
                   WeightAverage(model, start=2), checkpoint_every=1, log_every=2, processes=processes)
