"""Elementwise arithmetic. Operands broadcast; the backward of broadcasting is a sum over what was copied (`sum_to`)."""
from ..autograd import Function
from ..tensor import Tensor, full
from .common import floating, operand, operands, sum_to


def array(value):
    """What a kernel takes: the array of a tensor, a Python number as it is."""
    return value.array if isinstance(value, Tensor) else value


def shape(value):
    return value.array.shape if isinstance(value, Tensor) else ()


class Add(Function):
    def forward(ctx, a, b):
        ctx.shapes = shape(a), shape(b)
        return ctx.kernels.elementwise.add(array(a), array(b))

    def backward(ctx, dy):
        da, db = ctx.needs_input_grad
        return sum_to(dy, ctx.shapes[0]) if da else None, sum_to(dy, ctx.shapes[1]) if db else None


class Sub(Function):
    def forward(ctx, a, b):
        ctx.shapes = shape(a), shape(b)
        return ctx.kernels.elementwise.sub(array(a), array(b))

    def backward(ctx, dy):
        da, db = ctx.needs_input_grad
        return sum_to(dy, ctx.shapes[0]) if da else None, sum_to(-dy, ctx.shapes[1]) if db else None


class Binary(Function):
    """A function of two operands whose backward needs them; either may be a Python number, which is kept as it is."""

    def keep(ctx, a, b, keep_a, keep_b):
        """Save the operands that the backward will ask for, and only those: what is not saved may be freed, or changed in place."""
        ctx.shapes = shape(a), shape(b)
        a_is_tensor, b_is_tensor = isinstance(a, Tensor), isinstance(b, Tensor)
        ctx.numbers = None if a_is_tensor else a, None if b_is_tensor else b
        ctx.save_for_backward(a if keep_a and a_is_tensor else None, b if keep_b and b_is_tensor else None)

    def kept(ctx):
        (a, b), numbers = ctx.saved_tensors, ctx.numbers
        return numbers[0] if a is None else a, numbers[1] if b is None else b


class Mul(Binary):
    def forward(ctx, a, b):
        da, db = ctx.needs_input_grad
        ctx.keep(a, b, keep_a=db, keep_b=da)
        return ctx.kernels.elementwise.mul(array(a), array(b))

    def backward(ctx, dy):
        a, b = ctx.kept()
        da, db = ctx.needs_input_grad
        return sum_to(dy * b, ctx.shapes[0]) if da else None, sum_to(dy * a, ctx.shapes[1]) if db else None


class Div(Binary):
    def forward(ctx, a, b):
        ctx.keep(a, b, keep_a=ctx.needs_input_grad[1], keep_b=True)
        return ctx.kernels.elementwise.div(array(a), array(b))

    def backward(ctx, dy):
        a, b = ctx.kept()
        da, db = ctx.needs_input_grad
        return sum_to(dy / b, ctx.shapes[0]) if da else None, sum_to(-dy * a / (b * b), ctx.shapes[1]) if db else None


class Pow(Binary):
    """a^b; d/da = b a^(b-1), d/db = a^b log a (0 where a is 0 and b >= 0, as in PyTorch)."""

    def forward(ctx, a, b):
        ctx.keep(a, b, keep_a=True, keep_b=True)
        return ctx.kernels.elementwise.pow(array(a), array(b))

    def backward(ctx, dy):
        a, b = ctx.kept()
        da = db = None
        if ctx.needs_input_grad[0]:
            if isinstance(b, Tensor):
                da = sum_to(dy * where(b == 0, 0.0, b * pow(a, b - 1)), a.shape)
            else:
                da = dy * 0 if b == 0 else dy * b if b == 1 else dy * (a * 2) if b == 2 else dy * (pow(a, b - 1) * b)
        if ctx.needs_input_grad[1]:
            base = a if isinstance(a, Tensor) else b * 0 + a
            db = sum_to(dy * where((base == 0) & (b >= 0), 0.0, pow(base, b) * log(where(base == 0, 1.0, base))), b.shape)
        return da, db


class Choose(Function):
    """max or min of two: the gradient goes to the chosen one, halved where both are equal (as in PyTorch)."""

    def forward(ctx, a, b, larger):
        kernel = ctx.kernels.elementwise.maximum if larger else ctx.kernels.elementwise.minimum
        ctx.larger = larger
        ctx.save_for_backward(a, b)
        return kernel(a.array, b.array)

    @staticmethod
    def branch(args, outputs):
        return args[0] > args[1]

    def backward(ctx, dy):
        a, b = ctx.saved_tensors
        a_wins, equal = (a > b if ctx.larger else a < b).to(dy.dtype), (a == b).to(dy.dtype) * 0.5
        share = a_wins + equal
        return sum_to(dy * share, a.shape), sum_to(dy * (1 - share), b.shape), None


class Where(Function):
    def forward(ctx, condition, a, b):
        ctx.save_for_backward(condition)
        ctx.shapes = shape(a), shape(b)
        return ctx.kernels.elementwise.where(condition.array, array(a), array(b))

    def backward(ctx, dy):
        condition, = ctx.saved_tensors
        _, da, db = ctx.needs_input_grad
        return (None, sum_to(where(condition, dy, 0.0), ctx.shapes[0]) if da else None,
                sum_to(where(condition, 0.0, dy), ctx.shapes[1]) if db else None)


class Clamp(Function):
    """The gradient passes where the value was within the bounds, bounds included."""

    def forward(ctx, x, low, high):
        ctx.save_for_backward(x)
        ctx.bounds = low, high
        return ctx.kernels.elementwise.clamp(x.array, low, high)

    @staticmethod
    def branch(args, outputs):
        x, low, high = args
        return (0 if low is None else (x > low).astype(int)) + (0 if high is None else x > high)

    def backward(ctx, dy):
        x, = ctx.saved_tensors
        low, high = ctx.bounds
        inside = (x == x) if low is None else (x >= low)
        return where(inside if high is None else inside & (x <= high), dy, 0.0), None, None


class Neg(Function):
    def forward(ctx, x):
        return ctx.kernels.elementwise.neg(x.array)

    def backward(ctx, dy):
        return -dy


class Abs(Function):
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.kernels.elementwise.abs(x.array)

    @staticmethod
    def branch(args, outputs):
        return args[0] > 0

    def backward(ctx, dy):
        x, = ctx.saved_tensors
        return dy * x.sign()


class OfOutput(Function):
    """A function whose derivative is simplest in terms of its own result y."""

    kernel = None

    def forward(ctx, x):
        y = Tensor(getattr(ctx.kernels.elementwise, ctx.kernel)(x.array), x.device)
        ctx.save_for_backward(y)
        return y


class Exp(OfOutput):
    kernel = "exp"

    def backward(ctx, dy):
        y, = ctx.saved_tensors
        return dy * y


class Sqrt(OfOutput):
    kernel = "sqrt"

    def backward(ctx, dy):
        y, = ctx.saved_tensors
        return dy / (y * 2)


class Tanh(OfOutput):
    kernel = "tanh"

    def backward(ctx, dy):
        y, = ctx.saved_tensors
        return dy * (1 - y * y)


class Sigmoid(OfOutput):
    kernel = "sigmoid"

    def backward(ctx, dy):
        y, = ctx.saved_tensors
        return dy * (y * (1 - y))


class Log(Function):
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.kernels.elementwise.log(x.array)

    def backward(ctx, dy):
        x, = ctx.saved_tensors
        return dy / x


class Sin(Function):
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.kernels.elementwise.sin(x.array)

    def backward(ctx, dy):
        x, = ctx.saved_tensors
        return dy * cos(x)


class Cos(Function):
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.kernels.elementwise.cos(x.array)

    def backward(ctx, dy):
        x, = ctx.saved_tensors
        return -dy * sin(x)


class Step(Function):
    """A function that is constant almost everywhere: its gradient is zero."""

    def forward(ctx, x, kernel):
        return getattr(ctx.kernels.elementwise, kernel)(x.array)

    @staticmethod
    def branch(args, outputs):
        return outputs[0]

    def backward(ctx, dy):
        return dy * 0, None


class Predicate(Function):
    """A question with a boolean answer: no gradient."""

    def forward(ctx, kernel, *args):
        return getattr(ctx.kernels.elementwise, kernel)(*(array(arg) for arg in args))

    @staticmethod
    def branch(args, outputs):
        return outputs[0]  # conditions of `where`, masks


# ---- the functions, with PyTorch's names and signatures

def add(a, b, *, alpha=1):
    """a + alpha * b"""
    a, b = operands("add", a, b)
    return Add.apply(a, b if alpha == 1 else b * alpha)


def sub(a, b, *, alpha=1):
    """a - alpha * b"""
    a, b = operands("sub", a, b)
    return Sub.apply(a, b if alpha == 1 else b * alpha)


def mul(a, b):
    """a * b"""
    return Mul.apply(*operands("mul", a, b))


def div(a, b):
    """a / b; integers divide to float32."""
    a, b = operands("div", a, b)
    if not any(isinstance(x, Tensor) and x.is_floating for x in (a, b)):
        a, b = (x.float() if isinstance(x, Tensor) else x for x in (a, b))
    return Div.apply(a, b)


def floor_divide(a, b):
    """a // b, rounded down. No gradient."""
    return Predicate.apply("floor_div", *operands("floor_divide", a, b))


def remainder(a, b):
    """a % b, with the sign of b. No gradient."""
    return Predicate.apply("mod", *operands("remainder", a, b))


def pow(a, b):
    """a ** b"""
    a, b = operands("pow", a, b)
    return Pow.apply(a, b)


def maximum(a, b):
    """The larger of a and b, element by element."""
    a, b = operands("maximum", a, b)
    return Choose.apply(_tensor(a, b), _tensor(b, a), True)


def minimum(a, b):
    """The smaller of a and b, element by element."""
    a, b = operands("minimum", a, b)
    return Choose.apply(_tensor(a, b), _tensor(b, a), False)


def _tensor(value, like):
    return value if isinstance(value, Tensor) else full((), value, like.dtype, like.device)


def where(condition, a, b):
    """a where condition holds, else b."""
    if condition.dtype.kind != "b":
        raise TypeError(f"where: the condition must be boolean, it is {condition.dtype}; compare it with something")
    a, b = operand(a), operand(b)
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        a, b = operands("where", a, b)
        a, b = _tensor(a, b), _tensor(b, a)
    else:
        a = full((), a, device=condition.device)
        b = full((), b, a.dtype, a.device)
    return Where.apply(condition, a, b)


def clamp(x, min=None, max=None):
    """x, but not below min nor above max (Python numbers or None)."""
    if min is None and max is None:
        raise ValueError("clamp: at least one of min and max is needed")
    for bound in (min, max):
        x = x if bound is None else operands("clamp", x, bound)[0]  # integers with a bound that is none become float32
    return Clamp.apply(x, min, max)


def neg(x):
    return Neg.apply(x)


def abs(x):
    return Abs.apply(x)


def exp(x):
    return Exp.apply(floating("exp", x))


def log(x):
    return Log.apply(floating("log", x))


def sqrt(x):
    return Sqrt.apply(floating("sqrt", x))


def rsqrt(x):
    return 1 / sqrt(x)


def square(x):
    return pow(x, 2)


def sin(x):
    return Sin.apply(floating("sin", x))


def cos(x):
    return Cos.apply(floating("cos", x))


def tanh(x):
    return Tanh.apply(floating("tanh", x))


def sigmoid(x):
    """1 / (1 + e^-x)"""
    return Sigmoid.apply(floating("sigmoid", x))


def sign(x):
    return Step.apply(x, "sign")


def floor(x):
    return Step.apply(x, "floor")


def ceil(x):
    return Step.apply(x, "ceil")


def round(x):
    return Step.apply(x, "round")


def compare(kernel):
    """A comparison, as a function of two operands."""
    def comparison(a, b):
        return Predicate.apply(kernel, *operands(kernel, a, b))
    comparison.__name__ = kernel
    return comparison


eq, ne, lt, le, gt, ge = (compare(kernel) for kernel in ("eq", "ne", "lt", "le", "gt", "ge"))
logical_and, logical_or, logical_xor = (compare(kernel) for kernel in ("logical_and", "logical_or", "logical_xor"))


def logical_not(x):
    return Predicate.apply("logical_not", x)


def isnan(x):
    return Predicate.apply("isnan", x)


def isinf(x):
    return Predicate.apply("isinf", x)


def isfinite(x):
    return Predicate.apply("isfinite", x)
