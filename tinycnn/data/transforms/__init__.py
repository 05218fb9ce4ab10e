"""The augmentations and preprocessing of the papers, under torchvision's names where it has them.

**An image is an array (H, W, C)**, channels last: so Pillow gives and takes it, and so arithmetic per channel is plain broadcasting along the last axis. The loader
turns a finished batch into (N, C, H, W).

**A transform works on a stack** (N, H, W, C) of images of one size, each with random numbers of its own; a single image is a stack of one. So there is one
implementation for the 60,000 small images of MNIST, which come by the batch, and for photographs, which come one by one, and both give the same bits.

    augment = Compose([RandomCrop(28, padding=2), RandomHorizontalFlip(), ToFloat(), Normalize([0.286], [0.353])])
    augment(images, Streams((seed, epoch), indices))

The random numbers are addressed by sample (see streams.py): `DataLoader(..., transform=augment)` passes them.
"""
from .base import Compose, Lambda, Transform
from .colour import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    RGB,
    Normalize,
    PCANoise,
    PhotometricDistortion,
    SubtractMean,
    ToFloat,
    channel_statistics,
)
from .geometry import CenterCrop, Pad, RandomCrop, RandomHorizontalFlip, RandomResizedCrop, Resize, ScaleJitterCrop, TenCrop

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "RGB", "CenterCrop", "Compose", "Lambda", "Normalize", "PCANoise", "Pad", "PhotometricDistortion", "RandomCrop",
           "RandomHorizontalFlip", "RandomResizedCrop", "Resize", "ScaleJitterCrop", "SubtractMean", "TenCrop", "ToFloat", "Transform", "channel_statistics"]
