"""In-place operations: compute the result, put it into the tensor's own memory, and continue its history from there.

One rule serves all: `x.mul_(y)` is x <- x * y. The product is an ordinary recorded operation; `Assign` then writes it into x, whose history from now on is that of
the product. The version counter tells everybody who saved the old x that it is gone.
"""
from ..autograd import Function, is_grad_enabled
from ..tensor import Tensor
from . import arithmetic
from .common import operand, sum_to


class Assign(Function):
    """x[...] = value: the gradient goes to the value; x's former history ends."""

    def forward(ctx, x, value):
        ctx.shape = value.shape
        ctx.mark_dirty(x)
        ctx.kernels.elementwise.copy_(x.array, value.array)
        return x

    def backward(ctx, dy):
        return None, sum_to(dy, ctx.shape)


def assign(x, value):
    """x <- value, which must fit into x's shape and be of x's dtype."""
    if value.shape != x.shape:
        raise ValueError(f"in-place operation: a result of shape {value.shape} does not fit the tensor of shape {x.shape}")
    if value.dtype != x.dtype:
        raise TypeError(f"in-place operation: a result of {value.dtype} cannot be stored in a tensor of {x.dtype}")
    Assign.apply(x, value)
    return x


def in_place(name):
    """The in-place form of an elementwise operation."""
    def operation(x, *args, **options):
        recorded = is_grad_enabled() and any(isinstance(arg, Tensor) and arg.requires_grad for arg in (x, *args))
        before = x.clone() if recorded else x  # the backward may need what x was
        return assign(x, getattr(arithmetic, name)(before, *args, **options))
    operation.__name__ = f"{name}_"
    operation.__doc__ = f"x <- {name}(x, ...), in x's own memory."
    return operation


add_, sub_, mul_, div_, pow_, neg_, clamp_, exp_, sqrt_, tanh_, sigmoid_, abs_ = (
    in_place(name) for name in ("add", "sub", "mul", "div", "pow", "neg", "clamp", "exp", "sqrt", "tanh", "sigmoid", "abs"))


def copy_(x, source):
    """x <- source, broadcast, converted to x's dtype and brought to its device."""
    source = source if isinstance(source, Tensor) else Tensor(x.device.xp.asarray(source), x.device)
    source = source.to(dtype=x.dtype, device=x.device)
    try:
        source = source if source.shape == x.shape else source.expand(x.shape)
    except ValueError:
        raise ValueError(f"copy_: {source.shape} does not fit into {x.shape}") from None
    Assign.apply(x, source)
    return x


def fill_(x, value):
    """x <- value everywhere."""
    value = operand(value)
    return copy_(x, value if isinstance(value, Tensor) else Tensor(x.device.xp.full((), value, x.dtype), x.device))


def zero_(x):
    """x <- 0"""
    return fill_(x, 0)
