"""The loader: the right batches, the same for any number of workers, and threads that end when the consumer stops."""
import threading
import time

import numpy as np
import pytest
from data_files import write_images

import tinycnn
from tinycnn.data import ArrayDataset, DataLoader, ImageFolder, Subset
from tinycnn.data import transforms as T
from tinycnn.data.loader import in_background


class Listed:
    """A dataset with nothing but the two methods that every dataset has."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        return self.dataset[index]


def dataset(n=23, H=6, W=5, C=3):
    """Image i is labelled i, and its first pixel says so."""
    images = np.random.default_rng(0).integers(0, 256, (n, H, W, C), np.uint8)
    images[:, 0, 0, 0] = np.arange(n)
    return ArrayDataset(images, np.arange(n))


AUGMENT = T.Compose([T.RandomCrop((6, 5), padding=2), T.RandomHorizontalFlip(), T.ToFloat(), T.PCANoise(), T.Normalize([0.5], [0.25])])


def collect(batches):
    """Batches as (bytes of the images, labels)."""
    return [(images.array.tobytes(), labels.array.tolist()) for images, labels in batches]


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("tinycnn-loader")]


@pytest.mark.parametrize("wrap", [lambda data: data, Listed], ids=["stack", "one by one"])
def test_what_a_batch_is(wrap):
    """Kills: (N, H, W, C) left as it is, rows and columns exchanged, float64, labels of another type, a last batch lost or padded, values not in [0, 1]."""
    data = dataset()
    batches = list(DataLoader(wrap(data), batch_size=5))
    assert [len(labels) for _, labels in batches] == [5, 5, 5, 5, 3] and all(isinstance(tensor, tinycnn.Tensor) for batch in batches for tensor in batch)
    images, labels = batches[1]
    assert images.shape == (5, 3, 6, 5) and images.dtype == tinycnn.float32 and labels.dtype == tinycnn.int64 and labels.array.tolist() == [5, 6, 7, 8, 9]
    assert images.array.flags.c_contiguous
    np.testing.assert_array_equal(images.array, (data.images[5:10].astype(np.float32) / np.float32(255)).transpose(0, 3, 1, 2))


def test_lengths():
    """Kills: an empty last batch, drop_last that drops a whole one, an empty dataset that fails."""
    for n, batch_size, drop_last, expected in ((10, 5, False, [5, 5]), (10, 5, True, [5, 5]), (11, 5, False, [5, 5, 1]), (11, 5, True, [5, 5]), (3, 5, False, [3]),
                                               (3, 5, True, []), (0, 5, False, [])):
        loader = DataLoader(dataset(n), batch_size, drop_last=drop_last)
        assert [len(labels) for _, labels in loader] == expected and len(loader) == len(expected)


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_depend_on_nothing_but_seed_epoch_and_sample(shuffle):
    """Bit for bit: workers, stack or one by one. Kills: random numbers by the order of asking, batches in the order of finishing, a fast path that differs."""
    reference = [collect(loader) for loader in [DataLoader(dataset(), 4, shuffle, transform=AUGMENT, seed=3)] * 2]
    assert reference[0] != reference[1]  # two epochs
    for wrap in (lambda data: data, Listed):
        for workers in (0, 1, 2, 5):
            loader = DataLoader(wrap(dataset()), 4, shuffle, transform=AUGMENT, seed=3, num_workers=workers)
            assert [collect(loader), collect(loader)] == reference, f"{workers} workers"
    other = DataLoader(dataset(), 4, shuffle, transform=AUGMENT, seed=4)
    assert collect(other) != reference[0]


def test_shuffling():
    """Every sample once an epoch, in another order each time; without shuffle in order. Kills: sampling with replacement, the same order each epoch, shuffling always."""
    def order(loader):
        return [label for _, labels in collect(loader) for label in labels]
    shuffled = DataLoader(dataset(), 4, shuffle=True, seed=0)
    one, two = order(shuffled), order(shuffled)
    assert sorted(one) == sorted(two) == list(range(23)) and one != two != list(range(23)) != one
    assert order(DataLoader(dataset(), 4)) == list(range(23))
    shuffled.set_epoch(0)
    assert order(shuffled) == one
    tinycnn.manual_seed(7)
    assert DataLoader(dataset(), 4).seed == 7


def test_the_order_of_an_epoch_says_nothing_about_the_augmentation():
    """Kills: the random numbers that shuffle used again to crop, so that the first images of an epoch would all be cropped alike."""
    data = ArrayDataset(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(400, axis=0), np.arange(400))
    (images, _), = DataLoader(data, 400, shuffle=True, transform=T.RandomCrop(1), seed=0)
    row, column = np.divmod(np.rint(images.array.ravel() * 255), 16)  # where each crop was cut, in the order of the epoch
    assert all(abs(np.corrcoef(place, np.arange(400))[0, 1]) < 0.15 for place in (row, column))


@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_in_the_middle_of_an_epoch(workers):
    """Kills: a start that shifts the order or the augmentation, an epoch counted twice."""
    def loader():
        return DataLoader(dataset(), 4, True, transform=AUGMENT, seed=3, num_workers=workers)
    whole = loader()
    epochs = [collect(whole) for _ in range(3)]
    resumed = loader()
    resumed.set_epoch(1)
    assert collect(resumed.iterate(start_batch=4)) == epochs[1][4:] and len(resumed) == 6
    assert collect(resumed) == epochs[2]
    resumed.set_epoch(1)
    assert collect(resumed.iterate(start_batch=6)) == []
    with pytest.raises(ValueError, match="start_batch is 7; this loader has batches 0 to 5"):
        resumed.iterate(start_batch=7)


def test_ten_crops_become_an_axis_of_their_own():
    """Kills: the channels moved in front of the crops."""
    images, _ = next(iter(DataLoader(dataset(), 4, transform=T.TenCrop(3))))
    assert images.shape == (4, 10, 3, 3, 3)
    np.testing.assert_array_equal(images.array[1, 0, 2], dataset().images[1, :3, :3, 2].astype(np.float32) / np.float32(255))


def test_batches_own_their_memory():
    """Kills: a batch that shares memory with the dataset, so that training in place would change the images."""
    data = ArrayDataset(np.zeros((4, 2, 2, 1), np.float32), np.arange(4))
    for _ in range(2):
        for images, labels in DataLoader(data, 2):
            images.array += 1
            labels.array += 1
    assert data.images.max() == 0 and data.labels.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_corrupt_image_is_named_where_its_batch_is_due(tmp_path, workers):
    """The batches before it come whole. Kills: an error swallowed by a thread, a hang, an error too early, threads that stay, the file not named."""
    folder = write_images(tmp_path, {"a": 6, "b": 6})
    (folder / "b" / "03.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    batches, seen = iter(DataLoader(ImageFolder(folder), 2, num_workers=workers)), []
    with pytest.raises(ValueError, match=r"b/03\.png"):
        for _, labels in batches:
            seen.append(labels.array.tolist())
    assert seen == [[0, 0], [0, 0], [0, 0], [1, 1]]
    assert not loader_threads()


def test_an_image_that_a_transform_refuses_is_named(tmp_path):
    """Kills: an error about sizes that does not say which of a million files."""
    folder = write_images(tmp_path / "one", {"a": 3})
    with pytest.raises(ValueError, match=r"a/00\.png: CenterCrop: a crop of 6x6 does not fit an image of 4x5"):
        list(DataLoader(ImageFolder(folder), 2, transform=T.CenterCrop(6)))
    with pytest.raises(ValueError, match=r"a/01\.png: CenterCrop"):
        list(DataLoader(Subset(ImageFolder(folder), [1]), 2, transform=T.CenterCrop(6)))
    with pytest.raises(ValueError, match="sample 0: CenterCrop"):
        list(DataLoader(Listed(ImageFolder(folder)), 2, transform=T.CenterCrop(6)))
    write_images(folder / "b" / "x", {"wide": 1}, size=(9, 4))
    with pytest.raises(ValueError, match=r"one size: .*b/x/wide/00\.png is \(4, 9, 3\), .*a/02\.png is \(4, 5, 3\).*Resize"):
        list(DataLoader(ImageFolder(folder), 2))


def test_a_dataset_of_other_things_is_refused():
    """Kills: grey images (H, W) taken for something else, a plain function as a transform."""
    with pytest.raises(ValueError, match=r"sample 0: an image should be an array \(H, W, C\), this one has the shape \(4, 4\)"):
        list(DataLoader([(np.zeros((4, 4), np.uint8), 0)]))
    with pytest.raises(TypeError, match="DataLoader: .* Lambda"):
        DataLoader(dataset(), transform=np.copy)
    for wrong in (dict(batch_size=0), dict(batch_size=2.5), dict(num_workers=-1), dict(prefetch_factor=0)):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            DataLoader(dataset(), **wrong)


@pytest.mark.parametrize("how", ["break", "close", "error", "never begun"])
def test_stopping_early_ends_the_threads(how):
    """Kills: workers left waiting on a full queue, a pool that is not shut down, the rest of the epoch loaded for nobody."""
    loads = []
    loader = DataLoader(dataset(200), 1, num_workers=2, transform=T.Lambda(lambda images: loads.append(1) or images))
    batches = iter(loader)
    if how != "never begun":
        next(batches)
        assert loader_threads()
    if how == "close":
        batches.close()
    elif how == "error":
        try:
            for _ in batches:
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
    elif how == "break":
        for _ in batches:
            break
    del batches
    assert not loader_threads() and len(loads) < 20


def test_prefetching_is_bounded_and_ahead():
    """Kills: a queue without a bound, no prefetching at all."""
    started, release = [], threading.Event()

    def work(item):
        started.append(item)
        release.wait(10)
        return item
    release.set()
    results = in_background(work, iter(range(100)), workers=2, ahead=6)
    assert next(results) == 0
    deadline = time.monotonic() + 10
    while len(started) < 7 and time.monotonic() < deadline:
        time.sleep(0.001)  # the six after the first are begun although nobody has asked for them
    assert sorted(started) == list(range(7))
    assert next(results) == 1 and len(started) <= 8
    results.close()


def test_workers_work_at_the_same_time():
    """Two items that wait for each other. Kills: a pool of one thread, work done in the consumer."""
    barrier = threading.Barrier(2, timeout=10)
    assert list(in_background(lambda item: (barrier.wait(), item)[1], range(4), workers=2, ahead=4)) == [0, 1, 2, 3]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_num_workers_are_threads_of_their_own(workers):
    """Kills: a number of workers that is ignored, one worker taken for none."""
    seen = set()
    list(DataLoader(dataset(), 4, num_workers=workers, transform=T.Lambda(lambda images: seen.add(threading.current_thread()) or images)))
    assert (threading.main_thread() in seen) == (workers == 0) and 1 <= len(seen) <= max(workers, 1)
