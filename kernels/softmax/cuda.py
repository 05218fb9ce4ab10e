"""Softmax on the GPU (softmax.cu), along any axis, where the elements lie: nothing is moved to make rows contiguous."""
from ..cuda import empty_like, launch
from ..cuda.block import BLOCK, teams
from ..cuda.memory import around, flat, in_order_of, ordered

SOURCE = "softmax/softmax.cu"


def softmax(x, axis):
    """Positive numbers that sum to 1 along `axis`."""
    return _by_rows("softmax", axis, x)


def log_softmax(x, axis):
    """The logarithm of softmax(x, axis)."""
    return _by_rows("log_softmax", axis, x)


def softmax_backward(dy, y, axis):
    """dx from dy and y = softmax(x, axis)."""
    return _by_rows("softmax_backward", axis, dy, y)


def log_softmax_backward(dy, y, axis):
    """dx from dy and y = log_softmax(x, axis)."""
    return _by_rows("log_softmax_backward", axis, dy, y)


def _by_rows(kernel, axis, *arrays):
    like = ordered(arrays[-1])
    result = empty_like(like)
    before, length, after = around(like, axis)
    if length:
        size, blocks, *_ = teams(before * after, length, after == 1)
        launch(SOURCE, kernel, blocks, BLOCK, *(flat(in_order_of(like, x)) for x in arrays[:-1]), flat(like), flat(result), before * after, length, after, size,
               real=like.dtype)
    return result
