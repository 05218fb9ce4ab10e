"""Where a kernel that works channels-last reads and writes: arrays (N, C, H, W) as flat memory, which may be some channels of a larger array."""
import numpy as np

from ..layout import nhwc
from ..matmul.cpu import Memory
from ..memory import empty_channels_last, flat


def target(out, shape, dtype):
    """(y, memory, start, pixel): the array y (N, K, P, Q), the flat memory that it is in, where in it y begins, and the elements from pixel to pixel."""
    N, K, P, Q = shape
    if out is None:
        y = empty_channels_last(shape, dtype)
        return y, flat(y), 0, K
    if out.size == 0:
        return out, np.empty(0, dtype), 0, K
    pixel = out.strides[3] // out.itemsize if Q > 1 else out.strides[2] // out.itemsize if P > 1 else out.strides[0] // out.itemsize if N > 1 else K
    wanted = tuple(step * out.itemsize for step in (P * Q * pixel, 1, Q * pixel, pixel))
    if out.shape != shape or any(s != w for s, w, length in zip(out.strides, wanted, shape) if length > 1):
        raise ValueError(f"convolution: out must be some channels of a channels-last array, of shape {shape}; it has shape {out.shape}, strides {out.strides}")
    return out, np.asarray(Memory(out, (N * P * Q - 1) * pixel + K)), 0, pixel


def source(x, pixel=None):
    """The memory of x (N, C, H, W), flat: channels-last (converted if need be), or as it is if its pixels are known to be `pixel` elements apart."""
    if pixel is None:
        return nhwc(x).reshape(-1)
    N, C, H, W = x.shape
    return np.asarray(Memory(x, (N * H * W - 1) * pixel + C))
