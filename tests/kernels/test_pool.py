"""Pooling: both implementations against PyTorch, against each other on windows of every kind, and against what must be true of a maximum and a mean."""
import numpy as np
import pytest
from cuda_device import CUDA, kernels_of
from kernel_checks import DTYPES, IMPLEMENTATIONS, assert_gradient, assert_same_bits_on_any_number_of_threads, in_poisoned_memory, layouts, stored
from tolerance import close

from tinycnn.kernels import backend, memory
from tinycnn.kernels.layout import from_nhwc, is_channels_last, nhwc
from tinycnn.kernels.window import Window

reference = backend("reference").pool

#   x (N, C, H, W), Window(size, stride, padding, dilation, ceil_mode): the smallest at which each mistake shows
SLIDING = {
    "2x2": ((2, 3, 4, 6), Window((2, 2), (2, 2))),
    "overlapping": ((1, 2, 7, 9), Window((3, 3), (2, 2))),
    "padded": ((1, 2, 6, 7), Window((3, 3), (2, 2), (1, 1))),
    "one apart": ((1, 2, 4, 5), Window((3, 3), (1, 1), (1, 1))),
    "leftovers": ((1, 2, 7, 8), Window((2, 2), (3, 3))),
    "ceil": ((1, 2, 6, 8), Window((3, 3), (2, 2), (0, 0), (1, 1), True)),
    "ceil, sticking out of the padding": ((1, 2, 6, 7), Window((4, 4), (3, 3), (1, 1), (1, 1), True)),
    "ceil, no window that begins in the padding": ((1, 2, 5, 4), Window((2, 2), (3, 4), (1, 1), (1, 1), True)),
    "nothing symmetric": ((1, 2, 9, 6), Window((4, 2), (1, 3), (2, 0), (1, 1), True)),
    "dilated": ((1, 2, 8, 9), Window((2, 4), (2, 1), (1, 2), (3, 2))),
    "dilated, ceil": ((1, 2, 9, 8), Window((3, 2), (2, 3), (1, 1), (2, 2), True)),
    "one element": ((1, 2, 3, 3), Window((1, 1), (2, 2))),
    "all at once": ((2, 2, 3, 4), Window((3, 4), (1, 1))),
}
#   x (N, C, H, W), (P, Q)
ADAPTIVE = {
    "adaptive, to one": ((2, 3, 4, 5), (1, 1)),
    "adaptive, dividing": ((1, 2, 6, 4), (3, 2)),
    "adaptive, with remainders": ((1, 2, 7, 11), (3, 4)),
    "adaptive, up": ((1, 2, 3, 2), (5, 3)),
}
CASES = SLIDING | ADAPTIVE
COUNTS = {"with padding": (True, None), "without padding": (False, None), "divisor": (True, -3)}


def draw(case):
    """(x, dy for whatever shape it is asked): small whole numbers, so that there are ties in almost every window."""
    rng = np.random.default_rng(0)
    return np.round(2 * rng.standard_normal(CASES[case][0])), lambda shape: np.round(4 * rng.standard_normal(shape))


def pooled(pool, case, x, dy):
    """All that the kernels say to a case, by name."""
    answers, how = {}, CASES[case][1]
    forward = pool.adaptive_max_forward if case in ADAPTIVE else pool.max_forward
    y, winners = forward(x, how)
    dy = dy(y.shape).astype(x.dtype)
    answers["max"], answers["indices"], answers["max dx"] = y, pool.max_indices(winners, x.shape[2:], how), pool.max_backward(dy, winners, x.shape, how)
    if case in ADAPTIVE:
        answers["mean"], answers["mean dx"] = pool.adaptive_avg_forward(x, how), pool.adaptive_avg_backward(dy, x.shape)
    elif how.dilation == (1, 1):
        for name, options in COUNTS.items():
            answers[name], answers[f"{name} dx"] = pool.avg_forward(x, how, *options), pool.avg_backward(dy, x.shape, how, *options)
    return answers


def pytorch(torch, case):
    """What PyTorch says to a case, by name."""
    x, dy = draw(case)
    X, how, answers = torch.tensor(x, requires_grad=True), CASES[case][1], {}
    F = torch.nn.functional

    def keep(name, Y):
        answers[name], answers[f"{name} dx"] = Y.detach().numpy(), torch.autograd.grad(Y, X, torch.tensor(dy))[0].numpy()
    Y, indices = F.adaptive_max_pool2d(X, how, True) if case in ADAPTIVE else F.max_pool2d(X, *how, return_indices=True)
    dy = dy(tuple(Y.shape))
    keep("max", Y)
    answers["indices"] = indices.numpy()
    if case in ADAPTIVE:
        keep("mean", F.adaptive_avg_pool2d(X, how))
    elif how.dilation == (1, 1):
        for name, options in COUNTS.items():
            keep(name, F.avg_pool2d(X, how.size, how.stride, how.padding, how.ceil_mode, *options))
    return answers


# ---------------------------------------------------------------------------------------------------------------------------------- against PyTorch


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
@pytest.mark.parametrize("case", CASES)
def test_pytorch_vectors(case, implementation, dtype):
    """Kills: padding with zero; the last of equal maxima, or the leftmost before the topmost; gradients overwritten where windows overlap; what counts in a mean,
    in the padding and beyond it; vertical for horizontal; a window too many or too few in ceil_mode; adaptive windows of equal size."""
    x, _ = draw(case)
    answers = in_poisoned_memory(lambda: pooled(kernels_of(implementation).pool, case, x.astype(dtype), draw(case)[1]))
    expected = stored("pool", case)
    assert answers.keys() == expected.keys()
    for name, answer in answers.items():
        assert answer.dtype == (np.int64 if name == "indices" else dtype)
        close(answer, expected[name], x[0, 0].size, dtype)


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES)
def test_live_pytorch(case):
    """The stored vectors are not stale, in values or in the cases they cover."""
    import torch
    expected = stored("pool", case)
    for name, answer in pytorch(torch, case).items():
        close(expected[name], answer, CASES[case][0][2] * CASES[case][0][3], np.float64)


# ---------------------------------------------------------------------------------------------------------------------------------- numbers a person can check


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_padding_is_minus_infinity(implementation):
    """All inputs negative: their maximum is negative. And where all are minus infinity, an element of the image wins, not the padding. Kills: padding with zero."""
    pool = kernels_of(implementation).pool
    y, _ = pool.max_forward(np.full((1, 1, 3, 3), -5.0), Window((3, 3), (2, 2), (1, 1)))
    np.testing.assert_array_equal(y, np.full((1, 1, 2, 2), -5.0))
    window = Window((3, 3), (2, 2), (1, 1))
    y, winners = pool.max_forward(np.full((1, 1, 3, 3), -np.inf), window)
    np.testing.assert_array_equal(y, np.full((1, 1, 2, 2), -np.inf))
    np.testing.assert_array_equal(pool.max_indices(winners, (3, 3), window)[0, 0], [[0, 1], [3, 4]])


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_which_of_equals_wins(implementation):
    """The first in row-major order: the upper one, although another is further left. Kills: comparing with >=; a search column by column."""
    x = np.array([[[[0.0, 7, 1], [7, 7, 2], [7, 0, 0]]]])
    y, winners = kernels_of(implementation).pool.max_forward(x, Window((3, 3)))
    assert (y.item(), winners.item()) == (7, 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_nan_wins(implementation, dtype):
    """Wherever it stands in the window, over infinity as well, and of several the last, as in PyTorch. Kills: a comparison that passes NaN over."""
    pool = kernels_of(implementation).pool
    for place in range(4):
        x = np.array([1, np.inf, 3, 2], dtype)
        x[place] = np.nan
        for y, winners in (pool.max_forward(x.reshape(1, 1, 2, 2), Window((2, 2))), pool.adaptive_max_forward(x.reshape(1, 1, 2, 2), (1, 1))):
            assert np.isnan(y.item()) and winners.item() == place
    _, winners = pool.max_forward(np.array([[[[np.nan, 1, np.nan], [0, np.nan, 2]]]], dtype), Window((2, 3)))
    assert winners.item() == 4


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_what_a_mean_counts(implementation):
    """Five ones, windows of 4 that begin at -1 and 2, the second ending one beyond the padding. Kills: counting what lies beyond; not counting the padding, or always."""
    pool, x = kernels_of(implementation).pool, np.ones((1, 1, 1, 5))
    window = Window((1, 4), (1, 3), (0, 1), (1, 1), True)
    np.testing.assert_array_equal(pool.avg_forward(x, window).ravel(), [3 / 4, 3 / 4])
    np.testing.assert_array_equal(pool.avg_forward(x[..., :4], window).ravel(), [3 / 4, 2 / 3])
    np.testing.assert_array_equal(pool.avg_forward(x[..., :4], window, False).ravel(), [1, 1])
    np.testing.assert_array_equal(pool.avg_forward(x[..., :4], window, True, 2).ravel(), [3 / 2, 1])


# ---------------------------------------------------------------------------------------------------------------------------------- what must be true


def test_cpu_against_reference_on_all_kinds_of_windows():
    """Three hundred windows drawn at random; those that fit no image must be refused by both. Kills: what the cases above happen not to meet."""
    rng, fitted, cpu = np.random.default_rng(0), 0, backend("cpu").pool
    for _ in range(300):
        size, dilation = rng.integers(1, 5, 2), rng.integers(1, 4, 2)
        padding = rng.integers(0, size // 2 + 1)
        window = Window(*(tuple(int(i) for i in pair) for pair in (size, rng.integers(1, 4, 2), padding, dilation)), bool(rng.integers(2)))
        x = np.round(2 * rng.standard_normal((1, 2, *rng.integers(1, 12, 2))))
        try:
            expected = reference.max_forward(x, window)
        except ValueError as refusal:
            with pytest.raises(ValueError) as other:
                cpu.max_forward(x, window)
            assert str(other.value) == str(refusal)
            continue
        fitted += 1
        for answer, truth in zip((*cpu.max_forward(x, window), *cpu.max_forward(channels_last(x), window)), expected * 2):
            np.testing.assert_array_equal(answer, truth)
        include = bool(rng.integers(2))
        dy = rng.standard_normal(expected[0].shape)
        if dilation.max() == 1:
            close(cpu.avg_forward(x, window, include), reference.avg_forward(x, window, include), size.prod())
            close(cpu.avg_backward(dy, x.shape, window, include), reference.avg_backward(dy, x.shape, window, include), size.prod())
    assert fitted > 150


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
@pytest.mark.parametrize("case", CASES)
def test_backward_is_the_adjoint(case, implementation):
    """<dy, A x> = <A^T dy, x> for the mean and for picking the winners. Kills: a share divided by another number than the sum was; an element of dx forgotten."""
    pool, how = kernels_of(implementation).pool, CASES[case][1]
    rng = np.random.default_rng(0)
    x = rng.standard_normal(CASES[case][0])
    y, winners = (pool.adaptive_max_forward if case in ADAPTIVE else pool.max_forward)(x, how)
    dy, other = rng.standard_normal(y.shape), rng.standard_normal(x.shape)
    np.testing.assert_array_equal(pool.max_gather(x, winners, how), y)
    pairs = [(pool.max_gather(other, winners, how), pool.max_backward(dy, winners, x.shape, how))]
    if case in ADAPTIVE:
        pairs.append((pool.adaptive_avg_forward(other, how), pool.adaptive_avg_backward(dy, x.shape)))
    else:
        pairs += [(pool.avg_forward(other, how, *options), pool.avg_backward(dy, x.shape, how, *options)) for options in COUNTS.values()]
    for y, dx in pairs:
        terms = dy * y
        close(np.sum(dx * other) / np.abs(terms).sum() + 1, np.sum(terms) / np.abs(terms).sum() + 1, dy.size)


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
@pytest.mark.parametrize("case", ["overlapping", "nothing symmetric", "dilated", "adaptive, with remainders"])
def test_the_gradient_of_a_maximum(case, implementation):
    """Against differences, with values far enough apart that none overtakes another. Kills: an index into another plane, row or column."""
    pool, how = kernels_of(implementation).pool, CASES[case][1]
    forward = pool.adaptive_max_forward if case in ADAPTIVE else pool.max_forward
    rng = np.random.default_rng(0)
    x = rng.permutation(np.prod(CASES[case][0])).reshape(CASES[case][0]) / 10
    y, winners = forward(x, how)
    dy = rng.standard_normal(y.shape)
    assert_gradient(pool.max_backward(dy, winners, x.shape, how), lambda x: forward(x, how)[0], x, dy)


# ---------------------------------------------------------------------------------------------------------------------------------- arrays of all kinds


def channels_last(array):
    return from_nhwc(nhwc(array))


def test_any_layout():
    """Kills: strides taken for those of a C-contiguous array."""
    cpu, window = backend("cpu").pool, Window((3, 2), (2, 1), (1, 1))
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 5))
    y, winners = cpu.max_forward(x, window)
    for X, Y, I in zip(layouts(x), layouts(y), layouts(winners)):
        for answer, expected in ((cpu.max_forward(X, window)[1], winners), (cpu.max_backward(Y, I, x.shape, window), cpu.max_backward(y, winners, x.shape, window)),
                                 (cpu.max_backward(Y, winners, x.shape, window), cpu.max_backward(y, winners, x.shape, window)),
                                 (cpu.max_gather(X, I, window), y), (cpu.max_indices(I, (6, 5), window), cpu.max_indices(winners, (6, 5), window))):
            np.testing.assert_array_equal(answer, expected)
        close(cpu.avg_forward(X, window), cpu.avg_forward(x, window), 6)
        close(cpu.avg_backward(Y, x.shape, window), cpu.avg_backward(y, x.shape, window), 6)


@pytest.mark.parametrize("past_cache", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("C", [1, 3, 17, 64])
@pytest.mark.parametrize("case", CASES)
def test_channels_last(case, C, dtype, past_cache, monkeypatch):
    """Every case with fewer channels than lanes, more, and whole vectors, among the numbers NaN. Results lie as x does.
    Kills: a pixel, a tap or a vector off; the end of a row of channels; what lies behind it overwritten; an element that no window sees forgotten."""
    monkeypatch.setattr(memory, "LARGE", 0 if past_cache else 1 << 60)
    (N, _, H, W), how = CASES[case]
    rng = np.random.default_rng(0)
    x = np.round(2 * rng.standard_normal((N, C, H, W))).astype(dtype)
    x[rng.random(x.shape) < 0.02] = np.nan
    cpu, X = backend("cpu").pool, channels_last(x)
    y, winners = reference.max_forward(x, how)
    Y, Winners = cpu.max_forward(X, how)
    np.testing.assert_array_equal(Y, y)
    np.testing.assert_array_equal(cpu.max_indices(Winners, (H, W), how), reference.max_indices(winners, (H, W), how))
    dy = rng.standard_normal(y.shape).astype(dtype)
    dx = cpu.max_backward(channels_last(dy), Winners, x.shape, how)
    close(dx, reference.max_backward(dy, winners, x.shape, how), 20)
    assert is_channels_last(Y) and is_channels_last(Winners)
    x[np.isnan(x)] = 0
    X = channels_last(x)
    if case in ADAPTIVE:
        pairs = [(cpu.adaptive_avg_forward(X, how), reference.adaptive_avg_forward(x, how)),
                 (cpu.adaptive_avg_backward(channels_last(dy), x.shape, True), reference.adaptive_avg_backward(dy, x.shape))]
    else:
        pairs = [(cpu.avg_forward(X, how), reference.avg_forward(x, how)),
                 (cpu.avg_backward(dy, x.shape, how, channels_last=True), reference.avg_backward(dy, x.shape, how))]
    for answer, expected in pairs[:2 if case in ADAPTIVE or how.dilation == (1, 1) else 0]:
        close(answer, expected, H * W)
        assert is_channels_last(answer)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("C", [127, 256, 300, 513])
def test_means_of_few_windows_are_shared_out_by_channels(C, dtype):
    """One window, a few, and enough rows of them to be tasks by themselves. Kills: the last block of channels lost or too long, a block of another pixel or image."""
    cpu, rng = backend("cpu").pool, np.random.default_rng(0)
    for shape, output_size in (((1, C, 7, 7), (1, 1)), ((2, C, 4, 5), (2, 3)), ((1, C, 7, 2), (4, 1)), ((4, C, 4, 3), (2, 1))):
        x = channels_last(rng.standard_normal(shape).astype(dtype))
        close(cpu.adaptive_avg_forward(x, output_size), reference.adaptive_avg_forward(x, output_size), shape[2] * shape[3])
        assert_same_bits_on_any_number_of_threads(lambda x=x, size=output_size: cpu.adaptive_avg_forward(x, size))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("C", [3, 16, 37])
@pytest.mark.parametrize("case", SLIDING)
def test_maxima_alone(case, C, dtype):
    """What inference computes, bit for bit, NaN included, in both memory orders. Kills: an element missed; a row too far; NaN lost."""
    (N, _, H, W), window = SLIDING[case]
    x = np.random.default_rng(0).standard_normal((N, C, H, W)).astype(dtype)
    x[0, 0, H // 2, W // 2] = np.nan
    expected = reference.max_forward(x, window)[0]
    for order in (x, from_nhwc(nhwc(x))):
        np.testing.assert_array_equal(backend("cpu").pool.max_values(order, window), expected)


@pytest.mark.parametrize("special", [(), (np.nan,), (np.inf,), (np.inf, -np.inf)])
@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (1, 0), (0, 1)])
def test_maxima_alone_of_windows_one_apart(padding, special):
    """3x3 windows one apart have a kernel of their own, which walks down bands of rows, and where the sum of all is NaN, again with care. Bit for bit, which of 0 and
    -0 and which NaN included, whatever the bands. Kills: an edge's row or column missed, rows of another band, columns searched before rows, NaN lost."""
    rng, cpu = np.random.default_rng(0), backend("cpu").pool
    for dtype, bits in ((np.float32, np.uint32), (np.float64, np.uint64)):
        for H, W in ((1, 1), (1, 4), (2, 2), (3, 1), (3, 3), (4, 9), (16, 5), (31, 3)):
            if min(H + 2 * padding[0], W + 2 * padding[1]) < 3:
                continue
            x = (rng.integers(-2, 1, (2, 70, H, W)) * rng.choice([0.0, 1.0], (2, 70, 1, 1))).astype(dtype)  # in half of the channels nothing but 0 and -0
            for value in special:
                x[rng.random(x.shape) < 0.01] = value
            x.view(bits)[np.isnan(x)] += rng.integers(1, 1000, np.count_nonzero(np.isnan(x)), bits)
            x, window = channels_last(x), Window((3, 3), (1, 1), padding)
            expected = np.ascontiguousarray(reference.max_values(x, window)).view(bits)
            assert_same_bits_on_any_number_of_threads(lambda x=x, window=window: cpu.max_values(x, window))
            np.testing.assert_array_equal(np.ascontiguousarray(cpu.max_values(x, window)).view(bits), expected)


@pytest.mark.parametrize("order", [lambda x: x, channels_last])
def test_more_taps_than_a_byte_counts(order):
    """Kills: a winner modulo 256."""
    x, how = order(np.random.default_rng(0).standard_normal((1, 4, 20, 23))), Window((17, 19), (3, 2))
    y, winners = reference.max_forward(x, how)
    Y, Winners = backend("cpu").pool.max_forward(x, how)
    np.testing.assert_array_equal(Winners, winners)
    close(backend("cpu").pool.max_backward(Y, Winners, x.shape, how), reference.max_backward(y, winners, x.shape, how), 9)


@pytest.mark.parametrize("order", [lambda x: x, channels_last])
def test_the_same_bits_on_any_number_of_threads(order):
    """Kills (nearly always): two threads that add to one element."""
    cpu, window = backend("cpu").pool, Window((3, 3), (1, 1), (1, 1))
    x = order(np.random.default_rng(0).standard_normal((3, 5, 9, 9)).astype(np.float32))
    assert_same_bits_on_any_number_of_threads(lambda: (*cpu.max_forward(x, window), cpu.max_backward(x, cpu.max_forward(x, window)[1], x.shape, window),
                                                       cpu.avg_forward(x, window), cpu.avg_backward(x, x.shape, window)))


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4)])
@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_empty_batches(implementation, shape):
    """Kills: a division by the number of planes, a reshape to -1."""
    pool, window = kernels_of(implementation).pool, Window((2, 2), (2, 2))
    y, winners = pool.max_forward(np.zeros(shape), window)
    indices = pool.max_indices(winners, shape[2:], window)
    assert y.shape == winners.shape == indices.shape == (*shape[:2], 2, 2) and indices.dtype == np.int64
    assert pool.max_backward(y, winners, shape, window).shape == shape
    assert pool.max_gather(np.zeros(shape), winners, window).shape == y.shape
    assert pool.avg_forward(np.zeros(shape), window).shape == y.shape
    assert pool.avg_backward(y, shape, window).shape == shape
    assert pool.adaptive_avg_forward(np.zeros(shape), (1, 3)).shape == pool.adaptive_max_forward(np.zeros(shape), (1, 3))[0].shape == (*shape[:2], 1, 3)
    assert pool.adaptive_avg_backward(np.zeros((*shape[:2], 1, 3)), shape).shape == shape


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_windows_that_make_no_sense(implementation):
    """Each is refused with the numbers at fault. Kills: a mean over nothing but padding; the maximum of no elements; division by zero; negative sizes."""
    pool, x = kernels_of(implementation).pool, np.zeros((1, 1, 5, 5))
    for call in (pool.max_forward, pool.avg_forward, lambda x, window: pool.avg_backward(x, x.shape, window)):
        with pytest.raises(ValueError, match="padding is 2; at most 1, half of a window of 3"):
            call(x, Window((1, 3), (1, 1), (0, 2)))
        with pytest.raises(ValueError, match="window of 6 .* does not fit an input of 5"):
            call(x, Window((6, 1)))
    with pytest.raises(ValueError, match="window of 2 with dilation 2 and padding 1 steps over all 1 elements"):
        pool.max_forward(x[:, :, :1], Window((2, 1), (1, 1), (1, 0), (2, 1)))
    with pytest.raises(ValueError, match="divisor_override is 0"):
        pool.avg_forward(x, Window((2, 2)), True, 0)
    for call in (lambda x: pool.max_forward(x, Window((1, 2), (1, 1), (0, 1))), lambda x: pool.adaptive_avg_forward(x, (2, 2)),
                 lambda x: pool.adaptive_max_forward(x, (2, 2))):
        with pytest.raises(ValueError, match=r"an image of \(5, 0\) has no elements"):
            call(x[..., :0])
