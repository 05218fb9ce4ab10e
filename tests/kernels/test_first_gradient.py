"""The input gradient of a first layer: bands of rows, runs of all lengths, windows that stick out or leave pixels out."""
import numpy as np
import pytest
from conv_cases import fenced_memory
from kernel_checks import assert_same_bits_on_any_number_of_threads
from tolerance import close

from tinycnn.kernels import backend
from tinycnn.kernels.conv.first_gradient import is_first, shape
from tinycnn.kernels.conv.geometry import Geometry
from tinycnn.kernels.conv.sizes import sizes
from tinycnn.kernels.layout import from_nhwc

cpu, reference = backend("cpu"), backend("reference")
#   (N, C, H, W), (K, R, S), stride, padding, dilation
CASES = {
    "ResNet": ((1, 3, 60, 52), (10, 7, 7), (2, 2), (3, 3), (1, 1)),
    "AlexNet": ((2, 3, 103, 31), (9, 11, 11), (4, 4), (0, 0), (1, 1)),
    "VGG": ((2, 3, 50, 17), (8, 3, 3), (1, 1), (1, 1), (1, 1)),
    "rows that no window reaches": ((1, 2, 101, 23), (5, 2, 3), (5, 4), (0, 0), (1, 1)),
    "much padding": ((1, 4, 7, 6), (3, 4, 5), (2, 3), (5, 6), (1, 1)),
    "dilated down": ((1, 3, 99, 9), (4, 3, 5), (2, 1), (4, 2), (7, 1)),
    "long runs": ((1, 4, 9, 40), (3, 2, 19), (1, 2), (1, 9), (1, 1)),
    "one row, one column": ((3, 1, 1, 9), (2, 1, 4), (1, 2), (0, 1), (1, 1)),
    "a wide row": ((1, 1, 4, 250), (3, 3, 3), (1, 1), (0, 1), (1, 1)),
    "one window": ((2, 3, 5, 4), (6, 5, 4), (1, 1), (0, 0), (1, 1)),
}


def problem(case, dtype):
    """(dy, w, x's shape, something to be added, Geometry), channels-last."""
    (N, C, H, W), (K, R, S), *moves = CASES[case]
    geometry, rng = Geometry(*moves), np.random.default_rng(0)
    P, Q = geometry.output_size((H, W), (R, S))
    dy, more = (from_nhwc(rng.standard_normal(size).astype(dtype)) for size in ((N, P, Q, K), (N, H, W, C)))
    return dy, rng.standard_normal((K, C, R, S)).astype(dtype), (N, C, H, W), more, geometry


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_against_reference_on_one_thread_and_several(case, dtype):
    """Kills: rows of dy that a band does not count or counts twice; pixels behind the first hundred of a row; runs that end in the wrong place; pixels without a
    window that are not zero; a pixel's columns in another order than the filters'; writes behind scratch memory; what is to be added left out; bits that depend on
    the number of threads."""
    dy, w, x_shape, more, geometry = problem(case, dtype)
    truth = reference.conv.input_grad(dy.astype(np.float64), w.astype(np.float64), x_shape, geometry)

    def both():
        with fenced_memory():
            return tuple(cpu.conv.input_grad(dy, w, x_shape, geometry, "implicit", add=add) for add in (None, more))
    dx, added = both()
    close(dx, truth, w[:, 0].size)
    close(added, truth + more, w[:, 0].size)
    assert_same_bits_on_any_number_of_threads(both)


def test_the_cases_are_first_layers():
    """Kills: a condition that sends them elsewhere; cases of a single band only."""
    bands = set()
    for case in CASES:
        _, w, x_shape, _, geometry = problem(case, np.float32)
        n = sizes(x_shape, w.shape, geometry)
        assert is_first(n, geometry)
        bands.add(-(-n.H // shape(n, geometry, np.dtype(np.float32))[1]))
    assert bands >= {1, 2, 3}
