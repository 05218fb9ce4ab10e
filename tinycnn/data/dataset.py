"""What a dataset is. Anything with `len(dataset)` and `dataset[i] -> (image, label)` will do, the image being a uint8 array (H, W, C) and the label an int.

`dataset.classes` lists the class names by label. A dataset that holds its images in one array also has `take(indices)`, which gives a stack of images (N, H, W, C)
and their labels (N,) at once: the loader asks for whole batches where it can.
"""
import numpy as np


class ArrayDataset:
    """Images in memory: `images` (N, H, W, C), `labels` (N,) integers, `classes` the names (the numbers themselves if not given)."""

    def __init__(self, images, labels, classes=None, source="the arrays"):
        images, labels = np.asarray(images), np.asarray(labels)
        if images.ndim != 4:
            raise ValueError(f"{source}: images should be (N, H, W, C), they have the shape {images.shape}")
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise ValueError(f"{source}: labels should be one integer per image, they are {labels.dtype} of shape {labels.shape}")
        if len(images) != len(labels):
            raise ValueError(f"{source}: {len(images):,} images but {len(labels):,} labels")
        self.images, self.labels, self.source = images, labels.astype(np.int64), str(source)
        highest, lowest = (int(labels.max()), int(labels.min())) if len(labels) else (-1, 0)
        self.classes = list(classes) if classes is not None else [str(label) for label in range(highest + 1)]
        if lowest < 0 or highest >= len(self.classes):
            wrong = lowest if lowest < 0 else highest
            raise ValueError(f"{source}: image {int(np.argmax(labels == wrong))} has the label {wrong}; with {len(self.classes)} classes "
                             f"labels should be 0 to {len(self.classes) - 1}")

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.images[index], int(self.labels[index])

    def take(self, indices):
        """The images (N, H, W, C) and labels (N,) at `indices`."""
        return self.images[indices], self.labels[indices]

    def describe(self, index):
        """What an error calls image `index`."""
        return f"{self.source}, image {index}"

    def __repr__(self):
        H, W, C = self.images.shape[1:]
        return f"<{type(self).__name__} {self.source}: {len(self):,} images of {H}x{W}x{C}, {len(self.classes)} classes>"


class Subset:
    """Some samples of a dataset, in the order of `indices`. It has `images` and `labels`, as arrays, where the dataset has."""

    def __init__(self, dataset, indices):
        self.dataset, self.indices, self.classes = dataset, np.asarray(indices, np.int64), dataset.classes
        outside = self.indices[(self.indices < 0) | (self.indices >= len(dataset))]
        if len(outside):
            raise IndexError(f"Subset: index {outside[0]} in a dataset of {len(dataset)}")
        if hasattr(dataset, "labels"):
            self.labels = np.asarray(dataset.labels)[self.indices]
        if hasattr(dataset, "take"):
            self.take = lambda positions: dataset.take(self.indices[positions])

    @property
    def images(self):
        return self.dataset.images[self.indices]  # AttributeError, and so hasattr(subset, "images") is False, where the dataset has no such array

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, index):
        return self.dataset[self.indices[index]]

    def describe(self, index):
        """What an error calls sample `index`: as the whole dataset does."""
        whole = self.indices[index]
        return self.dataset.describe(whole) if hasattr(self.dataset, "describe") else f"sample {whole}"

    def __repr__(self):
        return f"<{len(self):,} of {self.dataset!r}>"
