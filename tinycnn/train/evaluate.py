"""What a network makes of images it was not trained on: probabilities, and from them top-1 and top-5 accuracy.

Several views of an image (ten crops) and several networks (an ensemble) are combined alike: the average of their probabilities, as AlexNet's authors did.
"""
from typing import NamedTuple

import numpy as np

from ..autograd import no_grad
from ..nn import functional as F


class Score(NamedTuple):
    """Shares of the images whose label is the most probable class, and is among the five most probable; and the mean of -log(probability of the label)."""

    top1: float
    top5: float
    loss: float


def probabilities(model, loader, on_batch=lambda images: None):
    """(probabilities (N, classes), labels (N,)) of all images of `loader`, whose batches are (N, C, H, W), or (N, views, C, H, W) for several views of each image."""
    was_training = model.training
    model.eval()
    try:
        with no_grad():
            parts = []
            for images, labels in loader:
                parts.append((view_average(model, images), labels.cpu().numpy()))
                on_batch(len(labels))
    finally:
        model.train(was_training)
    return tuple(np.concatenate(part) for part in zip(*parts))


def view_average(model, images):
    """Probabilities (N, classes) of a batch, averaged over the views of each image."""
    if images.ndim == 4:
        return F.softmax(model(images), dim=1).cpu().numpy()
    N, views = images.shape[:2]
    return F.softmax(model(images.flatten(0, 1)), dim=1).cpu().numpy().reshape(N, views, -1).mean(axis=1)


def score(p, labels):
    """The Score of probabilities (N, classes)."""
    of_label = p[np.arange(len(labels)), labels]
    # How many classes come before the label: the more probable ones, and of equally probable ones those before it (a network that says the same of all classes
    # is right about the first one only). Written so that a NaN comes before everything.
    ties = (p == of_label[:, None]) & (np.arange(p.shape[1]) >= labels[:, None])
    rank = np.count_nonzero(~((p < of_label[:, None]) | ties), axis=1)
    smallest = np.finfo(p.dtype).tiny
    return Score(float(np.mean(rank < 1)), float(np.mean(rank < 5)), float(np.mean(-np.log(np.maximum(of_label, smallest), dtype=np.float64))))


def ensemble(members):
    """The average of several networks' probabilities."""
    return np.mean(members, axis=0, dtype=np.float64)
