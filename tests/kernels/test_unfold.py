"""Unfolding and folding against the reference, and the reference against PyTorch and against what makes folding the adjoint of unfolding."""
from pathlib import Path

import numpy as np
import pytest
from conv_cases import CASES, count_up, draw, poisoned_memory
from tolerance import close

from tinycnn.kernels import backend, runtime
from tinycnn.kernels.unfold import reference
from tinycnn.kernels.window import Window

cpu = backend("cpu").unfold
VECTORS = np.load(Path(__file__).parents[1] / "vectors" / "conv.npz")
WITH_IMAGES = [case for case in CASES if CASES[case][0][0]]


def window_of(case):
    _, w_shape, geometry = CASES[case]
    return geometry.window(w_shape[2:])


@pytest.mark.parametrize("case", WITH_IMAGES)
def test_reference_against_stored_pytorch_vectors(case):
    """On whole numbers, exactly. Kills: rows ordered taps first; stride and dilation exchanged; folding that overwrites where windows overlap; a column from beyond
    the image that is not zero."""
    x = count_up(case)
    columns = reference.im2col(x, window_of(case))
    np.testing.assert_array_equal(columns, VECTORS[f"{case} / columns"])
    np.testing.assert_array_equal(reference.col2im(columns, x.shape, window_of(case)), VECTORS[f"{case} / folded"])


@pytest.mark.parametrize("case", CASES)
def test_folding_is_the_adjoint_of_unfolding(case):
    """<unfold(x), u> = <x, fold(u)>. Kills: folding that drops a tap at the border or leftover rows."""
    x = draw(case)[0]
    columns = reference.im2col(x, window_of(case))
    other = np.random.default_rng(1).standard_normal(columns.shape)
    close(np.sum(columns * other), np.sum(x * reference.col2im(other, x.shape, window_of(case))), columns.size)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_cpu_against_reference(case, dtype):
    """Both directions, exactly where nothing is added. Kills: a run that begins or ends one element off; the tail of a vector written over the next row; padding
    left unwritten; a tap's row taken for a column's."""
    x = draw(case, dtype)[0]
    columns = reference.im2col(x, window_of(case))
    with poisoned_memory():
        unfolded, folded = cpu.im2col(x, window_of(case)), cpu.col2im(columns, x.shape, window_of(case))
    np.testing.assert_array_equal(unfolded, columns)
    close(folded, reference.col2im(columns, x.shape, window_of(case)), columns.size // max(x.size, 1))
    assert unfolded.dtype == folded.dtype == dtype


def test_rows_longer_than_a_vector():
    """Runs of whole vectors and a tail, at every alignment, with and without padding and stride. Kills: a tail as long as a vector; the second vector of a run
    read where the first one was."""
    for width in range(15, 36, 4):
        x = np.random.default_rng(width).standard_normal((1, 2, 3, width)).astype(np.float32)
        for window in (Window((2, 3), padding=(0, 1)), Window((3, 2), padding=(1, 0)), Window((2, 2), (1, 2), (1, 9), (2, 8))):
            columns = reference.im2col(x, window)
            np.testing.assert_array_equal(cpu.im2col(x, window), columns)
            close(cpu.col2im(columns, x.shape, window), reference.col2im(columns, x.shape, window), 9)


@pytest.mark.parametrize("implementation", [reference, cpu])
def test_inputs_of_any_layout(implementation):
    """Transposed, reversed and channels-last arrays. Kills: strides taken for those of a C-contiguous array."""
    x = np.random.default_rng(0).standard_normal((2, 6, 8, 3)).astype(np.float32)
    window = Window((3, 2), (2, 1), (1, 1))
    for view in (x.transpose(0, 3, 1, 2), x[::-1, :, ::2], np.asfortranarray(x)):
        np.testing.assert_array_equal(implementation.im2col(view, window), reference.im2col(np.ascontiguousarray(view), window))
        columns = reference.im2col(view, window)
        expected = reference.col2im(columns, view.shape, window)
        close(implementation.col2im(np.asfortranarray(columns), view.shape, window), expected, 6)


def test_the_same_bits_on_any_number_of_threads():
    """Kills: two threads that fold into the same element."""
    x = np.random.default_rng(0).standard_normal((2, 3, 9, 40)).astype(np.float32)
    window = Window((3, 3), (1, 1), (1, 1))
    columns = np.random.default_rng(1).standard_normal((2, 27, 360)).astype(np.float32)
    threads, answers = runtime.get_num_threads(), []
    try:
        for n in {1, threads}:
            runtime.set_num_threads(n)
            answers.append((cpu.im2col(x, window), cpu.col2im(columns, x.shape, window)))
    finally:
        runtime.set_num_threads(threads)
    for answer in answers[1:]:
        np.testing.assert_array_equal(answers[0][0], answer[0])
        np.testing.assert_array_equal(answers[0][1], answer[1])


@pytest.mark.parametrize("implementation", [reference, cpu])
def test_a_window_that_does_not_fit_says_so(implementation):
    """Kills: an empty or negative number of positions passed on."""
    with pytest.raises(ValueError, match="window of 5 .* input of 3"):
        implementation.im2col(np.zeros((1, 1, 3, 9)), Window((5, 2)))


@pytest.mark.torch
@pytest.mark.parametrize("case", WITH_IMAGES)
def test_live_pytorch(case):
    """The stored vectors are not stale."""
    import torch
    from torch.nn.functional import unfold
    window = window_of(case)
    columns = unfold(torch.tensor(count_up(case)), window.size, window.dilation, window.padding, window.stride).numpy()
    np.testing.assert_array_equal(columns, VECTORS[f"{case} / columns"])
