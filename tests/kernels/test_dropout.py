"""Dropout: the generator against its authors' numbers, both implementations bit for bit, and whether what is kept looks random."""
import numpy as np
import pytest
from cuda_device import CUDA, kernels_of
from kernel_checks import DTYPES, IMPLEMENTATIONS, assert_same_bits_on_any_number_of_threads, in_poisoned_memory, layouts
from tolerance import close

from tinycnn.kernels import backend
from tinycnn.kernels.dropout.reference import philox
from tinycnn.kernels.layout import from_nhwc, is_channels_last, nhwc

ONES = 0xFFFFFFFF
# counter, key, words: the known answers for philox4x32-10 that come with the authors' Random123 library (kat_vectors). The third is made of the digits of pi.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES, ONES, ONES, ONES), (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0), (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]


@pytest.mark.parametrize("counter, key, words", KNOWN_ANSWERS)
def test_philox_known_answers(counter, key, words):
    """Kills: a wrong constant, number of rounds, or order of words; a key that moves before the first round."""
    np.testing.assert_array_equal(philox(counter, key), words)


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_a_mask_is_philox_at_the_elements_index(implementation):
    """Element i is kept where word i % 4 of counter (i // 4, call) under the seed is at least p * 2^32, low words first.
    Kills: call and seed exchanged; high words for low; a counter that starts again in every row; > for >=, or p for 1 - p."""
    seed, call, p = (0x299F31D0 << 32) + 0xA4093822, (0x03707344 << 32) + 0x13198A2E, 0.25
    mask = kernels_of(implementation).dropout.mask((3, 7), p, seed, call)
    assert mask.dtype == bool
    for i, kept in enumerate(mask.ravel()):
        word = int(philox((i // 4, 0, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0))[i % 4])
        assert kept == (word >= 2**30)


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_the_threshold_itself_is_kept(implementation):
    """p chosen so that p * 2^32 is exactly the first word of seed 0, then one more. Kills: > for >=; a probability rounded to float32."""
    mask = kernels_of(implementation).dropout.mask
    word = KNOWN_ANSWERS[0][2][0]
    assert mask((1,), word / 2**32, 0, 0).item()
    assert not mask((1,), (word + 1) / 2**32, 0, 0).item()


@pytest.mark.parametrize("shape", [(5,), (3, 7, 11), (2, 4099), (4096,), (), (0, 3)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_in_both_implementations(shape, dtype):
    """Whole tiles, parts of one, one element more; p from none to all; seeds and calls of 64 bits, negative seeds. Kills: a tile's counter; the last quad; a sign."""
    rng = np.random.default_rng(0)
    x = np.asarray(rng.standard_normal(shape)).astype(dtype)
    reference, cpu = backend("reference").dropout, backend("cpu").dropout
    for p, seed, call in ((0, 1, 0), (1e-12, 1, 0), (0.1, 2**40 + 7, 3), (0.5, -5, 2**33), (1 - 1e-12, 1, 1), (1, 2**64 - 1, 2**64 - 1)):
        y = in_poisoned_memory(lambda p=p, seed=seed, call=call: cpu.forward(x, p, seed, call))
        assert y.dtype == dtype and y.shape == shape
        np.testing.assert_array_equal(y, reference.forward(x, p, seed, call))
        np.testing.assert_array_equal(cpu.mask(shape, p, seed, call), reference.mask(shape, p, seed, call))


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_what_is_kept_is_scaled_and_the_rest_is_zero(implementation):
    """Infinity and NaN are dropped like anything else. Kills: x * mask, which is NaN there; a scale of p for 1 - p, or none; division by zero at p = 1."""
    dropout = kernels_of(implementation).dropout
    x = np.where(np.arange(40) % 2, np.inf, 1.0)
    mask = dropout.mask(x.shape, 0.2, 3, 4)
    np.testing.assert_array_equal(dropout.forward(x, 0.2, 3, 4), np.where(mask, x / 0.8, 0))
    np.testing.assert_array_equal(dropout.forward(x, 1, 3, 4), np.zeros(40))
    np.testing.assert_array_equal(dropout.forward(x, 0, 3, 4), x)


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_forward_is_its_own_adjoint(implementation):
    """<dy, A x> = <A dy, x>: the backward needs no kernel. Kills: a mask that depends on the values."""
    forward = kernels_of(implementation).dropout.forward
    x, dy = np.random.default_rng(0).standard_normal((2, 500))
    close(np.sum(dy * forward(x, 0.3, 1, 2)), np.sum(forward(dy, 0.3, 1, 2) * x), 500)


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_how_many_are_kept_and_where(p):
    """100,000 elements: the number kept is within five deviations of its mean; so is the number of elements kept together with the next, the fourth, the one in the
    next call and the one under the next seed (all three facts are fixed by the seed). Kills: words that repeat within a quad, between calls or between seeds."""
    mask, n = backend("cpu").dropout.mask, 100_000
    here = mask((n,), p, 1, 0)
    keep = 1 - p
    assert abs(here.sum() - n * keep) < 5 * np.sqrt(n * keep * p)
    together = keep**2
    for other in (np.roll(here, 1), np.roll(here, 4), mask((n,), p, 1, 1), mask((n,), p, 2, 0)):
        assert abs((here & other).sum() - n * together) < 5 * np.sqrt(n * together * (1 - together))
        if 0.01 < p < 0.99:
            assert (here != other).any()


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 17, 13, 31), (3, 5, 8, 16), (2, 2, 1, 3), (0, 3, 4, 4)])
def test_channels_last(shape):
    """Tiles that begin at each of the words of a counter, whole and not. Kills: the words of another channel or pixel; a result in another order."""
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    y = backend("cpu").dropout.forward(from_nhwc(nhwc(x)), 0.4, 3, 4)
    np.testing.assert_array_equal(y, backend("reference").dropout.forward(x, 0.4, 3, 4))
    assert is_channels_last(y)


def test_any_layout():
    """The mask belongs to the logical index. Kills: random numbers handed out in memory order."""
    forward = backend("cpu").dropout.forward
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    y = forward(x, 0.5, 1, 2)
    for X in layouts(x):
        np.testing.assert_array_equal(forward(X, 0.5, 1, 2), y)


def test_the_same_bits_on_any_number_of_threads():
    """Kills: a counter that a thread carries from tile to tile."""
    forward = backend("cpu").dropout.forward
    x = np.ones((5, 4099), np.float32)
    assert_same_bits_on_any_number_of_threads(lambda: forward(x, 0.5, 1, 2))
    images = from_nhwc(nhwc(np.ones((3, 5, 20, 30), np.float32)))
    assert_same_bits_on_any_number_of_threads(lambda: forward(images, 0.5, 1, 2))
