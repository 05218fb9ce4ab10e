"""From a tensor to the page of the operation that made it: its inputs are what that operation saved for its backward pass."""
import numpy as np

from ..kernels.conv import reference
from ..tensor import Tensor
from . import conv
from .page import write


def explain(y, dy=None, path="explain.html"):
    """Write a page on which y's operation can be seen forward and backward, and return its path.

    y: the result of a recorded convolution (conv2d, nn.Conv2d), before backward() has freed what that saved.
    dy: the gradient of y to start from, a tensor or array of its shape; by default y.grad where there is one (retain_grad), else whole numbers from -2 to 2.
    """
    if not isinstance(y, Tensor):
        raise TypeError(f"explain: expected a tensor that an operation made, got {type(y).__name__}")
    if y.grad_fn is None:
        raise ValueError("explain: this tensor was made by no recorded operation: let its input or weight require gradients, and do not compute it under no_grad()")
    kind = type(y.grad_fn).__name__
    if kind not in PAGES:
        raise ValueError(f"explain: there is no page for {kind}; there are pages for {', '.join(PAGES)}")
    try:
        page = PAGES[kind](y, _gradient(y, dy))
    except RuntimeError as error:
        error.add_note("explain needs what the operation saved: call it before backward(), or use backward(retain_graph=True)")
        raise
    return write(path, page)


def _gradient(y, dy):
    """dy as an array of y's shape and dtype."""
    if dy is None:
        dy = y.grad if y.grad is not None else np.random.default_rng(0).integers(-2, 3, y.shape)
    dy = np.asarray(dy.array if isinstance(dy, Tensor) else dy, y.dtype)
    if dy.shape != y.shape:
        raise ValueError(f"explain: dy has the shape {dy.shape}; that of y is {y.shape}")
    return dy


def _conv(y, dy):
    x, w = (tensor.array for tensor in y.grad_fn.saved_tensors)
    geometry = y.grad_fn.geometry
    # The bias is not saved, for the backward does not need it: it is what y has more than the products.
    more = (y.array - reference.forward(x, w, None, geometry))[0, :, 0, 0]
    bias = more if np.abs(more).max() > 1e-5 * np.abs(y.array).max() else None
    return conv.page(x, w, bias, dy, geometry, origin=" from the tensor that explain() was given")


PAGES = {"Conv2d": _conv}
