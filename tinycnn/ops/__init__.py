"""The differentiable operations: in each file, forward and backward of one family next to each other.

Importing this package gives tensors their methods: the two tables below say which function answers to which name or operator.
"""
from ..tensor import Tensor
from . import activation, arithmetic, index, inplace, matmul, reduce, shape, softmax
from .common import operand

METHODS = {
    arithmetic: "add sub mul div pow neg abs exp log sqrt rsqrt square sin cos tanh sigmoid sign floor ceil round clamp maximum minimum floor_divide remainder "
                "eq ne lt le gt ge logical_and logical_or logical_xor logical_not isnan isinf isfinite",
    reduce: "sum mean var std norm prod amax amin argmax argmin max min any all",
    shape: "reshape view_as flatten unflatten squeeze unsqueeze permute transpose t expand expand_as broadcast_to narrow split chunk unbind flip clone contiguous to",
    index: "gather scatter_add index_select masked_fill",
    matmul: "matmul",
    activation: "relu relu_",
    softmax: "softmax log_softmax",
    inplace: "add_ sub_ mul_ div_ pow_ neg_ clamp_ exp_ sqrt_ tanh_ sigmoid_ abs_ copy_ fill_ zero_",
}


def reflected(operation):
    """a - b for b.__rsub__(a)"""
    return lambda b, a: operation(a, b)


def equality(operation):
    """a == b; a tensor is never equal to what is no number, such as None."""
    def compared(a, b):
        try:
            b = operand(b)
        except TypeError:
            return NotImplemented
        return operation(a, b)
    return compared


OPERATORS = {
    "__add__": arithmetic.add, "__radd__": arithmetic.add, "__iadd__": inplace.add_,
    "__sub__": arithmetic.sub, "__rsub__": reflected(arithmetic.sub), "__isub__": inplace.sub_,
    "__mul__": arithmetic.mul, "__rmul__": arithmetic.mul, "__imul__": inplace.mul_,
    "__truediv__": arithmetic.div, "__rtruediv__": reflected(arithmetic.div), "__itruediv__": inplace.div_,
    "__pow__": arithmetic.pow, "__rpow__": reflected(arithmetic.pow), "__ipow__": inplace.pow_,
    "__floordiv__": arithmetic.floor_divide, "__rfloordiv__": reflected(arithmetic.floor_divide),
    "__mod__": arithmetic.remainder, "__rmod__": reflected(arithmetic.remainder),
    "__matmul__": matmul.matmul, "__rmatmul__": reflected(matmul.matmul),
    "__neg__": arithmetic.neg, "__abs__": arithmetic.abs, "__invert__": arithmetic.logical_not,
    "__eq__": equality(arithmetic.eq), "__ne__": equality(arithmetic.ne),
    "__lt__": arithmetic.lt, "__le__": arithmetic.le, "__gt__": arithmetic.gt, "__ge__": arithmetic.ge,
    "__and__": arithmetic.logical_and, "__or__": arithmetic.logical_or, "__xor__": arithmetic.logical_xor,
    "__getitem__": index.getitem, "__setitem__": index.setitem,
}

for module, names in METHODS.items():
    for name in names.split():
        setattr(Tensor, name, getattr(module, name))
for name, operation in OPERATORS.items():
    setattr(Tensor, name, operation)

Tensor.view = shape.reshape
Tensor.T = property(lambda x: x.permute(*range(x.ndim - 1, -1, -1)))
Tensor.mT = property(lambda x: x.transpose(-1, -2))
Tensor.swapaxes = shape.transpose
Tensor.float = lambda x: x.to("float32")
Tensor.double = lambda x: x.to("float64")
Tensor.long = lambda x: x.to("int64")
Tensor.int = lambda x: x.to("int32")
Tensor.bool = lambda x: x.to("bool")
Tensor.type_as = lambda x, other: x.to(other.dtype)
Tensor.cpu = lambda x: x.to(device="cpu")
Tensor.cuda = lambda x: x.to(device="cuda")
