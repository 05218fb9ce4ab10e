"""MNIST, Fashion-MNIST, and the part of Fashion-MNIST that comes with the package: four IDX files in a folder."""
from pathlib import Path

from .dataset import ArrayDataset
from .idx import read_idx

BUNDLED = Path(__file__).parent / "bundled"
FASHION_CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
DIGITS = tuple("0123456789")


class MNIST(ArrayDataset):
    """The digits of MNIST, or any data in its four files: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-...` (gzipped or not) in the folder `root`."""

    class_names = DIGITS

    def __init__(self, root, train=True):
        prefix = "train" if train else "t10k"
        images_file, labels_file = (idx_file(root, f"{prefix}-{kind}") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))
        images, labels = read_idx(images_file), read_idx(labels_file)
        if images.ndim != 3 or images.dtype != "uint8":
            raise ValueError(f"{images_file}: expected images (N, H, W) of uint8, found {images.dtype} of shape {images.shape}")
        if labels.ndim != 1 or labels.dtype != "uint8":
            raise ValueError(f"{labels_file}: expected labels (N,) of uint8, found {labels.dtype} of shape {labels.shape}")
        if len(images) != len(labels):
            raise ValueError(f"{images_file} has {len(images):,} images, but {labels_file} has {len(labels):,} labels")
        super().__init__(images[..., None], labels, self.class_names, source=labels_file.parent)


class FashionMNIST(MNIST):
    """Fashion-MNIST: MNIST's files with articles of clothing in them."""

    class_names = FASHION_CLASSES


def bundled(train=True):
    """6,000 (test: 1,000) images of Fashion-MNIST that come with the package, as many of each class."""
    return FashionMNIST(BUNDLED, train)


def idx_file(root, name):
    """The path of `name` in the folder `root` (or `root`/raw, where torchvision keeps it), gzipped or not; some copies have a dot for the second dash."""
    names = [name, f"{name}.gz", name.replace("-idx", ".idx"), name.replace("-idx", ".idx") + ".gz"]
    for folder in (Path(root), Path(root) / "raw"):
        for candidate in names:
            if (folder / candidate).is_file():
                return folder / candidate
    raise FileNotFoundError(f"{root}: neither {names[0]} nor {names[1]} is there")
