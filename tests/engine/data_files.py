"""Small files in the real formats, for the tests of the readers."""
import io
import pickle
import struct

import numpy as np
from PIL import Image

from tinycnn.data import write_idx

CIFAR10_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


class Python2Pickler(pickle._Pickler):
    """Pickles as Python 2 did: byte strings (and names) as BINSTRING, NumPy's internals under their old name."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_string(self, value):
        content = value if isinstance(value, bytes) else value.encode()
        self.write(b"T" + struct.pack("<i", len(content)) + content)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_string


def python2_pickle(value):
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(value)
    return file.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def draw_cifar(n, seed):
    """Images as planes (n, 3, 32, 32) and labels."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 3, 32, 32), np.uint8), rng.integers(0, 10, n).tolist()


def write_cifar10(root, binary):
    """The folder that unpacking makes, in `root`, and (images, labels) of train and test."""
    folder = root / ("cifar-10-batches-bin" if binary else "cifar-10-batches-py")
    folder.mkdir()
    parts = {}
    for seed, name in enumerate(["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]):
        images, labels = parts[name] = draw_cifar(3 + seed, seed)
        rows = images.reshape(len(images), 3072)
        if binary:
            (folder / f"{name}.bin").write_bytes(b"".join(bytes([label]) + row.tobytes() for label, row in zip(labels, rows)))
        else:
            batch = {"batch_label": name, "labels": labels, "data": rows, "filenames": [f"{i}.png" for i in labels]}
            (folder / name).write_bytes(python2_pickle(batch))
    if binary:
        (folder / "batches.meta.txt").write_text("\n".join(CIFAR10_NAMES) + "\n\n")
    else:
        (folder / "batches.meta").write_bytes(python2_pickle({"num_cases_per_batch": 3, "label_names": CIFAR10_NAMES, "num_vis": 3072}))
    train = [parts[f"data_batch_{i}"] for i in range(1, 6)]
    return folder, (np.concatenate([images for images, _ in train]), [label for _, labels in train for label in labels]), parts["test_batch"]


def write_mnist(folder, train=20, test=10, suffix=".gz"):
    """A folder in MNIST's format, its images made of their own number."""
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, n in (("train", train), ("t10k", test)):
        write_idx(folder / f"{prefix}-images-idx3-ubyte{suffix}", np.arange(n * 6, dtype=np.uint8).reshape(n, 2, 3))
        write_idx(folder / f"{prefix}-labels-idx1-ubyte{suffix}", (np.arange(n) % 10).astype(np.uint8))
    return folder


def write_images(root, counts, size=(5, 4)):
    """`root`/CLASS/i.png for each class and count, each image of one colour: (label, number, 7). size: (width, height)."""
    for label, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", size, (label, i, 7)).save(root / name / f"{i:02}.png")
    return root
