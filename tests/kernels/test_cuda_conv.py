"""Every CUDA algorithm for convolution against the reference: the cases of the CPU's tests, both precisions, both memory orders."""
from importlib import import_module
from math import inf

import numpy as np
import pytest
from conv_cases import CASES, draw
from cuda_device import kernels_of, needs_simulator
from kernel_checks import DTYPES, layouts
from tolerance import close

from tinycnn.kernels import backend
from tinycnn.kernels.conv import cuda_algorithms, cuda_im2col, cuda_implicit, cuda_winograd
from tinycnn.kernels.conv.geometry import Geometry
from tinycnn.kernels.conv.sizes import sizes
from tinycnn.kernels.cuda.memory import lies_channels_last
from tinycnn.kernels.layout import from_nhwc, nhwc
from tinycnn.kernels.window import Window

pytestmark = needs_simulator
launch_module = import_module("tinycnn.kernels.cuda.launch")  # the package has a function of this name
reference = backend("reference").conv
cuda, unfold = kernels_of("cuda").conv, kernels_of("cuda").unfold
EXACT = [name for name, (_, asked) in cuda_algorithms.ALGORITHMS.items() if not asked]


def last(array):
    """The same array, lying channels-last."""
    return from_nhwc(np.ascontiguousarray(nhwc(array)))


def check(x, w, bias, dy, geometry, order=lambda array: array, **options):
    """All three forms against the reference in float64."""
    wide = [None if array is None else array.astype(np.float64) for array in (x, w, bias, dy)]
    close(cuda.forward(order(x), w, bias, geometry, **options), reference.forward(*wide[:3], geometry), w[0].size)
    close(cuda.input_grad(order(dy), w, x.shape, geometry, **options), reference.input_grad(wide[3], wide[1], x.shape, geometry), w[:, 0].size)
    close(cuda.weight_grad(order(dy), order(x), w.shape, geometry, **options), reference.weight_grad(wide[3], wide[0], w.shape, geometry), dy[:, 0].size)


def tensors(x_shape, w_shape, geometry, dtype=np.float32):
    """(x, w, bias, dy, geometry)"""
    rng, y_shape = np.random.default_rng(0), (x_shape[0], w_shape[0], *geometry.output_size(x_shape[2:], w_shape[2:]))
    return *(rng.standard_normal(shape).astype(dtype) for shape in (x_shape, w_shape, w_shape[:1], y_shape)), geometry


def able(algorithms, cases=CASES):
    """[(algorithm, case)] of what each can do: Winograd's knows only some filters of stride 1."""
    return [(name, case) for name in algorithms for case in cases
            if cuda_algorithms.algorithm_module(name).cost("forward", sizes(*CASES[case]), CASES[case][2], np.dtype(np.float32)) < inf]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("algorithm, case", able(EXACT))
def test_against_the_reference(algorithm, case, dtype):
    """Kills: any extent, stride, padding, dilation or group taken for another; an edge of the image read from its neighbour; inputs that no filter reached."""
    x, w, bias, dy, geometry = draw(case, dtype)
    check(x, w, bias, dy, geometry, algorithm=algorithm)


@pytest.mark.parametrize("algorithm, case", able(EXACT, ["plain", "groups", "first layer", "nothing symmetric", "one by one", "groups, one by one"]))
def test_channels_last(algorithm, case):
    """Kills: one memory order taken for the other; a 1x1 convolution that turns its images round."""
    x, w, bias, dy, geometry = draw(case, np.float32)
    check(x, w, bias, dy, geometry, last, algorithm=algorithm)
    if case == "one by one":
        assert lies_channels_last(cuda.forward(last(x), w, bias, geometry, algorithm=algorithm))
        assert lies_channels_last(cuda.input_grad(last(dy), w, x.shape, geometry, algorithm=algorithm))


@pytest.mark.parametrize("algorithm", EXACT)
def test_any_layout(algorithm):
    """Kills: views read as if they were contiguous; a bias that is needed."""
    x, w, _, dy, geometry = draw("plain", np.float32)
    for X, W, dY in zip(layouts(x), layouts(w), layouts(dy)):
        check(X, W, None, dY, geometry, algorithm=algorithm)


def test_a_small_column_buffer(monkeypatch):
    """Kills: parts of the batch, of the positions or of the channels that overlap, are left out, or go to the wrong place."""
    for elements in (1000, 300, 50):
        monkeypatch.setattr(cuda_im2col, "COLUMNS", elements)
        for case in ("plain", "groups", "nothing symmetric"):
            check(*draw(case, np.float64), algorithm="im2col")


LARGER = (2, 5, 9, 10), (134, 5, 3, 3), Geometry((1, 1), (1, 1))  # than a tile in positions, filters, and taps with channels


@pytest.mark.parametrize("order", [np.ascontiguousarray, last])
@pytest.mark.parametrize("cut", [("small", 1), ("small", 3), ("large", 1), ("large", 2)], ids=str)
def test_tiles_and_parts(cut, order, monkeypatch):
    """Kills: leftovers of a tile; four pixels stored where they are of two images, or none; a part of the sum that is left out or added twice; a bias in each part;
    vectors where channels are no multiple of four."""
    monkeypatch.setattr(cuda_implicit, "cut", lambda *_: cut)
    for x_shape, w_shape, geometry in (LARGER, ((2, 8, 7, 6), (12, 4, 2, 3), Geometry((2, 1), (1, 1), (1, 1), 2)), ((1, 4, 12, 13), (4, 4, 3, 3), Geometry((2, 3))),
                                       ((3, 4, 6, 8), (66, 4, 1, 1), Geometry())):  # of pixels that are stored four at a time, several images in a tile
        check(*tensors(x_shape, w_shape, geometry), order, algorithm="implicit")


@pytest.mark.parametrize("order", [np.ascontiguousarray, last])
@pytest.mark.parametrize("padding", [(0, 1), (2, 0), (3, 1)])
def test_winograd_in_parts(padding, order, monkeypatch):
    """Kills: a tile at an edge; tiles of one image in another; a part of the batch left out or added twice; filters not turned round; constants rounded to float."""
    monkeypatch.setattr(cuda_winograd, "ELEMENTS", 36 * 9 * 9 * 2)
    for dtype in DTYPES:
        check(*tensors((3, 4, 9, 11), (6, 2, 3, 3), Geometry((1, 1), padding, (1, 1), 2), dtype), order, algorithm="winograd")


ROUNDED = [name for name, (_, asked) in cuda_algorithms.ALGORITHMS.items() if asked]
FEW = ["plain", "one by one, strided, padded", "nothing symmetric", "groups", "first layer", "empty batch"]


def whole(arrays):
    """Small whole numbers in their place, whose products and sums are exact in any precision."""
    return [array if isinstance(array, tuple) else np.rint(2 * array) for array in arrays]


@pytest.mark.parametrize("order", [np.ascontiguousarray, last])
@pytest.mark.parametrize("algorithm, case", able(ROUNDED, FEW))
def test_tensor_cores(algorithm, case, order):
    """On whole numbers, exactly. Kills: an element in the wrong lane of a fragment; a chunk that is read before it is there, or from where it is no more."""
    check(*whole(draw(case, np.float32)), order, algorithm=algorithm)


@pytest.mark.parametrize("order", [np.ascontiguousarray, last])
@pytest.mark.parametrize("cut", [("small", 2), ("large", 1)], ids=str)
@pytest.mark.parametrize("algorithm", ROUNDED)
def test_tensor_cores_in_tiles_and_parts(algorithm, cut, order, monkeypatch):
    """Kills: a warp's rows or columns in the place of another's; buffers that are used again too early; whole chunks where channels are no multiple of one."""
    monkeypatch.setattr(cuda_implicit, "cut", lambda *_: cut)
    for x_shape, w_shape, geometry in (((1, 5, 9, 15), (70, 5, 2, 2), Geometry((1, 1), (0, 1))), ((2, 48, 5, 4), (16, 24, 2, 3), Geometry((2, 1), (1, 1), (1, 1), 2))):
        check(*whole(tensors(x_shape, w_shape, geometry)), order, algorithm=algorithm)


@pytest.mark.parametrize("algorithm", ROUNDED)
def test_factors_are_rounded_and_sums_are_not(algorithm):
    """float16 has the 10 bits of TF32. Kills: factors truncated, or not rounded; sums kept in half; rounding where it was not asked for."""
    x, w, _, _, geometry = tensors((1, 64, 5, 5), (8, 64, 3, 3), Geometry())
    rounded = [array.astype(np.float16).astype(np.float64) for array in (x, w)]
    close(cuda.forward(x, w, None, geometry, algorithm=algorithm), reference.forward(*rounded, None, geometry), w[0].size)
    assert cuda_algorithms.choose("forward", x.shape, w.shape, geometry, x.dtype).NAME in EXACT
    with pytest.raises(ValueError, match=f"the algorithm '{algorithm}' cannot do the forward of .* in float64"):
        cuda_algorithms.choose("forward", x.shape, w.shape, geometry, np.dtype(np.float64), algorithm)


def test_indices_of_64_bits(monkeypatch):
    """Kills: a kernel that compiles for small arrays only."""
    monkeypatch.setattr(launch_module, "SMALL", 0)
    for algorithm in EXACT:
        check(*draw("plain", np.float32), algorithm=algorithm)


def test_more_groups_than_a_grid_has(monkeypatch):
    """Kills: a launch that no GPU can do; an algorithm asked for that fails in the middle."""
    many = (1, 65536, 1, 2), (65536, 1, 1, 2), Geometry(groups=65536)
    for form in ("forward", "input_grad", "weight_grad"):
        assert cuda_algorithms.choose(form, *many, np.dtype(np.float32)) is cuda_im2col
        for algorithm in ("implicit", "implicit_fp16"):
            with pytest.raises(ValueError, match=f"the algorithm '{algorithm}' cannot do the {form} of .*G=65536"):
                cuda_algorithms.choose(form, *many, np.dtype(np.float32), algorithm)
    cuda_algorithms._choose.cache_clear()
    monkeypatch.setattr(cuda_implicit, "MOST_GROUPS", 4)
    check(*draw("depthwise", np.float32))
    cuda_algorithms._choose.cache_clear()


def test_unfolding():
    """Kills: taps in another order; a copy that is not added; an edge that repeats."""
    x, window = np.arange(2 * 3 * 7 * 6, dtype=np.float32).reshape(2, 3, 7, 6), Window((3, 2), (2, 1), (1, 2), (1, 3))
    columns = backend("reference").unfold.im2col(x, window)
    np.testing.assert_array_equal(unfold.im2col(x, window), columns)
    np.testing.assert_array_equal(unfold.col2im(columns, x.shape, window), backend("reference").unfold.col2im(columns, x.shape, window))


def test_who_overrules_the_model(monkeypatch):
    shapes = (2, 3, 7, 6), (4, 3, 3, 3), Geometry(), np.dtype(np.float32)
    with pytest.raises(ValueError, match="unknown algorithm 'direct' for CUDA: there are im2col, implicit, winograd, implicit_tf32"):
        cuda_algorithms.choose("forward", *shapes, "direct")
    monkeypatch.setenv("TINYCNN_CONV_CUDA", "im2col")
    assert cuda_algorithms.choose("forward", *shapes) is cuda_im2col
