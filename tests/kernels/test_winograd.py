"""Winograd's method: the matrices themselves, the error of each form, and both schedules on awkward tilings. (test_conv.py has what holds for any algorithm.)"""
from fractions import Fraction
from functools import cache, partial

import numpy as np
import pytest
from tolerance import close

from tinycnn.kernels import memory, runtime
from tinycnn.kernels.conv import reference, winograd, winograd_weights
from tinycnn.kernels.conv.geometry import Geometry
from tinycnn.kernels.conv.winograd_forms import FORMS, SIX_POINTS, F2x3, F2x5, F4x3, matrices

USUAL_POINTS = (0, 1, -1, 2, -2)
#   the largest error in float32 that y, dx, dw may have, in sigma of the answer: twice to three times what benchmarks/winograd_points.py finds. The usual
#   points go beyond: F(4x4, 3x3) 4e-5, F(2x2, 5x5) 2.6e-5, 2.8e-5, 7e-5
BOUNDS = {F4x3: (2e-5, 2e-5, 2.5e-5), F2x3: (5e-6, 5e-6, 1.5e-5), F2x5: (1.8e-5, 1.8e-5, 5e-5)}


def sliding(d, w, outputs):
    """The definition, in one dimension: y[i] = sum over t of w[t] * d[i + t]."""
    return [sum(w[t] * d[i + t] for t in range(len(w))) for i in range(outputs)]


@pytest.mark.parametrize("form", FORMS)
def test_one_dimension(form):
    """A^T [(G w) * (B^T d)] is the filter slid over the signal. Kills: a sign, a scale, points in another order in one of the matrices."""
    M, rng = form.MATRICES, np.random.default_rng(0)
    assert M["input"].shape == (form.SIZE, form.SIZE) and M["filter"].shape == (form.SIZE, form.TAPS) and M["output"].shape == (form.OUTPUTS, form.SIZE)
    for _ in range(10):
        d, w = rng.standard_normal(form.SIZE), rng.standard_normal(form.TAPS)
        np.testing.assert_allclose(M["output"] @ ((M["filter"] @ w) * (M["input"] @ d)), sliding(d, w, form.OUTPUTS), rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_two_dimensions_and_gradients(form):
    """A tile's Y, and dD, dW as adjoints of its steps, against the definition. Kills: a transform from one side only; an adjoint that is not the transpose."""
    M, rng, (n, r, m) = form.MATRICES, np.random.default_rng(0), (form.SIZE, form.TAPS, form.OUTPUTS)
    D, W, dY = (rng.standard_normal((size, size)) for size in (n, r, m))
    x, w, dy = D[None, None], W[None, None], dY[None, None]
    V, U = M["input"] @ D @ M["input"].T, M["filter"] @ W @ M["filter"].T
    np.testing.assert_allclose(M["output"] @ (U * V) @ M["output"].T, reference.forward(x, w, None, Geometry())[0, 0], rtol=0, atol=1e-12)
    Z = M["output_grad"] @ dY @ M["output_grad"].T
    np.testing.assert_allclose(M["filter_grad"] @ (V * Z) @ M["filter_grad"].T, reference.weight_grad(dy, x, w.shape, Geometry())[0, 0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(M["input"].T @ (U * Z) @ M["input"], reference.input_grad(dy, w, x.shape, Geometry())[0, 0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("outputs, taps, points", [(2, 3, (0, 1, -1)), (4, 3, USUAL_POINTS), (2, 5, USUAL_POINTS), (3, 2, (0, 1, 3))])
def test_rational_points_are_exact(outputs, taps, points):
    """With rational points the matrices are rational, and the identity holds in fractions, exactly. Kills: a derivation that is only nearly right."""
    M = {name: [[Fraction(float(value)).limit_denominator(1000) for value in row] for row in matrix] for name, matrix in matrices(outputs, taps, points).items()}

    def times(matrix, vector):
        return [sum(a * b for a, b in zip(row, vector)) for row in matrix]
    for seed in range(5):
        rng = np.random.default_rng(seed)
        d, w = ([Fraction(int(number), 7) for number in rng.integers(-9, 9, length)] for length in (outputs + taps - 1, taps))
        products = [u * v for u, v in zip(times(M["filter"], w), times(M["input"], d))]
        assert times(M["output"], products) == sliding(d, w, outputs)


def test_our_points_are_better_than_the_usual_ones():
    """The largest factor by which rounding is magnified. Kills: points exchanged for others that are exact as well."""
    def growth(points):
        M = matrices(4, 3, points)
        return np.max(abs(M["output"]) @ (abs(M["filter"]).sum(1) * abs(M["input"]).sum(1)))
    assert growth(SIX_POINTS) < growth(USUAL_POINTS) / 1.5


# ---------------------------------------------------------------------------------------------------------------------------------- the kernels

FILTERS = {F4x3: 3, F2x3: 3, F2x5: 5}


def all_three(x, w, bias, dy, geometry):
    return (winograd.forward(x, winograd.pack(w, x.shape, geometry), w.shape, bias, geometry), winograd.input_grad(dy, w, x.shape, geometry),
            winograd.weight_grad(dy, x, w.shape, geometry))


def expected(x, w, bias, dy, geometry):
    x, w, bias, dy = (array.astype(np.float64) for array in (x, w, bias, dy))
    return reference.forward(x, w, bias, geometry), reference.input_grad(dy, w, x.shape, geometry), reference.weight_grad(dy, x, w.shape, geometry)


def draw(x_shape, w_shape, geometry, dtype=np.float32):
    rng = np.random.default_rng(0)
    y_shape = (x_shape[0], w_shape[0], *geometry.output_size(x_shape[2:], w_shape[2:]))
    return [rng.standard_normal(shape).astype(dtype) for shape in (x_shape, w_shape, w_shape[:1], y_shape)]


@pytest.fixture
def only(monkeypatch):
    """only(form): the form that is taken, whatever it costs. (Plans are kept by shape, so those made before are forgotten.)"""
    def forget():
        for plan in (winograd.forward_tiling, winograd.gradient_tiling, winograd.cut_of, winograd_weights.cut_of):
            plan.cache_clear()

    def take(form):
        monkeypatch.setattr(winograd, "candidates", lambda n, geometry: (form,))
        forget()
    yield take
    forget()


@pytest.fixture(params=["blocks", "parts"])
def schedule(request, monkeypatch):
    """Blocks of at most 8 tiles, weight gradients in a few splits; or two blocks by some filters, weight gradients by some channels and some filters in blocks of 64
    tiles: whatever the layer."""
    if request.param == "blocks":
        monkeypatch.setattr(winograd, "MOST", 8)
        monkeypatch.setattr(winograd_weights, "cut_of", in_splits)
    else:
        monkeypatch.setattr(winograd, "cut_of", cache(partial(chosen, winograd.Cut(2, winograd.PANEL))))
        monkeypatch.setattr(winograd_weights, "cut_of", cache(partial(chosen, winograd_weights.Cut(1, 64, 16, 80))))
    return request.param


@cache
def in_splits(tiling, threads):
    return winograd_weights.Cut(3, 8, max(16, winograd.whole(tiling.C)), max(16, winograd.whole(tiling.K)))


def chosen(cut, tiling, threads):
    return cut


@pytest.mark.parametrize("form", FORMS)
def test_the_error_in_float32(form, only):
    """Kills: other points, a transform in lower precision, a sum that is taken in a worse order."""
    only(form)
    R = FILTERS[form]
    geometry = Geometry(padding=(R // 2, R // 2))
    arrays = draw((2, 64, 24, 24), (64, 64, R, R), geometry)
    for name, answer, truth, bound in zip(("y", "dx", "dw"), all_three(*arrays, geometry), expected(*arrays, geometry), BOUNDS[form]):
        error = np.abs(answer - truth).max() / truth.std()
        assert error < bound, f"{name} is off by {error:.1e} sigma"


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
@pytest.mark.parametrize("form", FORMS)
def test_filters_written_past_the_cache(form, dtype, only, monkeypatch):
    """The same bits as through it. Kills: a transform that is written elsewhere, or turned otherwise, if U is large."""
    only(form)
    R, arrays = FILTERS[form], []
    geometry = Geometry(padding=(1, 1), groups=2)
    x, w, _, dy = draw((1, 2 * 37, 9, 10), (2 * 75, 37, R, R), geometry, dtype)
    for large in (0, 1 << 60):
        monkeypatch.setattr(memory, "LARGE", large)
        arrays.append((winograd.forward(x, winograd.pack(w, x.shape, geometry), w.shape, None, geometry), winograd.input_grad(dy, w, x.shape, geometry)))
    for past, through in zip(*arrays):
        np.testing.assert_array_equal(past, through)


#   H, W, padding: extents that are a multiple of a tile, one more and one less; padding larger than the filter, or none; images smaller than a tile
EXTENTS = [(12, 16, (1, 1)), (13, 15, (1, 0)), (31, 9, (2, 1)), (7, 33, (0, 4)), (1, 5, (3, 5)), (2, 1, (6, 7)), (40, 43, (1, 1))]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("extents", EXTENTS)
def test_tilings(extents, form, schedule, only):
    """Kills: a tile at the border that reads or writes too far or too little; a last block or chunk taken for a whole one; padding that is not the filter's."""
    only(form)
    H, W, padding = extents
    R, geometry = FILTERS[form], Geometry(padding=padding)
    if min(H + 2 * padding[0], W + 2 * padding[1]) < R:
        pytest.skip("the filter does not fit")
    arrays = draw((3, 5, H, W), (18, 5, R, R), geometry)
    w, dy = arrays[1], arrays[3]
    for answer, truth, length in zip(all_three(*arrays, geometry), expected(*arrays, geometry), (w[0].size, w[:, 0].size, dy[:, 0].size)):
        close(answer, truth, length)


SIDE_BY_SIDE = [(6, 14, 14, (1, 1), (16, 32)), (5, 13, 9, (1, 1), (5, 18)), (8, 6, 10, (2, 1), (6, 3)), (7, 11, 8, (0, 0), (16, 16)), (1, 9, 9, (1, 2), (3, 7))]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", SIDE_BY_SIDE)
def test_images_side_by_side(case, form, schedule, only, monkeypatch):
    """On sheets of 2 x 3 images, the last not full. Kills: what a neighbour reads or writes taken for one's own; zeros between images left out, or written as results;
    a place without an image read or written."""
    N, H, W, padding, (C, K) = case
    R, geometry, seen = FILTERS[form], Geometry(padding=padding), []

    def two_by_three(N, results, source, padding, m):
        pitch = [length + before for length, before in zip(source, padding)]
        seen.append(m)
        return 2, 3, *pitch, -(-(pitch[0] + results[0]) // m), -(-(2 * pitch[1] + results[1]) // m)
    monkeypatch.setattr(winograd, "sheet_of", two_by_three)
    only(form)
    arrays = draw((N, C, H, W), (K, C, R, R), geometry)
    w, dy = arrays[1], arrays[3]
    for answer, truth, length in zip(all_three(*arrays, geometry), expected(*arrays, geometry), (w[0].size, w[:, 0].size, dy[:, 0].size)):
        close(answer, truth, length)
    assert seen


def test_plans_of_forms_are_their_own():
    """One 1x1 image is one tile of any form, and the tilings are equal as tuples. Kills: a plan that is found again for another form."""
    tilings = [form(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1) for form in (F4x3, F2x3)]
    assert tilings[0] == tilings[1]
    for cut_of, size in ((winograd.cut_of, winograd.scratch_of), (winograd_weights.cut_of, winograd_weights.memory_of)):
        first, other = (size(tiling, cut_of(tiling, 1)) for tiling in tilings)
        assert first != other


def test_the_sheet_with_fewest_tiles():
    """(images down, across, rows and columns from one to the next, tiles down, across). Kills: sheets that cost more than they save, neighbours that overlap."""
    same = (1, 1)
    assert winograd.sheet_of(16, (14, 14), (14, 14), same, 4) == (4, 4, 15, 15, 15, 15)
    assert winograd.sheet_of(16, (13, 13), (13, 13), same, 4) == (2, 2, 14, 14, 7, 7)
    assert winograd.sheet_of(5, (14, 8), (14, 8), same, 4) == (5, 1, 15, 9, 19, 2)
    for N, results, source, padding in ((1, 14, 14, 1), (16, 28, 28, 1), (16, 7, 7, 1), (16, 18, 14, 3), (16, 10, 14, -1), (0, 14, 14, 1), (16, 3, 3, 1)):
        assert winograd.sheet_of(N, (results, results), (source, source), (padding, padding), 4)[:2] == (1, 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("channels", [(6, 4, 2), (40, 36, 2), (9, 51, 3), (34, 130, 1), (64, 600, 2)])
def test_groups_and_channels(channels, form, schedule, only):
    """Whole vectors and parts of one, more filters than a thread takes at once. Kills: one group's channels, filters, bias or sums taken for another's."""
    only(form)
    (C, K, G), R = channels, FILTERS[form]
    geometry = Geometry(padding=(1, 1), groups=G)
    arrays = draw((2, C, 10, 11), (K, C // G, R, R), geometry)
    w, dy = arrays[1], arrays[3]
    for answer, truth, length in zip(all_three(*arrays, geometry), expected(*arrays, geometry), (w[0].size, w[:, 0].size // G, dy[:, 0].size)):
        close(answer, truth, length)


def test_the_schedules_are_what_they_are_called(schedule, only):
    """Kills: constants that have moved, so that the tests above run one schedule twice; a single chunk or block where several are meant."""
    only(F4x3)
    n = winograd.sizes((3, 5, 40, 43), (130, 5, 3, 3), Geometry(padding=(1, 1)))
    tiling = winograd.forward_tiling(n, Geometry(padding=(1, 1)))
    cut = winograd.cut_of(tiling, runtime.get_num_threads())
    weights = winograd_weights.cut_of(tiling, runtime.get_num_threads())
    if schedule == "blocks":
        assert cut.blocks >= tiling.tiles // 8 and weights.splits == 3 and weights.block == 8
    else:
        assert cut == (2, 32) and weights.splits == 1 and weights.block < tiling.tiles and weights.filters < tiling.K


@pytest.mark.parametrize("form", FORMS)
def test_how_it_is_cut_changes_no_bit(form, only, monkeypatch):
    """They are cut as suits the number of threads. Kills: V of another block taken for this one's, a part's place in dU for another's; sums in an order of their own."""
    only(form)
    R, answers = FILTERS[form], []
    geometry = Geometry(padding=(1, 1))
    x, w, bias, dy = draw((3, 37, 19, 21), (150, 37, R, R), geometry)
    for blocks, filters, channels in ((1, 160, 48), (1, 32, 16), (2, 96, 32), (3, 64, 48), (4, 32, 48), (7, 160, 16)):
        monkeypatch.setattr(winograd, "cut_of", cache(partial(chosen, winograd.Cut(blocks, filters))))
        monkeypatch.setattr(winograd_weights, "cut_of", cache(partial(chosen, winograd_weights.Cut(2, 24, channels, filters))))
        answers.append((winograd.forward(x, winograd.pack(w, x.shape, geometry), w.shape, bias, geometry), winograd.input_grad(dy, w, x.shape, geometry),
                        winograd.weight_grad(dy, x, w.shape, geometry)))
    for answer in answers[1:]:
        for one, first in zip(answer, answers[0]):
            np.testing.assert_array_equal(one, first)


@pytest.mark.parametrize("layer", [(1, 64, 56, 192), (16, 512, 7, 512), (1, 192, 7, 384), (16, 1024, 28, 512), (0, 3, 8, 5), (1, 1, 1, 1)])
def test_cuts(layer):
    """Kills: scratch memory that grows with the number of threads, blocks or parts that are empty, a division that leaves threads without work where there is some."""
    N, C, H, K = layer
    n, geometry = winograd.sizes((N, C, H, H), (K, C, 3, 3), Geometry(padding=(1, 1))), Geometry(padding=(1, 1))
    tiling = winograd.forward_tiling(n, geometry)
    for threads in (1, 2, 3, 8, 64):
        cut = winograd.cut_of(tiling, threads)
        parts = -(-K // cut.filters)
        assert 1 <= cut.blocks <= max(1, -(-tiling.tiles // 8)) and cut.filters % 32 == 0 and (parts - 1) * cut.filters < K
        assert threads * 4 * winograd.scratch_of(tiling, cut) <= max(72 << 20, threads * 4 * winograd.scratch_of(tiling, winograd.Cut(-(-tiling.tiles // 8), 32)))
        if threads == 2 and tiling.tiles * K > 64:
            assert cut.blocks * parts >= 2


@pytest.mark.parametrize("layer", [(1, 64, 56, 192), (64, 512, 28, 512), (16, 512, 7, 512), (16, 48, 7, 128), (16, 64, 56, 64), (0, 3, 8, 5), (1, 1, 1, 1)])
def test_cuts_of_weight_gradients(layer):
    """Kills: an order of additions that depends on the number of threads; threads without work, or without memory, where there is some; an empty part or block."""
    N, C, H, K = layer
    n, geometry = winograd.sizes((N, C, H, H), (K, C, 3, 3), Geometry(padding=(1, 1))), Geometry(padding=(1, 1))
    tiling = winograd.forward_tiling(n, geometry, form="weight_grad")
    cuts = {threads: winograd_weights.cut_of(tiling, threads) for threads in (1, 2, 3, 8, 64)}
    for threads, cut in cuts.items():
        down, across = -(-C // cut.channels), -(-K // cut.filters)
        own, sums = winograd_weights.memory_of(tiling, cut)
        assert cut[:2] == cuts[1][:2] and cut.channels % 16 == 0 == cut.filters % 16
        assert 8 <= cut.block and cut.splits * (cut.block - 8) <= tiling.tiles and (down - 1) * cut.channels < C and (across - 1) * cut.filters < K
        if threads <= 3 and max(C, K) > 32:
            assert cut.splits * down * across >= threads and 4 * (threads * own + sums) <= 64 << 20


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_every_thread_transforms_small_filters_for_itself(form, turned, only, monkeypatch):
    """Kills: a copy that is not filled or not where it is read, copies of filters that are packed once for many calls, or of large ones."""
    only(form)
    R, geometry = FILTERS[form], Geometry(padding=(1, 1), groups=2)
    x, w, _, dy = draw((2, 42, 9, 8), (70, 21, R, R), geometry)
    n = winograd.sizes(x.shape, w.shape, geometry)
    tiling = winograd.gradient_tiling(n, geometry) if turned else winograd.forward_tiling(n, geometry)

    def transformed(once):
        return winograd.transform_filters(w, 2, tiling, turned, once)
    one, few = transformed(False), transformed(True)
    assert len(one) == 1 and len(few) == runtime.get_num_threads() and one.shape[1:] == few.shape[1:]

    def answer(u):
        out = np.zeros(dy.shape[0] * n.P * n.Q * 70 if not turned else x.size, np.float32)
        winograd.convolution(u, out, 0, tiling, 2)(winograd.source(dy if turned else x))
        return out
    expected = answer(one)
    np.testing.assert_array_equal(answer(few), expected)
    monkeypatch.setattr(winograd, "COPIED", one.size - 1)
    assert len(transformed(True)) == 1
