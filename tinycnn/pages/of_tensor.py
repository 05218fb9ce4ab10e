"""From a tensor to the page of the operation that made it: its inputs are what that operation saved for its backward pass."""
import numpy as np

from ..kernels.conv import reference
from ..tensor import Tensor
from . import conv, pointwise, pool
from .page import write


def explain(y, dy=None, path="explain.html", x=None):
    """Write a page on which y's operation can be seen forward and backward, and return its path.

    y: the result of a recorded convolution, pool, ReLU or local response normalisation, before backward() has freed what that saved.
    dy: the gradient of y to start from, a tensor or array of its shape; by default y.grad where there is one (retain_grad), else whole numbers from -2 to 2.
    x: the operation's input; needed where the operation does not keep it (ReLU, pools) and it was itself computed.
    """
    if not isinstance(y, Tensor):
        raise TypeError(f"explain: expected a tensor that an operation made, got {type(y).__name__}")
    node = y.grad_fn
    if node is None:
        raise ValueError("explain: this tensor was made by no recorded operation: let its input or weight require gradients, and do not compute it under no_grad()")
    kind = type(node).__name__
    if kind not in PAGES:
        raise ValueError(f"explain: there is no page for {kind}; there are pages for {', '.join(PAGES)}")
    if y.ndim != 4 or y.numel() == 0:
        raise ValueError(f"explain: y has the shape {y.shape}; pages show images, (N, C, H, W), at least one")
    try:
        page = PAGES[kind](node, y, None if x is None else _numbers(x, y.dtype), _gradient(y, dy))
    except RuntimeError as error:
        error.add_note("explain needs what the operation saved: call it before backward(), or use backward(retain_graph=True)")
        raise
    return write(path, page)


def _numbers(value, dtype=None):
    """A tensor of any device, or an array, as a NumPy array."""
    return np.asarray(value.device.to_numpy(value.array) if isinstance(value, Tensor) else value, dtype)


def _gradient(y, dy):
    """dy as an array of y's shape and dtype."""
    if dy is None:
        dy = y.grad if y.grad is not None else np.random.default_rng(0).integers(-2, 3, y.shape)
    dy = _numbers(dy, y.dtype)
    if dy.shape != y.shape:
        raise ValueError(f"explain: dy has the shape {dy.shape}; that of y is {y.shape}")
    return dy


def _input(node, x):
    """The input of an operation that has not kept it."""
    source, _, shape, _ = node.edges[0]
    if x is None and not isinstance(source, Tensor):
        raise ValueError(f"explain: {type(node).__name__} does not keep its input, which {type(source).__name__} computed: give it as x=")
    x = _numbers(source) if x is None else x
    if x.shape != shape:
        raise ValueError(f"explain: x has the shape {x.shape}; the input of y had {shape}")
    return x


def _conv(node, y, _, dy):
    x, w = map(_numbers, node.saved_tensors)
    # The bias is not saved, for the backward does not need it: it is what y has more than the products.
    result = _numbers(y)
    more = (result - reference.forward(x, w, None, node.geometry))[0, :, 0, 0]
    bias = more if np.abs(more).max() > 1e-5 * np.abs(result).max() else None
    return conv.page(x, w, bias, dy, node.geometry, ORIGIN)


def _lrn(node, y, _, dy):
    return pointwise.lrn_page(_numbers(node.saved_tensors[0]), dy, *node.options, ORIGIN)


ORIGIN = " from the tensor that explain() was given"
PAGES = {
    "Conv2d": _conv,
    "MaxPool2d": lambda node, y, x, dy: pool.max_page(_input(node, x), dy, node.window, ORIGIN),
    "AvgPool2d": lambda node, y, x, dy: pool.avg_page(_input(node, x), dy, *node.options, ORIGIN),
    "ReLU": lambda node, y, x, dy: pointwise.relu_page(_input(node, x), dy, ORIGIN),
    "LocalResponseNorm": _lrn,
}
