"""Matrix products. For y = a b: da = dy b^T and db = a^T dy."""
import math

from ..autograd import Function
from ..tensor import Tensor
from .common import promoted, sum_to


class MatMul(Function):
    """(..., M, L) @ (..., L, N) -> (..., M, N); batch dimensions broadcast. An operand whose flag is set is given transposed.

    The flags close the operation under differentiation: of y = a b, both gradients are such products, da = dy b^T and db = a^T dy.
    """

    def forward(ctx, a, b, a_turned=False, b_turned=False):
        ctx.save_for_backward(a, b)
        ctx.turned = a_turned, b_turned
        return ctx.kernels.matmul.matmul(turned(a.array) if a_turned else a.array, turned(b.array) if b_turned else b.array)

    def backward(ctx, dy):
        a, b = ctx.saved_tensors
        a_turned, b_turned = ctx.turned
        da = db = None
        if ctx.needs_input_grad[0]:
            da = MatMul.apply(b, dy, b_turned, True) if a_turned else MatMul.apply(dy, b, False, not b_turned)
        if ctx.needs_input_grad[1]:
            db = MatMul.apply(dy, a, True, a_turned) if b_turned else MatMul.apply(a, dy, not a_turned, False)
        return (None if da is None else sum_to(da, a.shape)), (None if db is None else sum_to(db, b.shape)), None, None


def turned(array):
    """The transposed matrices."""
    return array.transpose(*range(array.ndim - 2), -1, -2)


class Linear(Function):
    """y = x w^T + bias, with x (M, I), w (O, I), bias (O,) or None: dx = dy w, dw = dy^T x, dbias = the sum of dy over the rows."""

    def forward(ctx, x, w, bias):
        ctx.save_for_backward(x, w)
        return ctx.kernels.matmul.linear(x.array, w.array, None if bias is None else bias.array)

    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        dx, dw, dbias = ctx.needs_input_grad
        return (MatMul.apply(dy, w) if dx else None,
                MatMul.apply(dy, x, True) if dw else None,
                dy.sum(0) if dbias else None)


def matmul(a, b):
    """The matrix product; batches of matrices broadcast, a 1-D operand is a row (left) or a column (right) and its dimension disappears."""
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        raise TypeError(f"matmul: expected two tensors, got {type(a).__name__} and {type(b).__name__}")
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(f"matmul: shapes {a.shape} and {b.shape}: a number is not a matrix; use *")
    if a.dtype != b.dtype:
        dtype = promoted("matmul", a.dtype, b.dtype)
        a, b = a.to(dtype), b.to(dtype)
    row, column = a.ndim == 1, b.ndim == 1
    left = a.reshape(1, -1) if row else a
    right = b.reshape(-1, 1) if column else b
    if left.shape[-1] != right.shape[-2]:
        raise ValueError(f"matmul: {a.shape} @ {b.shape}: the {left.shape[-1]} columns of the first do not match the {right.shape[-2]} rows of the second")
    y = MatMul.apply(left, right)
    y = y.squeeze(-1) if column else y
    return y.squeeze(-1 if column else -2) if row else y


def linear(x, weight, bias=None):
    """x weight^T + bias: x (..., in_features), weight (out_features, in_features), bias (out_features,) or None -> (..., out_features)."""
    if not isinstance(x, Tensor):
        raise TypeError(f"linear: the input must be a tensor, got {type(x).__name__}")
    if weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(f"linear: the input of shape {x.shape} must end in the {weight.shape[-1]} features of the weight {weight.shape}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"linear: the bias has shape {bias.shape}; for a weight of {weight.shape} it must be {weight.shape[:1]}")
    for name, other in (("weight", weight), ("bias", bias)):
        if other is not None and other.dtype != x.dtype:
            raise TypeError(f"linear: the input is {x.dtype} but the {name} is {other.dtype}; convert one with .to(dtype)")
    if x.ndim == 2:
        return Linear.apply(x, weight, bias)
    return Linear.apply(x.reshape(math.prod(x.shape[:-1]), x.shape[-1]), weight, bias).reshape(*x.shape[:-1], weight.shape[0])
