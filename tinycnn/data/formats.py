"""`open_dataset("bundled" or a folder, split)`: finds out what the folder holds."""
from pathlib import Path

import numpy as np

from ..names import nearest
from .cifar import CIFAR10, CIFAR100
from .dataset import Subset
from .folder import ImageFolder, class_folders
from .mnist import MNIST, FashionMNIST, bundled, idx_file

SPLITS = {"train": ("train",), "test": ("test", "val", "validation", "valid"), "val": ("val", "validation", "valid", "test")}
LOOKED_FOR = """
  MNIST or Fashion-MNIST:  train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte (or .gz)
  CIFAR-10:                batches.meta and data_batch_1 ... (Python version) or batches.meta.txt and data_batch_1.bin ... (binary version)
  CIFAR-100:               meta, train, test (Python version) or fine_label_names.txt, train.bin, test.bin (binary version)
  images in folders:       train/CLASS/IMAGE and val/CLASS/IMAGE, or CLASS/IMAGE"""


def open_dataset(name_or_path, split="train"):
    """The dataset called "bundled", or the one in a folder, whichever of the known formats it has.

    split: "train" or "test"; "val" means "test", save where a folder of images has both. In a folder of images without train/ and val/, every tenth image of each
    class, from the fifth on, is held out for "test", and "all" is everything.
    """
    if split not in SPLITS and split != "all":
        raise ValueError(f"open_dataset: unknown split {split!r}: it is train, test, val, or all for a folder of images without parts")
    if str(name_or_path) == "bundled":
        return bundled(_is_train(split, name_or_path))
    root = Path(name_or_path)
    if not root.is_dir():
        raise _not_a_folder(root)
    if _has_idx(root):
        named_fashion = "fashion" in str(root.absolute()).lower()
        return (FashionMNIST if named_fashion else MNIST)(root, _is_train(split, root))
    for dataset in (CIFAR10, CIFAR100):
        if dataset.folder(root):
            return dataset(root, _is_train(split, root))
    if class_folders(root):
        return _open_images(root, split)
    raise FileNotFoundError(f"{root}: no dataset that tinycnn knows. Looked for, and did not find:{LOOKED_FOR}")


def _is_train(split, root):
    if split == "all":
        raise ValueError(f"{root}: split 'all' is for a folder of images without parts; this dataset has train and test")
    return split == "train"


def _has_idx(root):
    for prefix in ("train", "t10k"):
        try:
            return bool(idx_file(root, f"{prefix}-images-idx3-ubyte"))
        except FileNotFoundError:
            continue
    return False


def _open_images(root, split):
    """A folder of images: the part for `split`, labelled by the classes of train/; without parts, all of it or the share that `split` gets."""
    parts = [name for name in class_folders(root) if name in sum(SPLITS.values(), ()) and class_folders(root / name)]
    if not parts:
        everything = ImageFolder(root)
        return everything if split == "all" else _held_out(everything, split)
    for name in SPLITS.get(split, ()):
        if name in parts:
            return ImageFolder(root / name, class_folders(root / "train") if "train" in parts else None)
    raise FileNotFoundError(f"{root}: has {', '.join(f'{name}/' for name in parts)}, but nothing for split {split!r}" +
                            (f": expected one of {', '.join(f'{name}/CLASS/IMAGE' for name in SPLITS[split])}" if split in SPLITS else ""))


def _held_out(dataset, split):
    """Every tenth image of each class from the fifth on for the test, the others for training."""
    first = np.searchsorted(dataset.labels, dataset.labels)  # labels ascend: where the class of each image begins
    test = (np.arange(len(dataset)) - first) % 10 == 4
    if not test.any():
        raise ValueError(f"{dataset.root}: too few images to hold some out for a test (a class needs five); make folders train/ and val/ with the classes in them")
    return Subset(dataset, np.flatnonzero(~test if split == "train" else test))


def _not_a_folder(root):
    if root.is_file():
        packed = root.name.endswith((".tar", ".tar.gz", ".tgz", ".zip"))
        return NotADirectoryError(f"{root}: {'an archive: unpack it and give' if packed else 'a file: give'} the folder with the data")
    return FileNotFoundError(f"{root}: no such folder, and no dataset of that name" + (nearest(root.name, ["bundled"]) or "; 'bundled' needs no files"))
