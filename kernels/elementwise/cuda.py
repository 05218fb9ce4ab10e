"""Elementwise arithmetic on the GPU (elementwise.cu): a function is a formula in C, compiled once for each combination of types.

Types are NumPy's (its ufuncs are asked), so Python numbers take the dtype of the array. Where all arrays have one shape and lie alike, contiguous or channels-last,
the kernel `dense` goes through them as they lie; else `general` does, with strides (broadcasting, transposed or sliced views). Numbers travel as arguments of the
kernel: nothing is copied to the device.
"""
import numpy as np

from ..cuda import array_module, blocks, empty, launch, layout, strided
from ..cuda.memory import empty_like, flat, is_channels_last, lies_channels_last

SOURCE = "elementwise/elementwise.cu"
BLOCK, EACH = 256, 4  # as in the source

FORMULAS = {  # function: (what tells the types, formula)
    "add": (np.add, "a + b"), "sub": (np.subtract, "a - b"), "mul": (np.multiply, "a * b"), "div": (np.divide, "a / b"), "neg": (np.negative, "-a"),
    "floor_div": (np.floor_divide, "floor_quotient(a, b)"), "mod": (np.mod, "modulo(a, b)"),
    "exp": (np.exp, "exp(a)"), "log": (np.log, "log(a)"), "sqrt": (np.sqrt, "sqrt(a)"),
    "sin": (np.sin, "sin(a)"), "cos": (np.cos, "cos(a)"), "tanh": (np.tanh, "tanh(a)"),
    "abs": (np.abs, "absolute(a)"), "sign": (np.sign, "sign(a)"), "floor": (np.floor, "floor(a)"), "ceil": (np.ceil, "ceil(a)"), "round": (np.rint, "rint(a)"),
    "maximum": (np.maximum, "larger(a, b)"), "minimum": (np.minimum, "smaller(a, b)"),
    "eq": (np.equal, "a == b"), "ne": (np.not_equal, "a != b"), "lt": (np.less, "a < b"), "le": (np.less_equal, "a <= b"), "gt": (np.greater, "a > b"),
    "ge": (np.greater_equal, "a >= b"),
    "logical_and": (np.logical_and, "(a != 0) && (b != 0)"), "logical_or": (np.logical_or, "(a != 0) || (b != 0)"),
    "logical_xor": (np.logical_xor, "(a != 0) != (b != 0)"), "logical_not": (np.logical_not, "a == 0"),
    "isnan": (np.isnan, "a != a"), "isinf": (np.isinf, "a == a && a - a != 0"), "isfinite": (np.isfinite, "a - a == 0"),
}


def _function(name):
    ufunc, formula = FORMULAS[name]

    def function(*operands):
        given = tuple(x.dtype if hasattr(x, "dtype") else type(x) for x in operands)
        if all(isinstance(dtype, type) for dtype in given):
            raise TypeError(f"{name}: none of the operands is a device array")
        *types, result = ufunc.resolve_dtypes((*given, None))
        return _evaluate(formula, types[0], result, *operands)
    function.__name__ = name
    function.__doc__ = f"y = {formula}"
    return function


(add, sub, mul, div, neg, floor_div, mod, exp, log, sqrt, sin, cos, tanh, abs, sign, floor, ceil, round, maximum, minimum, eq, ne, lt, le, gt, ge,
 logical_and, logical_or, logical_xor, logical_not, isnan, isinf, isfinite) = map(_function, FORMULAS)


def where(condition, a, b):
    """a where condition holds, else b"""
    types = [x.dtype if hasattr(x, "dtype") else x for x in (a, b)]
    dtype = np.result_type(*types)
    return _evaluate("a != 0 ? b : c", dtype, dtype, condition, a, b)


def pow(a, b):
    """a^b. Small whole exponents are products."""
    if isinstance(b, (int, float)) and b == 2:
        return mul(a, a)
    dtype = np.power.resolve_dtypes(tuple(x.dtype if hasattr(x, "dtype") else type(x) for x in (a, b)) + (None,))[0]
    return _evaluate("power(a, b)", dtype, dtype, a, b)


def sigmoid(a):
    """1 / (1 + e^-a)"""
    return _evaluate("sigmoid(a)", a.dtype, a.dtype, a)


def clamp(a, low, high):
    """a, but at least low and at most high; None where there is no bound."""
    dtype = np.result_type(a.dtype, *(bound for bound in (low, high) if bound is not None))
    least, most = (-np.inf, np.inf) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return _evaluate("smaller(larger(a, b), c)", dtype, dtype, a, least if low is None else low, most if high is None else high)


def cast(a, dtype):
    """a in another dtype, as a copy."""
    return _evaluate("a", a.dtype, np.dtype(dtype), a)


def add_(a, b):
    """a += b in a's own memory."""
    _evaluate("a + b", a.dtype, a.dtype, a, b, out=a)


def copy_(a, b):
    """a[...] = b, an array that is broadcast, or a number."""
    _evaluate("a", getattr(b, "dtype", a.dtype), a.dtype, b, out=a)


def copy(a, channels_last=False):
    """a in fresh memory, in logical order or, for (N, C, H, W), with channels innermost."""
    y = _empty(a.shape, a.dtype, channels_last)
    copy_(y, a)
    return y


def reshape(a, shape):
    """The numbers of a in their logical order under another shape: a view if a's strides allow one, else a copy."""
    return a.reshape(shape)


def concatenate(arrays, axis):
    """One after another along `axis`. Channels-last images stay so if all of them are."""
    first = arrays[0]
    shape = (*first.shape[:axis], sum(x.shape[axis] for x in arrays), *first.shape[axis + 1:])
    y = _empty(shape, np.result_type(*(x.dtype for x in arrays)), all(map(is_channels_last, arrays)) and any(map(lies_channels_last, arrays)))
    start = 0
    for x in arrays:
        copy_(y[(slice(None),) * axis + (slice(start, start + x.shape[axis]),)], x)
        start += x.shape[axis]
    return y


# ---- the launch

def _empty(shape, dtype, channels_last):
    if not channels_last:
        return empty(shape, dtype)
    N, C, H, W = shape
    return empty((N, H, W, C), dtype).transpose(0, 3, 1, 2)


def _evaluate(formula, compute, result, *operands, out=None):
    """The formula of up to three operands (device arrays that broadcast, numbers), computed in one dtype and stored as another; in `out`, if given."""
    xp = array_module()
    arrays = [x if isinstance(x, xp.ndarray) else None for x in operands] + [None] * (3 - len(operands))
    numbers = [0 if array is not None else x for array, x in zip(arrays, operands)] + [0] * (3 - len(operands))
    present = [x for x in arrays if x is not None]
    if out is None:
        shape = np.broadcast_shapes(*(x.shape for x in present))
        like = next((x for x in present if x.shape == shape), None)
        out = empty(shape, result) if like is None else empty_like(like, result)
    else:
        arrays = [x if x is None or x is out or not _overlap(xp, x, out) else copy(x) for x in arrays]
        present = [x for x in arrays if x is not None]
    types = {name: out.dtype if x is None else x.dtype for name, x in zip("ABC", arrays)}
    types |= {"T": np.dtype(np.float32) if compute == np.float16 else compute, "Y": out.dtype, "FORMULA": formula}
    if all(x.shape == out.shape for x in present) and (all(x.flags.c_contiguous for x in (out, *present)) or all(map(is_channels_last, (out, *present)))):
        pairs = [part for x, number in zip(arrays, numbers) for part in (x if x is None else flat(x), number)]
        launch(SOURCE, "dense", blocks(out.size, BLOCK * EACH), BLOCK, *pairs, flat(out), out.size, **types)
    else:
        pairs = [part for x, number in zip(arrays, numbers) for part in (x if x is None else strided(x), number)]
        launch(SOURCE, "general", blocks(out.size, BLOCK), BLOCK, layout(out.shape, out, *arrays), *pairs, strided(out), out.size, **types)
    return out


def _overlap(xp, x, out):
    """Whether x and out share memory otherwise than element by element: then x would change while it is read."""
    same = x.shape == out.shape and x.strides == out.strides and x.data.ptr == out.data.ptr
    return not same and xp.may_share_memory(x, out)
