"""Memory for the results of kernels. The array module allocates and copies; all arithmetic is in kernels."""
from functools import lru_cache
from math import prod

from .backend import array_module


def empty(shape, dtype):
    """A new array, C-contiguous, whose elements are not set."""
    return array_module().empty(shape, dtype)


def empty_like(x, dtype=None):
    """A new array of x's shape, in x's order: channels-last images stay so. Not set."""
    dtype = x.dtype if dtype is None else dtype
    if lies_channels_last(x):
        N, C, H, W = x.shape
        return array_module().empty((N, H, W, C), dtype).transpose(0, 3, 1, 2)
    return array_module().empty(x.shape, dtype)


def empty_images(shape, dtype, like):
    """A new array (N, C, H, W) in the order of the images `like`: channels-last if they are, else contiguous. Not set."""
    N, C, H, W = shape
    if not lies_channels_last(like):
        return empty(shape, dtype)
    return empty((N, H, W, C), dtype).transpose(0, 3, 1, 2)


def from_host(array):
    """A device array with the elements of a NumPy array. Refused while a graph is captured (graph.py), which would copy again later, from whatever is there then."""
    xp = array_module()
    if xp.cuda.get_current_stream().is_capturing():
        raise RuntimeError(f"an array of the host, of shape {array.shape}, cannot be copied to the device while launches are captured")
    return xp.asarray(array)


def keep(*arrays):
    """Keep arrays, whose addresses a kernel was given in a struct, until it has run. CuPy's memory need not be kept: it goes to whoever comes later in the stream."""
    hold = getattr(array_module(), "hold", None)
    if hold is not None:
        hold(*arrays)


def contiguous(x):
    """x itself if it is C-contiguous, else a copy that is."""
    return x if x.flags.c_contiguous else x.copy()


def is_channels_last(x):
    """Whether x (N, C, H, W) lies channels-last (see kernels/layout.py). Also true of an array that is in both orders."""
    return x.ndim == 4 and _in_order(x.shape, x.strides, x.itemsize, (0, 2, 3, 1))


def lies_channels_last(x):
    """Whether x lies channels-last and not contiguously."""
    return is_channels_last(x) and not _in_order(x.shape, x.strides, x.itemsize, (0, 1, 2, 3))


@lru_cache(maxsize=4096)
def _in_order(shape, strides, itemsize, axes):
    """Whether elements lie one after another when the axes are gone through in this order, the last the fastest. (As x.transpose(axes).flags.c_contiguous says.)"""
    if 0 in shape:
        return True
    expected = itemsize
    for axis in reversed(axes):
        if shape[axis] != 1 and strides[axis] != expected:
            return False
        expected *= shape[axis]
    return True


def ordered(x):
    """x itself if it lies in one of the two orders, contiguous or channels-last; else a contiguous copy."""
    return x if lies_channels_last(x) else contiguous(x)


def flat(x):
    """The elements of x, which lies in one of the two orders, as they lie: x itself, or a view that is contiguous."""
    return x.transpose(0, 2, 3, 1) if lies_channels_last(x) else x


def in_order_of(x, dy):
    """dy lying as x does, which lies in one of the two orders; dy itself if it does."""
    if not lies_channels_last(x):
        return contiguous(dy)
    return dy if is_channels_last(dy) else dy.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)


def around(x, axis):
    """(before, length, after): the axis of x, which lies in one of the two orders, and how many elements lie around it. Element i of the axis is element
    (b * length + i) * after + a of `flat(x)`, for b < before and a < after."""
    shape, axis = x.shape, axis % x.ndim
    if lies_channels_last(x):
        shape, axis = (shape[0], *shape[2:], shape[1]), (0, 3, 1, 2)[axis]
    return prod(shape[:axis]), shape[axis], prod(shape[axis + 1:])
