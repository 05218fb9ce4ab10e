"""Data: readers of the file formats that image sets come in, the augmentations of the papers, and a loader that feeds batches from background threads.

    streams.py              random numbers addressed by sample, so that nothing depends on who asks first
    dataset.py              what a dataset is
    idx.py, mnist.py        MNIST's files; the part of Fashion-MNIST that comes with the package
    cifar.py, folder.py     CIFAR-10 and -100; images in folders (ImageNet)
    formats.py              open_dataset: finds out what a folder holds
    transforms/             preprocessing and augmentation
    loader.py               batches, in the background
"""
from . import transforms
from .cifar import CIFAR10, CIFAR100
from .dataset import ArrayDataset, Subset
from .folder import ImageFolder, read_image
from .formats import open_dataset
from .idx import read_idx, write_idx
from .loader import DataLoader
from .mnist import MNIST, FashionMNIST, bundled
from .streams import Streams

__all__ = ["CIFAR10", "CIFAR100", "MNIST", "ArrayDataset", "DataLoader", "FashionMNIST", "ImageFolder", "Streams", "Subset", "bundled", "open_dataset", "read_idx",
           "read_image", "transforms", "write_idx"]
