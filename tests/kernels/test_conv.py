"""Every algorithm for convolution against the reference, and the reference against PyTorch and against what must be true of any convolution."""
from math import inf
from pathlib import Path

import numpy as np
import pytest
from conv_cases import CASES, draw, fenced_memory, poisoned_memory
from tolerance import close

from tinycnn.kernels import backend, runtime
from tinycnn.kernels.conv import algorithms, implicit, implicit_weights, reference, tiles
from tinycnn.kernels.conv.epilogue import Epilogue
from tinycnn.kernels.conv.geometry import Geometry
from tinycnn.kernels.conv.sizes import Sizes, sizes
from tinycnn.kernels.conv.workspace import workspace
from tinycnn.kernels.layout import from_nhwc, nhwc
from tinycnn.kernels.simd.tile import ROWS

cpu = backend("cpu").conv
VECTORS = np.load(Path(__file__).parents[1] / "vectors" / "conv.npz")
ALGORITHMS = list(algorithms.ALGORITHMS)


def all_three(implementation, x, w, bias, dy, geometry, **options):
    """(y, dx, dw)"""
    return (implementation.forward(x, w, bias, geometry, **options), implementation.input_grad(dy, w, x.shape, geometry, **options),
            implementation.weight_grad(dy, x, w.shape, geometry, **options))


def only_what_it_can(algorithm, x_shape, w_shape, geometry):
    """Skip what an algorithm is not for: Winograd's knows only some filters of stride 1."""
    n = sizes(x_shape, w_shape, geometry)
    if any(algorithms.algorithm_module(algorithm).cost(form, n, geometry, np.dtype(np.float64)) == inf for form in algorithms.FORMS):
        pytest.skip(f"{algorithm} is not for this")


def lengths(x, w, dy):
    """How many products are added up for an element of y, dx, dw (at most)."""
    return w[0].size, w.shape[0] * w.shape[2] * w.shape[3], dy[:, 0].size


# ---------------------------------------------------------------------------------------------------------------------------------- the reference


@pytest.mark.parametrize("case", CASES)
def test_reference_against_stored_pytorch_vectors(case):
    """Kills: convolution for cross-correlation; vertical for horizontal in stride, padding or dilation; a wrong channel of a group; a bias forgotten or added to dx;
    leftover rows of dx missing."""
    x, w, bias, dy, geometry = draw(case)
    for name, array, length in zip(("y", "dx", "dw"), all_three(reference, x, w, bias, dy, geometry), lengths(x, w, dy)):
        close(array, VECTORS[f"{case} / {name}"], length)


@pytest.mark.parametrize("case", CASES)
def test_the_three_kernels_are_one_trilinear_form(case):
    """<dy, forward(x, w)> = <input_grad(dy, w), x> = <weight_grad(dy, x), w>. Kills: a forgotten flip, stride, dilation or group; overwriting where windows overlap."""
    x, w, _, dy, geometry = draw(case)
    y, dx, dw = all_three(reference, x, w, None, dy, geometry)
    terms = dy.size * w[0].size
    scale = np.sqrt(terms) + 1e-300
    close(np.sum(dx * x) / scale + 1, np.sum(dy * y) / scale + 1, terms)
    close(np.sum(dw * w) / scale + 1, np.sum(dy * y) / scale + 1, terms)


def test_one_weight_shifts_the_image():
    """The meaning itself, on numbers a person can check. Kills: convolution for cross-correlation, rows for columns."""
    x = np.arange(12.0).reshape(1, 1, 3, 4)
    w = np.zeros((1, 1, 3, 3))
    w[0, 0, 0, 2] = 1  # the tap one row up and one column right of the centre
    y = reference.forward(x, w, None, Geometry(padding=(1, 1)))
    np.testing.assert_array_equal(y[0, 0], [[0, 0, 0, 0], [1, 2, 3, 0], [5, 6, 7, 0]])


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES)
def test_live_pytorch(case):
    """The stored vectors are not stale, in values or in the cases they cover."""
    import torch
    x, w, bias, dy, geometry = draw(case)
    X, W, B = (torch.tensor(array, requires_grad=True) for array in (x, w, bias))
    y = torch.nn.functional.conv2d(X, W, B, *geometry)
    for name, array in zip(("y", "dx", "dw"), (y, *torch.autograd.grad(y, (X, W), torch.tensor(dy)))):
        close(VECTORS[f"{case} / {name}"], array.detach().numpy(), max(lengths(x, w, dy)))


# ---------------------------------------------------------------------------------------------------------------------------------- the algorithms


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_algorithm_against_reference(case, dtype, algorithm):
    """All three forms, with and without bias, in memory full of NaN. Kills: a border one element off; a tile's leftovers forgotten or written twice; scratch or
    output read before it is written; sums begun from what lay there; a wrong group; a float64 computed in float32."""
    x, w, bias, dy, geometry = draw(case, dtype)
    only_what_it_can(algorithm, x.shape, w.shape, geometry)
    expected = all_three(reference, *(array.astype(np.float64) for array in (x, w, bias, dy)), geometry)
    all_three(cpu, x, w, bias, dy, geometry, algorithm=algorithm)  # compiles: Numba must meet the real np.empty
    with poisoned_memory():
        answers = all_three(cpu, x, w, bias, dy, geometry, algorithm=algorithm)
        plain = cpu.forward(x, w, None, geometry, algorithm=algorithm)
    for answer, truth, length in zip(answers, expected, lengths(x, w, dy)):
        assert answer.dtype == dtype
        close(answer, truth, length)
    close(plain, expected[0] - bias.reshape(-1, 1, 1), w[0].size)


# Larger than one tile in each direction in which tiles are cut: too large for PyTorch vectors, small enough for the reference
LARGE = {
    "channels, filters": ((2, 70, 5, 6), (260, 70, 3, 3), Geometry((1, 1), (1, 1))),
    "positions": ((1, 3, 30, 37), (5, 3, 3, 3), Geometry((1, 1), (1, 1))),
    "positions of a strided filter": ((1, 2, 49, 63), (3, 2, 5, 4), Geometry((2, 2), (2, 1), (1, 2))),
    "one by one": ((2, 300, 17, 17), (19, 300, 1, 1), Geometry()),
    "taps": ((1, 2, 30, 31), (3, 2, 28, 27), Geometry((1, 1), (2, 0))),
    "groups": ((1, 80, 17, 17), (70, 40, 3, 3), Geometry((1, 1), (1, 1), (1, 1), 2)),
    "depthwise, more than a vector": ((2, 37, 9, 11), (37, 1, 3, 5), Geometry((1, 1), (1, 3), (1, 2), 37)),
    "depthwise, more padding than filter": ((1, 20, 5, 4), (20, 1, 2, 3), Geometry((1, 1), (3, 4), (1, 1), 20)),
    "images": ((9, 2, 6, 6), (70, 2, 3, 3), Geometry((1, 1), (1, 1))),
    "abreast": ((23, 5, 6, 7), (40, 5, 5, 3), Geometry((1, 1), (2, 1))),
    "abreast, strided": ((16, 12, 7, 6), (70, 12, 5, 5), Geometry((2, 2), (2, 2))),
    "abreast, windows that see nothing": ((8, 4, 2, 3), (17, 4, 2, 2), Geometry((1, 1), (3, 2))),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("case", LARGE)
def test_more_than_one_tile(case, algorithm):
    """Kills: a tile's offset wrong in any direction; a partial sum dropped or counted twice where tiles share an output; the last, smaller tile taken for a whole one."""
    x_shape, w_shape, geometry = LARGE[case]
    only_what_it_can(algorithm, x_shape, w_shape, geometry)
    rng = np.random.default_rng(0)
    y_shape = (x_shape[0], w_shape[0], *geometry.output_size(x_shape[2:], w_shape[2:]))
    x, w, bias, dy = (rng.standard_normal(shape) for shape in (x_shape, w_shape, w_shape[:1], y_shape))
    expected = all_three(reference, x, w, bias, dy, geometry)
    for answer, truth, length in zip(all_three(cpu, x, w, bias, dy, geometry, algorithm=algorithm), expected, lengths(x, w, dy)):
        close(answer, truth, length)
    close(cpu.forward(x, w, None, geometry, algorithm=algorithm), expected[0] - bias.reshape(-1, 1, 1), w[0].size)


@pytest.mark.parametrize("case", [case for case in LARGE if case.startswith("abreast")])
def test_zeros_around_images_are_not_multiplied(case):
    """A tile is one place of eight images. Kills: cases above that go the other way, unnoticed; tiles of one image eight times; an infinite weight that meets a zero."""
    x_shape, w_shape, geometry = LARGE[case]
    n = sizes(x_shape, w_shape, geometry)
    plans = [planned for (planned, _), _ in implicit._gradient_plans(n, geometry)[0]] + [implicit._forward_plan(n, geometry)[0]]
    assert plans[-1].abreast and all(planned.block_images >= ROWS for planned in plans if planned.abreast)
    assert "strided" not in case or any(planned.abreast for planned in plans[:-1])
    w = np.zeros(w_shape)
    w[:, :, 0] = np.inf  # the first row of taps
    y = cpu.forward(np.ones(x_shape), w, None, geometry, algorithm="implicit")
    assert not np.isnan(y[:, :, 0]).any() and not y[:, :, 0].any()  # over the first row of results it lies outside


@pytest.mark.parametrize("H, stride", [(9, 2), (70, 1), (8, 3)])
def test_zeros_around_images_are_in_no_weight_gradient(H, stride):
    """Blocks of several images and of some rows. Kills: sums over all results; rows or columns left out at the wrong end, or of the wrong tap."""
    geometry = Geometry((stride, stride), (1, 1))
    (P, Q), channels = geometry.output_size((H, 8), (3, 3)), 18  # a tile of 9 or 6 weights has one tap
    x = np.ones((5, channels, H, 8))
    for edge, taps in (((slice(None), slice(None), 0), (slice(None), slice(None), 0)), ((Ellipsis, 0), (Ellipsis, 0)),
                       ((slice(None), slice(None), P - 1), (slice(None), slice(None), 2)), ((Ellipsis, Q - 1), (Ellipsis, 2))):
        dy = np.ones((5, 7, P, Q))
        dy[edge] = np.inf
        dw = cpu.weight_grad(dy, x, (7, channels, 3, 3), geometry, algorithm="implicit")
        reaches = edge[-1] == 0 or ((P if len(edge) == 3 else Q) - 1) * stride + 1 >= (H if len(edge) == 3 else 8)
        seen = np.isinf(dw)
        seen[taps] = ~seen[taps] if reaches else seen[taps]
        assert seen.all() and not np.isnan(dw).any()


@pytest.mark.parametrize("algorithm", ["implicit", "winograd", "depthwise"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES | LARGE)
def test_nothing_is_written_outside_its_memory(case, dtype, algorithm):
    """Kills: filters packed for a phase without taps; whole vectors stored where a part is left; scratch memory a row too short."""
    x_shape, w_shape, geometry = (CASES | LARGE)[case]
    only_what_it_can(algorithm, x_shape, w_shape, geometry)
    rng = np.random.default_rng(0)
    y_shape = (x_shape[0], w_shape[0], *geometry.output_size(x_shape[2:], w_shape[2:]))
    x, w, bias, dy = (rng.standard_normal(shape).astype(dtype) for shape in (x_shape, w_shape, w_shape[:1], y_shape))
    with fenced_memory():
        all_three(cpu, x, w, bias, dy, geometry, algorithm=algorithm)


def test_inputs_that_must_not_be_written_to():
    """As NumPy makes them of a mapped file, or by broadcasting. Kills: one kernel for all three forms, which for them does not compile."""
    x, w, bias, dy, geometry = draw("plain")
    expected = all_three(cpu, x, w, bias, dy, geometry, algorithm="im2col")
    for array in (x, w, bias, dy):
        array.flags.writeable = False
    for actual, right in zip(all_three(cpu, x, w, bias, dy, geometry, algorithm="im2col"), expected):
        np.testing.assert_array_equal(actual, right)


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "depthwise"])
def test_inputs_of_any_layout(algorithm):
    """Channels-last, reversed, every other element, Fortran order, and weights turned round. Kills: strides taken for those of a C-contiguous array."""
    rng = np.random.default_rng(0)
    geometry = Geometry((1, 1) if algorithm == "winograd" else (2, 1), (1, 1))
    x, dy, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 8, 7, 6), (2, 8 // geometry.stride[0], 7, 8), (3, 3, 6, 8)))
    views = (lambda a: a.transpose(0, 3, 1, 2), lambda a: a.transpose(0, 3, 1, 2)[::-1, :, ::-1], lambda a: np.asfortranarray(a.transpose(0, 3, 1, 2)),
             lambda a: np.repeat(a.transpose(0, 3, 1, 2), 2, axis=3)[..., ::2])
    for view in views:
        arrays = view(x), w.transpose(3, 2, 0, 1), np.ones(16, np.float32)[::2], view(dy)
        straight = [np.ascontiguousarray(array) for array in arrays]
        for answer, expected in zip(all_three(cpu, *arrays, geometry, algorithm=algorithm), all_three(cpu, *straight, geometry, algorithm=algorithm)):
            np.testing.assert_array_equal(answer, expected)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("case", ["plain", "depthwise", "positions", "images", "abreast", "channels, filters"])
def test_the_same_bits_on_any_number_of_threads(case, algorithm):
    """One thread, all threads, all threads again. Kills: sums shared out by the number of threads; two threads that add to one element."""
    x_shape, w_shape, geometry = (CASES | LARGE)[case]
    only_what_it_can(algorithm, x_shape, w_shape, geometry)
    rng = np.random.default_rng(0)
    y_shape = (x_shape[0], w_shape[0], *geometry.output_size(x_shape[2:], w_shape[2:]))
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in (x_shape, w_shape, w_shape[:1], y_shape)]
    most, answers = runtime.get_num_threads(), []
    try:
        for n in (1, most, most):
            runtime.set_num_threads(n)
            answers.append(all_three(cpu, *arrays, geometry, algorithm=algorithm))
    finally:
        runtime.set_num_threads(most)
    for other in answers[1:]:
        for one, two in zip(answers[0], other):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("C, K", [(80, 70), (64, 100), (42, 6)])
def test_weight_gradients_in_many_shares(monkeypatch, C, K, groups):
    """With sums of 32 channels by 32 filters, over blocks of two rows. Kills: a share that reads or writes another's channels or filters; a last one, smaller, laid out
    as if it were whole; rows that two shares of the images count, or none."""
    monkeypatch.setattr(implicit_weights, "SUMS", 9 * 32 * 32)
    monkeypatch.setattr(implicit_weights, "PIXELS", 16)
    monkeypatch.setattr(implicit_weights, "TASKS", 64)
    implicit_weights.weight_plan.cache_clear()
    geometry, rng = Geometry((2, 1), (1, 1), (1, 1), groups), np.random.default_rng(0)
    x, dy = (from_nhwc(rng.standard_normal(shape)) for shape in ((3, 9, 8, C * groups), (3, 5, 8, K * groups)))
    with fenced_memory():
        dw = implicit_weights.weight_grad(dy, x, (K * groups, C, 3, 3), geometry)
    _, share, _ = implicit_weights.weight_plan(sizes(x.shape, dw.shape, geometry), geometry)
    implicit_weights.weight_plan.cache_clear()
    assert (share.channels, share.filters) == (32, 32) and share.splits > 1
    close(dw, reference.weight_grad(dy, x, dw.shape, geometry), dy[:, 0].size)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("C, R, S", [(3, 3, 3), (1, 3, 4), (3, 5, 1), (4, 2, 2)])
def test_weight_gradients_of_first_layers_read_dy_where_it_lies(C, R, S, dtype, groups):
    """With 27 weights, 12, 15 and 16: three high tiles, one and a low one, one and two low ones, two; 48 filters, which are a wide panel and a narrow one. Kills: a
    panel, a group or a block whose rows of dy begin elsewhere, or are as far apart as if they were packed; a tile that skips weights; a narrow vector of filters
    taken for a wide one."""
    geometry, rng = Geometry((2, 1), (1, 1), (1, 1), groups), np.random.default_rng(0)
    x, w_shape = rng.standard_normal((2, C * groups, 9, 131)).astype(dtype), (48 * groups, C, R, S)
    dy = rng.standard_normal((2, 48 * groups, *geometry.output_size((9, 131), (R, S)))).astype(dtype)
    assert implicit_weights.weight_plan(sizes(x.shape, w_shape, geometry), geometry)[1].packed == 0
    expected = reference.weight_grad(dy.astype(np.float64), x.astype(np.float64), w_shape, geometry)
    close(implicit_weights.weight_grad(dy, x, w_shape, geometry), expected, dy[:, 0].size)


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "winograd"])
def test_nan_and_infinity_spread_as_far_as_they_are_seen(algorithm):
    """Kills: arithmetic that assumes there are no NaNs; padding that is multiplied in (0 * inf is NaN); elements read from outside the window."""
    x, w = np.zeros((1, 1, 5, 40), np.float32), np.ones((1, 1, 3, 3), np.float32)
    x[0, 0, 0, 0], x[0, 0, 4, 20] = np.inf, np.nan
    y = cpu.forward(x, w, None, Geometry(padding=(1, 1)), algorithm=algorithm)
    np.testing.assert_array_equal(y, reference.forward(x, w, None, Geometry(padding=(1, 1))))
    assert np.isnan(y).sum() == 6 and np.isinf(y).sum() == 4
    dw = cpu.weight_grad(np.ones_like(x), x, w.shape, Geometry(padding=(1, 1)), algorithm=algorithm)
    assert np.isnan(dw[0, 0, 1:]).all() and not np.isnan(dw[0, 0, 0]).any()


def test_winograd_makes_nan_of_a_whole_tile():
    """Sums of infinities of both signs are NaN, so a tile has nothing else; its neighbours, which do not see it, are finite. Kills: tiles that read too far; NaN lost."""
    x, w = np.zeros((1, 1, 12, 40), np.float32), np.ones((1, 1, 3, 3), np.float32)
    x[0, 0, 0, 0] = np.inf
    y = cpu.forward(x, w, None, Geometry(padding=(1, 1)), algorithm="winograd")
    assert not np.isfinite(y[0, 0, :2, :2]).any() and np.isfinite(y[0, 0, 4:]).all() and np.isfinite(y[0, 0, :, 4:]).all()


@pytest.mark.parametrize("algorithm", [None, *ALGORITHMS])
def test_a_filter_that_does_not_fit_says_so(algorithm):
    """In all three forms. Kills: a negative number of positions passed on."""
    x, w = np.zeros((1, 1, 2, 9)), np.zeros((1, 1, 5, 5 if algorithm == "winograd" else 3))
    for call in (lambda: cpu.forward(x, w, None, Geometry(), algorithm), lambda: cpu.input_grad(x, w, x.shape, Geometry(), algorithm),
                 lambda: cpu.weight_grad(x, x, w.shape, Geometry(), algorithm), lambda: reference.forward(x, w, None, Geometry())):
        with pytest.raises(ValueError, match="window of 5 .* input of 2"):
            call()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", ["plain", "one by one", "groups", "first layer", "channels, filters", "images", "abreast", "depthwise", "empty batch"])
def test_epilogue_into_channels_of_a_larger_array(case, dtype, algorithm):
    """y = relu(conv + bias + add), from filters packed once, written between other channels. Kills: a part of the epilogue left out, done twice, or in another
    order; a write past the channels; a packed filter that is not what forward reads."""
    x_shape, w_shape, geometry = (CASES | LARGE)[case]
    only_what_it_can(algorithm, x_shape, w_shape, geometry)
    rng = np.random.default_rng(0)
    K, P, Q = w_shape[0], *geometry.output_size(x_shape[2:], w_shape[2:])
    x, w, bias, add = (rng.standard_normal(shape).astype(dtype) for shape in (x_shape, w_shape, w_shape[:1], (x_shape[0], K, P, Q)))
    larger = np.full((x_shape[0], P, Q, K + 7), 9, dtype).transpose(0, 3, 1, 2)
    out = larger[:, 3:3 + K]
    packed = cpu.pack(w, x_shape, geometry, algorithm)
    y = cpu.forward(x, packed, bias, geometry, epilogue=Epilogue(True, add, out))
    expected = np.maximum(reference.forward(*(array.astype(np.float64) for array in (x, w, bias)), geometry) + add, 0)
    assert y is out
    close(larger[:, 3:3 + K], expected, w[0].size)
    assert (larger[:, :3] == 9).all() and (larger[:, 3 + K:] == 9).all()
    close(cpu.forward(x, packed, None, geometry, epilogue=Epilogue(add=add)), reference.forward(x, w, None, geometry) + add, w[0].size)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [(8, 12), (9, 7), (2, 3), (14, 5)])
def test_epilogue_that_pools(size, dtype, algorithm):
    """The maximum of 2x2 results, of odd extents without the last, between other channels. Kills: windows from one result on; a result beyond the border that counts;
    a NaN that is lost; a place among pooled pixels counted in those that were."""
    w_shape, groups = ((16, 1, 3, 3), 16) if algorithm == "depthwise" else ((5, 16, 3, 3), 1)
    x_shape, geometry = (2, 16, *size), Geometry(padding=(1, 1), groups=groups)
    only_what_it_can(algorithm, x_shape, w_shape, geometry)
    rng = np.random.default_rng(0)
    x, w, bias = (rng.standard_normal(shape).astype(dtype) for shape in (x_shape, w_shape, w_shape[:1]))
    K, P, Q = w_shape[0], size[0] // 2, size[1] // 2
    packed = cpu.pack(w, x_shape, geometry, algorithm)
    exact = reference.forward(*(array.astype(np.float64) for array in (x, w, bias)), geometry)
    expected = exact[:, :, :2 * P, :2 * Q].reshape(2, K, P, 2, Q, 2).max((3, 5))
    larger = np.full((2, P, Q, K + 7), 9, dtype).transpose(0, 3, 1, 2)
    out = larger[:, 3:3 + K]
    assert cpu.forward(x, packed, bias, geometry, epilogue=Epilogue(True, None, out, pool=True)) is out
    close(out, np.maximum(expected, 0), w[0].size)
    assert (larger[:, :3] == 9).all() and (larger[:, 3 + K:] == 9).all()
    close(cpu.forward(x, packed, None, geometry, epilogue=Epilogue(pool=True)), expected - bias[:, None, None], w[0].size)
    x[0, :, 0, 0] = np.nan
    found = cpu.forward(x, packed, bias, geometry, epilogue=Epilogue(True, pool=True))
    assert np.isnan(found[0, :, 0, 0]).all() and not np.isnan(found[1]).any()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", ["plain", "one by one", "one by one, strided, padded", "groups", "first layer", "channels, filters", "images", "depthwise"])
def test_prepared_and_reading_channels_of_a_larger_array(case, dtype, algorithm):
    """The function that is made once, on images between whose pixels others lie. Kills: the gaps taken for channels; a plan for images without gaps; anything of the
    first call that is left for the second."""
    x_shape, w_shape, geometry = (CASES | LARGE)[case]
    only_what_it_can(algorithm, x_shape, w_shape, geometry)
    rng = np.random.default_rng(0)
    (N, C, H, W), K, P, Q = x_shape, w_shape[0], *geometry.output_size(x_shape[2:], w_shape[2:])
    w, bias = (rng.standard_normal(shape).astype(dtype) for shape in (w_shape, w_shape[:1]))
    out = np.full((N, P, Q, K), 9, dtype).transpose(0, 3, 1, 2)
    larger = rng.standard_normal((N, H, W, C + 11)).astype(dtype).transpose(0, 3, 1, 2)
    x, whole = larger[:, 5:5 + C], rng.standard_normal(x_shape).astype(dtype)
    packed = cpu.pack(w, x_shape, geometry, algorithm)
    reading_some = cpu.prepare(x_shape, packed, bias, geometry, Epilogue(True, None, out), C + 11)
    reading_all = cpu.prepare(x_shape, packed, bias, geometry, Epilogue(False, None, out))
    for images, call, relu in ((x, reading_some, True), (whole, reading_all, False), (larger[:, 2:2 + C], reading_some, True)):
        assert call(images) is out
        expected = reference.forward(*(array.astype(np.float64) for array in (images, w, bias)), geometry)
        close(out, np.maximum(expected, 0) if relu else expected, w[0].size)
    add = rng.standard_normal(out.shape).astype(dtype)
    close(reading_all(whole, add), reference.forward(whole, w, bias, geometry) + add, w[0].size)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", ["plain", "one by one", "one by one, strided, padded", "stride jumps over inputs", "groups", "first layer", "channels, filters",
                                  "depthwise", "abreast", "abreast, strided", "empty batch"])
def test_an_input_gradient_added_to_another(case, dtype, algorithm):
    """In whichever order the other lies; it is not changed. Kills: a phase of a strided gradient whose results are not added to; the sum written over what was added."""
    x_shape, w_shape, geometry = (CASES | LARGE)[case]
    only_what_it_can(algorithm, x_shape, w_shape, geometry)
    rng = np.random.default_rng(0)
    dy_shape = (x_shape[0], w_shape[0], *geometry.output_size(x_shape[2:], w_shape[2:]))
    dy, w, add = (rng.standard_normal(shape).astype(dtype) for shape in (dy_shape, w_shape, x_shape))
    expected = reference.input_grad(dy.astype(np.float64), w.astype(np.float64), x_shape, geometry) + add
    for other in (add, from_nhwc(nhwc(add)), from_nhwc(nhwc(np.concatenate([add, add], 1)))[:, :x_shape[1]]):
        dx = cpu.input_grad(dy, w, x_shape, geometry, algorithm, add=other)
        close(dx, expected, w[:, 0].size)
        assert not np.may_share_memory(dx, other)
    np.testing.assert_array_equal(other, add)


# ---------------------------------------------------------------------------------------------------------------------------------- tiles and scratch


def virtual_layers():
    """Sizes from ordinary to absurd: huge images, filters, channels, groups; single positions."""
    for N, C, H, K, R, stride, groups in ((128, 64, 64, 128, 9, 1, 1), (8, 3, 224, 64, 7, 2, 1), (1, 512, 7, 4096, 7, 1, 1), (1, 4096, 4096, 4096, 3, 1, 1),
                                          (64, 1, 2048, 1, 1000, 1, 1), (2, 100_000, 3, 100_000, 3, 1, 1), (4, 9216, 9, 9216, 3, 1, 9216), (8, 2048, 7, 512, 1, 1, 1),
                                          (1, 3, 10_000, 1, 300, 4, 1), (0, 3, 8, 5, 3, 1, 1)):
        geometry = Geometry((stride, stride), (R // 2, R // 2), (1, 1), groups)
        yield sizes((N, C, H, H), (K, C // groups, R, R), geometry), geometry


@pytest.mark.parametrize("form", algorithms.FORMS)
def test_scratch_of_im2col_is_bounded_whatever_the_layer(form):
    """By asking the planner, for float64, on any number of threads, weight gradient's partial sums included. Kills: a tile that grows with the channels, filters,
    taps or positions of the layer; partial sums of large filters."""
    for n, geometry in virtual_layers():
        tile = tiles.tiles(form, n, geometry)
        partial = (tile.splits - 1) * n.K * (n.C // n.G) * n.R * n.S
        with workspace(tile.scratch, np.dtype(np.float64)) as (scratch, _):
            assert scratch.shape[1] >= tile.scratch
            assert scratch.nbytes + 8 * partial <= tiles.SCRATCH
        assert tile.scratch * 8 <= 4 << 20, "a thread's scratch should stay in its second-level cache"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("form", algorithms.FORMS)
def test_scratch_of_the_networks_layers_is_bounded(form, algorithm):
    """Kills: a chunk that grows with the batch; a dU or partial sums that nobody counted."""
    module = algorithms.algorithm_module(algorithm)
    for N, C, H, K, R, stride, padding in ((16, 64, 224, 64, 3, 1, 1), (16, 512, 28, 512, 3, 1, 1), (1, 512, 14, 512, 3, 1, 1), (16, 3, 224, 64, 11, 4, 2),
                                           (64, 64, 27, 192, 5, 1, 2), (16, 128, 56, 128, 3, 2, 1), (16, 1024, 14, 2048, 1, 2, 0), (16, 2048, 7, 512, 1, 1, 0)):
        geometry = Geometry((stride, stride), (padding, padding))
        n = sizes((N, C, H, H), (K, C, R, R), geometry)
        if module.cost(form, n, geometry, np.dtype(np.float32)) < inf:
            assert 4 * module.scratch(form, n, geometry) <= tiles.SCRATCH, n


@pytest.mark.parametrize("N", [0, 2])
@pytest.mark.parametrize("C, K, R, groups", [(0, 3, 3, 1), (3, 0, 3, 1), (0, 0, 3, 1), (0, 4, 1, 2), (4, 0, 1, 2), (0, 64, 7, 1)])
def test_no_channels_or_no_filters(N, C, K, R, groups, monkeypatch):
    """Sums of nothing are zero, plus a bias, and `pack` and a preferred algorithm know it too. Kills: a size divided by the number of channels or filters."""
    geometry = Geometry(padding=(1, 1), groups=groups)
    x, w, bias = np.ones((N, C, 8, 7), np.float32), np.ones((K, C // groups, R, R), np.float32), np.arange(K, dtype=np.float32)
    dy = np.ones((N, K, *geometry.output_size((8, 7), (R, R))), np.float32)
    monkeypatch.delenv("TINYCNN_CONV", raising=False)
    for preferred in (None, "im2col"):
        if preferred:
            monkeypatch.setenv("TINYCNN_CONV", preferred)
        for right, result in zip(all_three(reference, x, w, bias, dy, geometry), all_three(cpu, x, w, bias, dy, geometry)):
            np.testing.assert_array_equal(result, right, strict=True)
        relu = cpu.forward(x, cpu.pack(w, x.shape, geometry), -bias, geometry, epilogue=Epilogue(relu=True))
        np.testing.assert_array_equal(relu, np.zeros(dy.shape, np.float32), strict=True)
    assert "direct" in algorithms.explain(x.shape, w.shape, geometry, x.dtype)


def test_workspace_runs_fewer_threads_where_scratch_would_not_do():
    """And gives the others back, even after an error. Kills: more threads than rows; a limit that stays."""
    threads = runtime.get_num_threads()
    with pytest.raises(KeyError), workspace(tiles.SCRATCH // 8, np.dtype(np.float64)) as (scratch, _):
        assert len(scratch) == runtime.get_num_threads() == 1
        raise KeyError
    assert runtime.get_num_threads() == threads
    with workspace(100, np.dtype(np.float32), 33) as (scratch, shared):
        assert len(shared) >= 33 and shared.ctypes.data % 64 == 0 and not np.shares_memory(scratch, shared)
        assert scratch.ctypes.data % 64 == 0 and scratch.strides[0] % 64 == 0 and len(scratch) == threads


# ---------------------------------------------------------------------------------------------------------------------------------- the choice


def test_the_choice_can_be_overruled(monkeypatch):
    """By argument before environment before model. Kills: an override that is ignored, or remembered after it is gone."""
    shapes = (8, 64, 28, 28), (64, 64, 3, 3), Geometry(padding=(1, 1)), np.dtype(np.float32)
    monkeypatch.delenv("TINYCNN_CONV", raising=False)
    assert algorithms.choose("forward", *shapes).__name__.endswith("winograd")
    monkeypatch.setenv("TINYCNN_CONV", "direct")
    assert algorithms.choose("forward", *shapes).__name__.endswith("direct")
    assert algorithms.choose("forward", *shapes, "im2col").__name__.endswith("im2col")
    monkeypatch.delenv("TINYCNN_CONV")
    assert algorithms.choose("forward", *shapes).__name__.endswith("winograd")


def test_an_unknown_algorithm_is_named(monkeypatch):
    """Kills: a misspelt environment variable that is silently ignored."""
    x, w = np.zeros((1, 1, 3, 3)), np.zeros((1, 1, 3, 3))
    with pytest.raises(ValueError, match="unknown algorithm 'winograd3'.*direct, im2col"):
        cpu.forward(x, w, None, Geometry(), algorithm="winograd3")
    monkeypatch.setenv("TINYCNN_CONV", "imcol")
    with pytest.raises(ValueError, match="'imcol'"):
        cpu.forward(x, w, None, Geometry())


def test_the_model_knows_the_clear_cases():
    """Depthwise has an algorithm of its own, wide 3x3 layers are Winograd's; the printed table has a star for each form. Kills: a model with a sign or a unit wrong."""
    depthwise = (8, 128, 28, 28), (128, 1, 3, 3), Geometry((1, 1), (1, 1), (1, 1), 128), np.dtype(np.float32)
    wide = (8, 256, 28, 28), (256, 256, 3, 3), Geometry((1, 1), (1, 1)), np.dtype(np.float32)
    for form in algorithms.FORMS:
        assert algorithms.choose(form, *depthwise).__name__.endswith("depthwise")
        assert algorithms.choose(form, *wide).__name__.endswith("winograd")
    text = algorithms.explain(*wide)
    assert text.count("*") == 3 and "7.4 GFLOP" in text and all(name in text for name in set(ALGORITHMS) - {"depthwise"})
    assert "depthwise" not in text and "inf" not in text  # it cannot do this one


def test_sizes():
    """Kills: P for Q, K for C, FLOPs without the 2 or the groups."""
    n = sizes((2, 6, 9, 8), (4, 3, 3, 2), Geometry((2, 1), (1, 0), (1, 1), 2))
    assert n == Sizes(N=2, C=6, H=9, W=8, K=4, R=3, S=2, P=5, Q=7, G=2)
    assert n.flops == 2 * (2 * 4 * 5 * 7) * (3 * 3 * 2)
