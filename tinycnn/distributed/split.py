"""A network split over processes: each has its share of every layer's filters, and computes its share of the maps.

What a layer has to read decides whether its processes must talk. A convolution with as many groups as there are processes reads the maps of its own group, which are
those that this process has: nothing to exchange. A convolution without groups, and a fully connected layer, read all maps: an all-gather comes first. Everything else
(ReLU, pooling, dropout) works on each map by itself. The backward pass follows from the all-gather's: where maps were gathered, gradients are summed.

Per image and pass a layer that gathers sends (P - 1)/P of its input, in the forward and in the backward pass. That is the whole traffic: weights and their gradients
stay where they are.
"""
from copy import deepcopy

from .. import nn, no_grad
from ..random import part_of
from .collectives import Traffic, all_gather, gather_same
from .shares import share


class OwnFilters(nn.Module):
    """This process's filters of a convolution or fully connected `layer`; gathers what the other processes computed of its input first, if it reads that."""

    def __init__(self, layer, comm, gathers):
        super().__init__()
        self.comm, self.gathers, self.traffic = comm, gathers, Traffic()
        self.inputs, outputs = layer.weight.shape[1], layer.weight.shape[0]
        self.own = share(outputs, comm.rank, comm.size)
        with nn.init.skip():
            self.layer = _smaller(layer, self.inputs, self.own.stop - self.own.start)
        with no_grad():
            for name, _ in list(self.layer.named_parameters()):
                setattr(self.layer, name, nn.Parameter(getattr(layer, name)[self.own].clone()))

    def forward(self, x):
        return self.layer(all_gather(x, 1, self.inputs, self.comm, self.traffic) if self.gathers else x)


class OwnDropout(nn.Module):
    """This process's part of a dropout: the mask is that of the whole, of which it has the share that belongs to its `whole` neurons."""

    def __init__(self, layer, comm, whole):
        super().__init__()
        self.layer, self.start, self.whole = layer, share(whole, comm.rank, comm.size).start, whole

    def forward(self, x):
        with part_of(1, self.start, self.whole):
            return self.layer(x)


class Split(nn.Module):
    """The share of this process in `whole`, a chain of layers (FeaturesThenClassifier) whose grouped convolutions have as many groups as there are processes.

    Its forward takes the same images in every process, and gives all logits to every process.
    """

    def __init__(self, whole, comm):
        super().__init__()
        self.comm, self.traffic, self.layers = comm, Traffic(), nn.Sequential()
        self.weighted = {}  # conv1, ..., fc8: the layers with weights
        for layer in [*whole.features, nn.Flatten(), *whole.classifier]:
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                name = f"{'conv' if isinstance(layer, nn.Conv2d) else 'fc'}{len(self.weighted) + 1}"
                self.outputs = layer.weight.shape[0]
                own = self.weighted[name] = OwnFilters(layer, comm, gathers=bool(self.weighted) and not _reads_own_maps(name, layer, comm.size))
            elif isinstance(layer, nn.Dropout):
                own = OwnDropout(layer, comm, self.outputs)
            else:
                own = deepcopy(layer.norm if isinstance(layer, WithinTowers) else layer)
            self.layers.append(own)

    def forward(self, x):
        return gather_same(self.layers(x), 1, self.outputs, self.comm, self.traffic)


class WithinTowers(nn.Module):
    """A response normalisation whose windows end where a tower ends, as they do when each tower is in a process of its own."""

    def __init__(self, norm, towers):
        super().__init__()
        self.norm, self.towers = norm, towers

    def forward(self, x):
        N, C, H, W = x.shape
        return self.norm(x.reshape(N * self.towers, C // self.towers, H, W)).reshape(N, C, H, W)


def normalise_within_towers(network, towers):
    """Make `network`, in one process, normalise as the split one does."""
    for i, layer in enumerate(network.features):
        if isinstance(layer, nn.LocalResponseNorm):
            network.features[i] = WithinTowers(layer, towers)
    return network


def _reads_own_maps(name, layer, processes):
    groups = getattr(layer, "groups", 1)
    if groups not in (1, processes):
        raise ValueError(f"split: {name} has {groups} groups; to be split over {processes} processes it should have {processes}, or 1 and read all maps")
    return groups == processes


def _smaller(layer, inputs, outputs):
    """A layer of the same kind and settings with fewer filters."""
    if isinstance(layer, nn.Linear):
        return nn.Linear(inputs, outputs, bias=layer.bias is not None)
    return nn.Conv2d(inputs, outputs, layer.kernel_size, layer.stride, layer.padding, layer.dilation, bias=layer.bias is not None)
