"""Batches: which samples, in which order, prepared in the background.

Everything about a batch follows from (seed, epoch, indices of its samples): the order of an epoch is a shuffle keyed by (seed, epoch), the augmentation of a sample
by (seed, epoch, index). So batches are the same, bit for bit, for any number of workers, and a run can resume in the middle of an epoch.

Workers are threads, never forked processes (a fork after OpenMP has run kills the child): decoding a JPEG, resizing it and most of NumPy let go of Python's lock.
Each prepares a whole batch, and they are at most prefetch_factor * num_workers batches ahead, so memory is bounded.
"""
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice

import numpy as np

from ..distributed.shares import share
from ..random import initial_seed
from .streams import Streams, shuffled
from .transforms.base import checked
from .transforms.colour import ToFloat
from .upload import upload

ORDER, AUGMENT = 0, 1  # what a random number is for: part of its address, lest an image's place in the epoch decide how it is cropped


class DataLoader:
    """`for images, labels in DataLoader(dataset, batch_size=128, shuffle=True)`: tensors float32 (N, C, H, W) and int64 (N,).

    transform       made of tinycnn.data.transforms; it stands here, not in the dataset, since the loader knows each sample's random numbers. What comes out of it
                    as uint8 becomes float32 in [0, 1]
    shuffle         another order in each epoch
    num_workers     threads that prepare batches; 0: each batch is prepared when it is asked for
    drop_last       leave out a last batch smaller than batch_size
    part            (rank, size): of each batch, only the share of one of several processes; together theirs are the batch. Where there are fewer samples than
                    processes, those that would get none get the batch's first
    seed            of the order and the augmentation; that of tinycnn.manual_seed if None
    prefetch_factor batches ahead, for each worker
    device          where the tensors are: "cpu", or "cuda", to which each batch is copied while the one before is worked on

    Each iteration is one epoch, numbered from 0; `set_epoch(e)` says which comes next, and `iterate(start_batch)` begins it in the middle.
    """

    def __init__(self, dataset, batch_size=1, shuffle=False, *, num_workers=0, drop_last=False, transform=None, seed=None, prefetch_factor=2, part=(0, 1),
                 device="cpu"):
        for name, value, least in (("batch_size", batch_size, 1), ("num_workers", num_workers, 0), ("prefetch_factor", prefetch_factor, 1)):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"DataLoader: {name} is {value!r}; it should be an integer, at least {least}")
        self.dataset, self.batch_size, self.shuffle, self.drop_last = dataset, batch_size, shuffle, drop_last
        self.num_workers, self.prefetch_factor, self.part, self.device = num_workers, prefetch_factor, part, device
        self.transform = None if transform is None else checked(transform, "DataLoader")
        self.seed = initial_seed() if seed is None else int(seed)
        self.epoch = 0

    def __len__(self):
        """Batches in an epoch."""
        return len(self.dataset) // self.batch_size if self.drop_last else -(-len(self.dataset) // self.batch_size)

    def samples_in(self, batch):
        """How many samples there are in batch number `batch`, of all processes together."""
        return min(self.batch_size, len(self.dataset) - batch * self.batch_size)

    def set_epoch(self, epoch):
        """The next iteration is epoch number `epoch`."""
        self.epoch = int(epoch)

    def __iter__(self):
        return self.iterate()

    def iterate(self, start_batch=0):
        """The next epoch's batches from number `start_batch` on, the very ones that a whole iteration would have given."""
        if not 0 <= start_batch <= len(self):
            raise ValueError(f"DataLoader: start_batch is {start_batch}; this loader has batches 0 to {len(self) - 1}")
        epoch, self.epoch = self.epoch, self.epoch + 1
        order = shuffled(len(self.dataset), (self.seed, epoch, ORDER)) if self.shuffle else np.arange(len(self.dataset))
        batches = (self._own_part(order[b * self.batch_size:(b + 1) * self.batch_size]) for b in range(start_batch, len(self)))
        load = partial(self._load, epoch=epoch)
        arrays = in_background(load, batches, self.num_workers, self.num_workers * self.prefetch_factor) if self.num_workers else map(load, batches)
        return upload(arrays, self.device)

    def _own_part(self, indices):
        own = indices[share(len(indices), *self.part)]
        return own if len(own) else indices[:1]

    def _load(self, indices, epoch):
        """The arrays (N, C, H, W) and (N,) of one batch."""
        if hasattr(self.dataset, "take"):
            images, labels = self.dataset.take(indices)
            images = self._transformed(images, indices, epoch)
        else:
            images, labels = self._one_by_one(indices, epoch)
        return np.ascontiguousarray(np.moveaxis(ToFloat()(images), -1, -3), np.float32), np.asarray(labels, np.int64)

    def _one_by_one(self, indices, epoch):
        images, labels = [], []
        for index in indices.tolist():
            image, label = self.dataset[index]
            try:
                images.append(self._transformed(np.asarray(image)[None], [index], epoch)[0])
            except ValueError as error:
                raise ValueError(f"{self._name(index)}: {error}") from error
            labels.append(label)
            if images[-1].shape != images[0].shape:
                raise ValueError(f"images of a batch should be of one size: {self._name(index)} is {images[-1].shape}, {self._name(indices[0])} is {images[0].shape}; "
                                 "end the transform with a crop or Resize((height, width))")
        return np.stack(images), labels

    def _transformed(self, images, indices, epoch):
        if images.ndim < 4:
            raise ValueError(f"an image should be an array (H, W, C), this one has the shape {images.shape[1:]}")
        return images if self.transform is None else self.transform(images, Streams((self.seed, epoch, AUGMENT), indices))

    def _name(self, index):
        """What an error calls a sample: its file, where the dataset knows it."""
        return self.dataset.describe(index) if hasattr(self.dataset, "describe") else f"sample {index}"


def in_background(function, items, workers, ahead):
    """map(function, items), computed by threads, at most `ahead` items before they are needed. In order; an exception is raised at the place of its item.

    When the consumer stops early, the generator is closed: what has not begun is cancelled, and the threads end.
    """
    items, pending = iter(items), deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="tinycnn-loader")
    try:
        pending.extend(pool.submit(function, item) for item in islice(items, ahead))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(function, item) for item in islice(items, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)
