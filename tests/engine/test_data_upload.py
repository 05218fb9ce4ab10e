"""Batches on their way to a device (the simulated one: its memory is 0xFF until a copy has been made, and its copies are made late)."""
import numpy as np
from cuda_device import needs_simulator

from tinycnn.data import ArrayDataset, DataLoader
from tinycnn.data.upload import upload

pytestmark = needs_simulator
SIZES = (3, 1, 3, 2)  # of batches: the last ones are smaller, as at the end of an epoch


def batches():
    rng = np.random.default_rng(0)
    return [(rng.standard_normal((n, 2, 4, 5)).astype(np.float32), np.arange(n)) for n in SIZES]


def test_all_batches_arrive_in_order():
    """Kills: one batch lost at either end, a batch given out before it was copied, pinned memory that goes too early, labels of another batch."""
    for (images, labels), (x, t) in zip(batches(), upload(iter(batches()), "cuda"), strict=True):
        assert x.device == t.device == "cuda" and t.dtype == labels.dtype
        assert np.array_equal(x.cpu().numpy(), images) and np.array_equal(t.cpu().numpy(), labels)


def test_one_batch_is_ahead():
    """Kills: a copy that begins only when the batch is wanted; the whole epoch copied at once."""
    asked = []
    coming = upload((asked.append(i) or batch for i, batch in enumerate(batches())), "cuda")
    for taken in range(len(SIZES)):
        next(coming)
        assert len(asked) == min(taken + 2, len(SIZES))


def test_none_and_one():
    """Kills: a first batch waited for where there is none."""
    assert list(upload([], "cuda")) == [] and list(upload([], "cpu")) == []
    assert len(list(upload(batches()[:1], "cuda"))) == 1


def test_the_loader_gives_the_same_on_each_device():
    """Kills: a device that the loader forgets."""
    dataset = ArrayDataset(np.random.default_rng(0).integers(0, 255, (7, 6, 5, 1)).astype(np.uint8), np.arange(7) % 3, ("a", "b", "c"))
    here, there = (list(DataLoader(dataset, 3, shuffle=True, seed=1, device=device)) for device in ("cpu", "cuda"))
    assert len(here) == len(there) == 3
    for (x, t), (y, u) in zip(here, there):
        assert y.device == u.device == "cuda" and np.array_equal(x.numpy(), y.cpu().numpy()) and np.array_equal(t.numpy(), u.cpu().numpy())
