"""The weight gradient of 1x1 filters, where its ways part: operands read in place or packed, one split or several, chunks, parts for threads, leftovers."""
from itertools import pairwise

import numpy as np
import pytest
from conv_cases import fenced_memory
from tolerance import close

from tinycnn.kernels import backend, runtime
from tinycnn.kernels.conv.geometry import Geometry
from tinycnn.kernels.conv.pointwise_weights import cut, weight_share
from tinycnn.kernels.conv.sizes import sizes
from tinycnn.kernels.layout import from_nhwc

cpu, reference = backend("cpu"), backend("reference")
#   (N, C, H, W), K, stride, groups
CASES = {
    "in place": ((2, 48, 5, 7), 24, (1, 1), 1),
    "leftover pixels, filters, channels": ((3, 37, 7, 11), 29, (1, 1), 1),
    "a vector of channels": ((2, 16, 9, 9), 8, (1, 1), 1),
    "rows a page apart": ((1, 1024, 3, 5), 1024, (1, 1), 1),
    "chunks": ((1, 1100, 2, 3), 600, (1, 1), 1),
    "splits": ((5, 33, 30, 31), 17, (1, 1), 1),
    "strided": ((3, 40, 9, 14), 24, (2, 3), 1),
    "strided, a row": ((2, 32, 7, 1), 16, (3, 2), 1),
    "groups": ((2, 96, 8, 7), 48, (1, 1), 3),
    "groups, strided, splits": ((9, 20, 65, 33), 12, (2, 1), 2),
    "one weight": ((2, 1, 13, 13), 1, (1, 1), 1),
}


def problem(case, dtype):
    """(x, dy, shape of w, Geometry), channels-last."""
    (N, C, H, W), K, stride, groups = CASES[case]
    geometry, rng = Geometry(stride, (0, 0), (1, 1), groups), np.random.default_rng(0)
    P, Q = geometry.output_size((H, W), (1, 1))
    x, dy = (from_nhwc(rng.standard_normal(shape).astype(dtype)) for shape in ((N, H, W, C), (N, P, Q, K)))
    return x, dy, (K, C // groups, 1, 1), geometry


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_against_reference_on_one_thread_and_several(case, dtype):
    """Kills: slices or panels of the wrong width; leftover filters that overwrite others; pixels that a stride leaves out; blocks, chunks, parts or splits
    dropped or taken twice; writes behind scratch memory; bits that depend on how weights are cut for threads."""
    x, dy, shape, geometry = problem(case, dtype)
    truth = reference.conv.weight_grad(dy.astype(np.float64), x.astype(np.float64), shape, geometry)
    most, answers = runtime.get_num_threads(), []
    try:
        for threads in (1, most):
            runtime.set_num_threads(threads)
            with fenced_memory():
                answers.append(cpu.conv.weight_grad(dy, x, shape, geometry, "implicit"))
    finally:
        runtime.set_num_threads(most)
    close(answers[0], truth, dy[:, 0].size)
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])


def test_the_cases_are_what_they_are_called():
    """Each way is taken by some case, here and on a machine with more threads. Kills: a condition that sends everything one way."""
    shares = []
    for case in CASES:
        x, _, shape, geometry = problem(case, np.float32)
        shares += [weight_share(sizes(x.shape, shape, geometry), geometry, 4, threads) for threads in (1, 2, 7)]
    for seen in ({share.x_in_place for share in shares}, {share.dy_in_place for share in shares}, {share.asks for share in shares}):
        assert seen == {False, True}
    assert {share.splits for share in shares} >= {1, 4, 8} and {share.down for share in shares} >= {1, 2} and {share.across for share in shares} >= {1, 2}
    assert any(share.filters < share.K // share.down for share in shares) and any(share.channels < share.C // share.across for share in shares)


@pytest.mark.parametrize("threads", [3, 7, 64])
def test_parts_cover_all_weights_once(threads):
    """Kills: parts that overlap or leave a gap; more parts than there are weights for."""
    for case in CASES:
        x, _, shape, geometry = problem(case, np.float32)
        share = weight_share(sizes(x.shape, shape, geometry), geometry, 4, threads)
        for length, unit, parts, chunk in ((share.K, 8, share.down, share.filters), (share.C, 32, share.across, share.channels)):
            ends = [cut.py_func(length, unit, parts, i) for i in range(parts)]
            assert ends[0][0] == 0 and ends[-1][1] == length and all(end == begin for (_, end), (begin, _) in pairwise(ends))
            assert all(begin < end for begin, end in ends)
            assert chunk % unit == 0
