"""Sliding windows: how many there are, what their taps lie over, and what is said where none fits."""
from itertools import product

import numpy as np
import pytest

from tinycnn.kernels.window import Window, pad, positions, taps


def places(length, size, stride, padding, dilation, ceil_mode):
    """The positions of a window, found by trying: those whose taps all lie within the padded axis; with ceil_mode one more, if it would reach over the end
    but begins inside the axis or its left padding."""
    found = []
    for start in range(-padding, length + 2 * padding + stride, stride):
        fits = start + dilation * (size - 1) < length + padding
        one_more = ceil_mode and found and found[-1] + dilation * (size - 1) < length + padding - 1 and start < length
        if fits or one_more:
            found.append(start)
        else:
            break
    return found


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_positions_are_those_that_one_finds_by_trying(ceil_mode):
    """Every small axis. Kills: rounding the wrong way; padding counted once; dilation times size instead of size - 1; ceil_mode's extra window without its
    condition, or with it where the window fits."""
    tried = 0
    for length, size, stride, dilation in product(range(1, 10), range(1, 5), range(1, 5), range(1, 4)):
        for padding in range(size // 2 + 1):
            expected = len(places(length, size, stride, padding, dilation, ceil_mode))
            if expected:
                assert positions(length, size, stride, padding, dilation, ceil_mode) == expected, (length, size, stride, padding, dilation)
                tried += 1
    assert tried == 616


@pytest.mark.torch
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_positions_are_pytorch_s(ceil_mode):
    """Against its max pooling, on every small axis that it accepts."""
    import torch
    for length in range(1, 10):
        x = torch.zeros(1, 1, length, 20)
        for size, stride, dilation in product(range(1, 5), range(1, 5), range(1, 4)):
            for padding in range(size // 2 + 1):
                if dilation * (size - 1) + 1 <= length + 2 * padding:
                    expected = torch.nn.functional.max_pool2d(x, (size, 1), (stride, 1), (padding, 0), (dilation, 1), ceil_mode).shape[2]
                    assert positions(length, size, stride, padding, dilation, ceil_mode) == expected, (length, size, stride, padding, dilation)


def test_vertical_and_horizontal_are_told_apart():
    """Kills: one axis's size, stride, padding or dilation used for the other's."""
    assert Window((3, 2), (2, 1), (1, 0), (1, 4)).positions((9, 20)) == (5, 16)
    assert Window((3, 2), (2, 1), (1, 0), (1, 4), ceil_mode=True).positions((10, 20)) == (6, 16)


@pytest.mark.parametrize(("length", "size", "padding", "dilation", "text"), [
    (2, 5, 0, 1, r"window of 5 \(dilation 1: 5 wide\) .* input of 2 with padding 0 \(2 wide\)"),
    (4, 3, 1, 3, r"window of 3 \(dilation 3: 7 wide\) .* input of 4 with padding 1 \(6 wide\)"),
])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_a_window_that_does_not_fit_says_so(length, size, padding, dilation, text, ceil_mode):
    """With all the numbers that would have to change. Kills: a negative room that rounds up to one window."""
    with pytest.raises(ValueError, match=text):
        positions(length, size, 9, padding, dilation, ceil_mode)


def test_taps_are_views_of_what_they_touch():
    """On an image that holds its own coordinates. Kills: stride and dilation exchanged; rows for columns; a position too few or too many; a copy instead of a view."""
    image = np.add.outer(100 * np.arange(9), np.arange(11))[None, None]
    window = Window((3, 2), (2, 3), (0, 0), (1, 4))
    P, Q = window.positions((9, 11))
    seen = []
    for r, s, part in taps(image, window, (P, Q)):
        np.testing.assert_array_equal(part[0, 0], [[100 * (2 * p + r) + 3 * q + 4 * s for q in range(Q)] for p in range(P)])
        assert np.shares_memory(part, image)
        seen.append((r, s))
    assert seen == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]


def test_padding_is_zeros_around_height_and_width():
    """Kills: padding the channels; one axis's padding on the other."""
    padded = pad(np.ones((2, 3, 2, 2)), (1, 2))
    assert padded.shape == (2, 3, 4, 6)
    assert padded.sum() == 24 and padded[:, :, 1:3, 2:4].sum() == 24
