"""Polyak averaging: the mean of the weights over many steps, which is often a better network than the last ones (Polyak, Juditsky 1992; used by GoogLeNet).

SGD ends up walking around a minimum, at a distance that the learning rate keeps up; the middle of its walk is nearer to it. Averaged are the steps of the second half
of the run: the way there is no part of the walk.
"""
from copy import deepcopy

from ..autograd import no_grad


class WeightAverage:
    """`model` is a copy of the trained network; its parameters and buffers are the mean of those of the steps after the first `start`."""

    def __init__(self, trained, start):
        self.trained, self.start, self.count = trained, start, 0
        self.model = deepcopy(trained)

    @no_grad()
    def update(self, step):
        """Step number `step` (from 1) has been made."""
        if step <= self.start:
            return
        self.count += 1
        for mean, tensor in zip(self.model.state_dict().values(), self.trained.state_dict().values(), strict=True):
            mean.copy_(mean + (tensor - mean) / self.count if tensor.is_floating else tensor)

    def best_guess(self):
        """The network to test: the mean, or the trained one as long as there is no mean."""
        return self.model if self.count else self.trained
