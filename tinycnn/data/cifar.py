"""CIFAR-10 and CIFAR-100: 32x32 colour images, in both forms in which they are distributed.

"Python version": pickles made by Python 2, each a dictionary whose b"data" is a uint8 array (N, 3072), an image a row: 1024 red values, line by line, then green,
then blue. "Binary version": records of one byte for the label (CIFAR-100: two, coarse and fine label) and the same 3072 for the image.

A pickle is a program: loading one runs whatever it asks for. These files ask for three things only, NumPy's, and the unpickler here knows no others.
"""
import pickle
from pathlib import Path

import numpy as np
from numpy._core.multiarray import _reconstruct

from .dataset import ArrayDataset

PIXELS = 3 * 32 * 32


class CIFAR10(ArrayDataset):
    """CIFAR-10 in the folder `root`, or in the folder inside it that unpacking the archive makes."""

    folders = ("cifar-10-batches-py", "cifar-10-batches-bin")
    train_files, test_files = [f"data_batch_{i}" for i in range(1, 6)], ["test_batch"]
    names_pickle, names_key, names_text = "batches.meta", b"label_names", "batches.meta.txt"
    labels_key, label_bytes = b"labels", 1

    def __init__(self, root, train=True):
        folder = self.folder(root)
        if folder is None:
            raise FileNotFoundError(f"{root}: no {type(self).__name__} there: neither {self.names_pickle} (Python version) nor {self.names_text} (binary version), "
                                    f"nor a folder {' or '.join(self.folders)} with them")
        python = (folder / self.names_pickle).is_file()
        read = self._read_pickle if python else self._read_binary
        parts = [read(folder / (name if python else f"{name}.bin")) for name in (self.train_files if train else self.test_files)]
        planes = np.concatenate([images for images, _ in parts]).reshape(-1, 3, 32, 32)
        super().__init__(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), np.concatenate([labels for _, labels in parts]), self._names(folder, python), folder)

    @classmethod
    def folder(cls, root):
        """The folder with the files, or None."""
        for folder in (Path(root), *(Path(root) / name for name in cls.folders)):
            if any((folder / name).is_file() for name in (cls.names_pickle, cls.names_text)):
                return folder
        return None

    def _read_pickle(self, path):
        batch = load_pickle(path)
        images, labels = _entry(batch, b"data", path), _entry(batch, self.labels_key, path)
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != PIXELS:
            raise ValueError(f"{path}: b'data' should be a uint8 array (N, {PIXELS}), it is {_described(images)}")
        if not isinstance(labels, list) or not all(isinstance(label, int) for label in labels):
            raise ValueError(f"{path}: {self.labels_key!r} should be a list of integers, it is {_described(labels)}")
        if len(labels) != len(images):
            raise ValueError(f"{path}: {len(images):,} images but {len(labels):,} labels")
        return images, np.array(labels, np.int64)

    def _read_binary(self, path):
        content, record = np.frombuffer(_read(path), np.uint8), self.label_bytes + PIXELS
        if len(content) == 0 or len(content) % record:
            raise ValueError(f"{path}: truncated or of another format: {len(content):,} bytes are not a whole number of records of {record} bytes")
        records = content.reshape(-1, record)
        return records[:, self.label_bytes:], records[:, self.label_bytes - 1].astype(np.int64)

    def _names(self, folder, python):
        if not python:
            return (folder / self.names_text).read_text().split()
        path = folder / self.names_pickle
        return [name.decode() if isinstance(name, bytes) else str(name) for name in _entry(load_pickle(path), self.names_key, path)]


class CIFAR100(CIFAR10):
    """CIFAR-100 with its 100 fine labels."""

    folders = ("cifar-100-python", "cifar-100-binary")
    train_files, test_files = ["train"], ["test"]
    names_pickle, names_key, names_text = "meta", b"fine_label_names", "fine_label_names.txt"
    labels_key, label_bytes = b"fine_labels", 2


class _Unpickler(pickle.Unpickler):
    """Knows what rebuilds a NumPy array, and nothing else."""

    ALLOWED = {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype,
               ("numpy.core.multiarray", "_reconstruct"): _reconstruct, ("numpy._core.multiarray", "_reconstruct"): _reconstruct}

    def find_class(self, module, name):
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR file needs; it was not run")
        return self.ALLOWED[module, name]


def load_pickle(path):
    """What the pickle at `path` holds; Python 2's strings become bytes. ValueError, naming the file, where it is damaged or asks for more than arrays."""
    with _open(path) as file:
        try:
            return _Unpickler(file, encoding="bytes").load()
        except Exception as error:  # a damaged pickle can fail in any way
            raise ValueError(f"{path}: not a whole CIFAR pickle: {error or type(error).__name__}") from error


def _open(path):
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: missing; there are {', '.join(sorted(file.name for file in Path(path).parent.iterdir()))}") from None


def _read(path):
    with _open(path) as file:
        return file.read()


def _entry(batch, key, path):
    if not isinstance(batch, dict) or key not in batch:
        raise ValueError(f"{path}: should be a dictionary with {key!r}, it is {_described(batch)}")
    return batch[key]


def _described(value):
    if isinstance(value, np.ndarray):
        return f"a {value.dtype} array of shape {value.shape}"
    if isinstance(value, dict):
        return f"a dictionary with {', '.join(map(repr, value)) or 'nothing in it'}"
    return f"{type(value).__name__} {str(value)[:40]!r}"
