"""The two memory orders of an image batch: converting between them, and telling which one an array is in."""
import numpy as np
import pytest

from tinycnn.kernels.layout import empty, from_nhwc, is_channels_last, nchw, nhwc

SHAPES = [(2, 3, 5, 7), (1, 16, 4, 4), (3, 17, 33, 31), (2, 64, 1, 9), (1, 1, 6, 5), (2, 40, 1, 1), (0, 3, 4, 4), (2, 0, 3, 3), (1, 5, 40, 30), (1, 1500, 3, 3)]


def numbers(shape, dtype):
    return np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_conversion_moves_every_element_to_its_place(shape, dtype):
    x = numbers(shape, dtype)
    last = nhwc(x)
    assert last.flags.c_contiguous
    np.testing.assert_array_equal(last, x.transpose(0, 2, 3, 1))
    back = nchw(from_nhwc(last))
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back, x)


def test_what_lies_right_is_not_copied():
    x = numbers((2, 3, 4, 5), "float32")
    assert nchw(x).ctypes.data == x.ctypes.data
    last = nhwc(x)
    assert nhwc(from_nhwc(last)).ctypes.data == last.ctypes.data


def test_other_strides_are_copied_right():
    x = numbers((2, 6, 8, 10), "float32")[:, ::2, 1:7, ::3]
    np.testing.assert_array_equal(nhwc(x), x.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(nchw(x), x)
    last = from_nhwc(nhwc(numbers((2, 6, 8, 10), "float32")))[:, 1:4]  # some channels of a channels-last array
    np.testing.assert_array_equal(nhwc(last), last.transpose(0, 2, 3, 1))
    assert nhwc(last).flags.c_contiguous


def test_which_order():
    x = numbers((2, 3, 4, 5), "float32")
    assert not is_channels_last(x) and is_channels_last(from_nhwc(nhwc(x)))
    assert is_channels_last(x[:, :1].copy()), "a single channel is in both orders"
    assert not is_channels_last(x[0])


def test_a_new_array_takes_the_order_of_another():
    x = numbers((2, 3, 4, 5), "float32")
    assert empty((2, 7, 2, 2), x.dtype, x).flags.c_contiguous
    y = empty((2, 7, 2, 2), x.dtype, from_nhwc(nhwc(x)))
    assert y.shape == (2, 7, 2, 2) and is_channels_last(y) and not y.flags.c_contiguous


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [slice(0, 5), slice(3, 40), slice(17, 33), slice(39, 40)])
def test_some_channels_of_a_channels_last_array(channels, dtype):
    """What a concatenation hands back. Kills: the distance between pixels taken for the number of channels; the end of a pixel."""
    x = from_nhwc(nhwc(numbers((3, 40, 21, 33), dtype)))[:, channels]
    last = nhwc(x)
    assert last.flags.c_contiguous
    np.testing.assert_array_equal(last, x.transpose(0, 2, 3, 1))
    for other in (x[:, :, ::2], x[:, ::-1], x[::2], x[:, :, :, 1:]):
        np.testing.assert_array_equal(nhwc(other), other.transpose(0, 2, 3, 1))
