"""Random numbers addressed by sample: the published generator, uniform and independent enough, and blind to who else draws."""
import numpy as np
import pytest

from tinycnn.data import Streams
from tinycnn.data.streams import shuffled


def test_it_is_splitmix64():
    """The published sequence from the seed 1234567. Kills: a wrong constant, shift or step; drawing number 0 twice."""
    streams = Streams((), [0])
    streams.start = np.array([1234567], np.uint64)
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert [int(streams.bits()[0]) for _ in expected] == expected


def test_several_numbers_at_once_are_the_next_ones():
    """Kills: numbers drawn twice or left out where a count is given."""
    one, many = Streams((1,), [4, 5]), Streams((1,), [4, 5])
    assert many.bits(count=3).T.tolist() == [one.bits().tolist() for _ in range(3)]
    assert many.uniform([1, 2], [2, 3], count=2).T.tolist() == [one.uniform(1, 2).tolist(), one.uniform(2, 3).tolist()]
    assert many.bits().tolist() == one.bits().tolist()


def test_a_sample_draws_the_same_in_any_company():
    """Kills: numbers that depend on the position in the batch or on its size."""
    together = Streams((3, 1), [7, 5, 9])
    a, b = together.uniform(), together.normal()
    for position, index in enumerate([7, 5, 9]):
        alone = Streams((3, 1), [index])
        assert (alone.uniform()[0], alone.normal()[0]) == (a[position], b[position])


def test_every_part_of_the_address_counts():
    """Kills: a part of the key left out; parts that can be exchanged; a key of (seed, epoch) that only uses their sum."""
    keys = [(1, 2), (2, 1), (0, 3), (3, 0), (1, 2, 0), (-1, 2), (2**63, 2)]
    first = [int(Streams(key, [i]).bits()[0]) for key in keys for i in (0, 1, 2, 1000)]
    assert len(set(first)) == len(first)


def test_distributions():
    """Moments of 100,000 numbers, neighbours and successive draws uncorrelated. Kills: integers that miss an end, a normal of the wrong width, streams that overlap."""
    n = 100_000
    streams = Streams((0, 0), np.arange(n))
    u, v, z = streams.uniform(), streams.uniform(2, 5), streams.normal(0.1)
    assert u.min() >= 0 and u.max() < 1 and abs(u.mean() - 0.5) < 0.005 and abs(u.var() - 1 / 12) < 0.002
    assert v.min() >= 2 and v.max() < 5 and abs(v.mean() - 3.5) < 0.01
    assert abs(z.mean()) < 0.002 and abs(z.std() - 0.1) < 0.002 and abs(np.mean(z**4) / 1e-4 - 3) < 0.1
    for other in (v, np.roll(u, 1), np.roll(v, -1), z):
        assert abs(np.corrcoef(u, other)[0, 1]) < 0.015
    counts = np.bincount(streams.integers(0, np.where(np.arange(n) % 2, 3, 1)), minlength=4)  # half of the samples from {0, 1, 2, 3}, half from {0, 1}
    assert np.all(np.abs(counts / n - [3 / 8, 3 / 8, 1 / 8, 1 / 8]) < 0.01)


@pytest.mark.parametrize("n", [0, 1, 1000])
def test_shuffled_is_a_permutation(n):
    """Kills: drawing with replacement; an order that ignores the key."""
    order = shuffled(n, (4, 0))
    assert sorted(order.tolist()) == list(range(n))
    assert order.tolist() == shuffled(n, (4, 0)).tolist()
    assert n < 2 or order.tolist() != shuffled(n, (4, 1)).tolist()
