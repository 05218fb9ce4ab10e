"""Data: readers of the file formats that image sets come in, the augmentations of the papers, and a loader that feeds batches from background threads."""
from .dataset import ArrayDataset, Subset
from .idx import read_idx, write_idx
from .mnist import MNIST, FashionMNIST, bundled
from .streams import Streams

__all__ = ["MNIST", "ArrayDataset", "FashionMNIST", "Streams", "Subset", "bundled", "read_idx", "write_idx"]
