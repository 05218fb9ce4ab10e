"""Vectors for Numba: a value of as many float32 or float64 as one register of this machine holds, and the instructions on it.

Left to itself, LLVM keeps the sums of a matrix product in memory and reaches a quarter of what the machine can do (docs/simd.md has figures). With the
vectors named, a kernel is still plain Python and the compiler has nothing left to guess:

    total = zero(x)                                     # a vector of zeros, of x's dtype
    for i in range(0, x.size, lanes(x)):
        total = fma(load(x, i), load(w, i), total)      # 16 products and sums in one instruction

Arrays are flat (1-D, C-contiguous), offsets count elements, and nothing is checked: the caller's loop has to stay inside. Any width works on any machine,
LLVM splits what is wider than its registers; the answers are those of the same operations on scalars.

Each function below is a Numba intrinsic: it gets the types of its arguments and returns its signature and a function that emits the LLVM instruction.
"""
import os

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LLVM_ELEMENT = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}
INDEX = ir.IntType(32)


def width_and_registers():
    """(float32 lanes of a vector register, number of such registers) of this machine, or as TINYCNN_SIMD_WIDTH has it."""
    try:
        has = llvmlite.binding.get_host_cpu_features()
    except RuntimeError:  # unknown to LLVM: four lanes, as every 64-bit processor has
        has = {}
    many = has.get("avx512vl") or has.get("neon")
    asked = os.environ.get("TINYCNN_SIMD_WIDTH")
    if asked not in (None, "1", "4", "8", "16"):
        raise ValueError(f"TINYCNN_SIMD_WIDTH is {asked!r}: it is the number of float32 in a vector, 1, 4, 8 or 16")
    return int(asked or (16 if has.get("avx512vl") else 8 if has.get("avx2") else 4)), 32 if many else 16


WIDTH, REGISTERS = width_and_registers()


class Vector(types.Type):
    """The type of a vector; `element` is types.float32 or types.float64. Half as many float64 as float32."""

    def __init__(self, element):
        self.element = element
        self.lanes = WIDTH if element == types.float32 else max(1, WIDTH // 2)
        self.llvm = ir.VectorType(LLVM_ELEMENT[element], self.lanes)
        super().__init__(f"vector({self.lanes} x {element})")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """To LLVM a Vector is a <16 x float>, or whatever this machine's is."""

    def __init__(self, manager, vector):
        super().__init__(manager, vector, vector.llvm)


# ------------------------------------------------------------------------------------------------------------------ emitting LLVM instructions


def pointer(context, builder, array_type, array, offset, to):
    """The address of the element at flat `offset`, as a pointer to `to`."""
    data = cgutils.create_struct_proxy(array_type)(context, builder, value=array).data
    return builder.bitcast(builder.gep(data, [offset]), to.as_pointer())


def emit_load(builder, address, element):
    value = builder.load(address)
    value.align = element.bitwidth // 8  # that of one element: vectors may begin anywhere
    return value


def emit_store(builder, value, address, element):
    builder.store(value, address).align = element.bitwidth // 8


def emit_splat(builder, scalar, vector):
    nothing = ir.Constant(vector.llvm, ir.Undefined)
    first = builder.insert_element(nothing, scalar, INDEX(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(INDEX, vector.lanes), [0] * vector.lanes))


def emit_call(builder, name, result, arguments):
    """Call the LLVM intrinsic `name`, declared from the types of its arguments."""
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, [argument.type for argument in arguments]), name)
    return builder.call(function, arguments)


def emit_fma(builder, a, b, c, vector):
    # fmuladd: one instruction where the machine has it, else a product and a sum (llvm.fma would call the C library for each element)
    return emit_call(builder, f"llvm.fmuladd.v{vector.lanes}f{vector.element.bitwidth}", vector.llvm, [a, b, c])


def emit_mask(builder, count, vector):
    """Lane i is true where i < count."""
    index = ir.Constant(ir.VectorType(INDEX, vector.lanes), list(range(vector.lanes)))
    nothing = ir.Constant(index.type, ir.Undefined)
    first = builder.insert_element(nothing, builder.trunc(count, INDEX), INDEX(0))
    counts = builder.shuffle_vector(first, nothing, ir.Constant(index.type, [0] * vector.lanes))
    return builder.icmp_signed("<", index, counts)


def emit_masked_load(builder, address, mask, vector):
    name = f"llvm.masked.load.v{vector.lanes}f{vector.element.bitwidth}.p0"
    return emit_call(builder, name, vector.llvm, [address, INDEX(vector.element.bitwidth // 8), mask, ir.Constant(vector.llvm, None)])


def emit_masked_store(builder, value, address, mask, vector):
    name = f"llvm.masked.store.v{vector.lanes}f{vector.element.bitwidth}.p0"
    emit_call(builder, name, ir.VoidType(), [value, address, INDEX(vector.element.bitwidth // 8), mask])


def emit_prefetch(builder, address, writes, near=3):
    """Ask for a line of data, to be read or written, into the nearest cache (near=3) or the second-level one (2)."""
    kind = INDEX
    nothing = ir.FunctionType(ir.VoidType(), [address.type, kind, kind, kind])
    builder.call(cgutils.get_or_insert_function(builder.module, nothing, "llvm.prefetch.p0"), [address, kind(int(writes)), kind(near), kind(1)])


# ------------------------------------------------------------------------------------------------------------------ what kernels call


@intrinsic
def lanes(typing, array):
    """The number of elements in a vector of array's dtype: a constant."""
    count = Vector(array.dtype).lanes
    return types.intp(array), lambda context, builder, signature, arguments: context.get_constant(types.intp, count)


@intrinsic
def zero(typing, array):
    """A vector of zeros of array's dtype."""
    vector = Vector(array.dtype)
    return vector(array), lambda context, builder, signature, arguments: ir.Constant(vector.llvm, None)


@intrinsic
def load(typing, array, offset):
    """The vector that begins at `offset` of the flat array."""
    vector = Vector(array.dtype)

    def emit(context, builder, signature, arguments):
        return emit_load(builder, pointer(context, builder, signature.args[0], *arguments, vector.llvm), vector.element)
    return vector(array, types.intp), emit


@intrinsic
def store(typing, array, offset, value):
    """Write the vector to `offset` of the flat array."""
    def emit(context, builder, signature, arguments):
        emit_store(builder, arguments[2], pointer(context, builder, signature.args[0], *arguments[:2], value.llvm), value.element)
        return context.get_dummy_value()
    return types.void(array, types.intp, value), emit


@intrinsic
def load_part(typing, array, offset, count):
    """The first `count` elements from `offset` on, then zeros. What lies behind is not touched."""
    vector = Vector(array.dtype)

    def emit(context, builder, signature, arguments):
        address = pointer(context, builder, signature.args[0], *arguments[:2], vector.llvm)
        return emit_masked_load(builder, address, emit_mask(builder, arguments[2], vector), vector)
    return vector(array, types.intp, types.intp), emit


@intrinsic
def store_part(typing, array, offset, count, value):
    """Write the first `count` elements of the vector. What lies behind is not touched."""
    def emit(context, builder, signature, arguments):
        address = pointer(context, builder, signature.args[0], *arguments[:2], value.llvm)
        emit_masked_store(builder, arguments[3], address, emit_mask(builder, arguments[2], value), value)
        return context.get_dummy_value()
    return types.void(array, types.intp, types.intp, value), emit


@intrinsic
def prefetch(typing, array, offset):
    """Ask for the cache line of the element at `offset`, which will soon be read. It need not be inside the array."""
    def emit(context, builder, signature, arguments):
        emit_prefetch(builder, pointer(context, builder, signature.args[0], *arguments, ir.IntType(8)), writes=False)
        return context.get_dummy_value()
    return types.void(array, types.intp), emit


@intrinsic
def prefetch_far(typing, array, offset):
    """prefetch, but into the second-level cache: for what is read much later."""
    def emit(context, builder, signature, arguments):
        emit_prefetch(builder, pointer(context, builder, signature.args[0], *arguments, ir.IntType(8)), writes=False, near=2)
        return context.get_dummy_value()
    return types.void(array, types.intp), emit


@intrinsic
def broadcast(typing, array, offset):
    """The element at `offset` in every lane."""
    vector = Vector(array.dtype)

    def emit(context, builder, signature, arguments):
        element = builder.load(pointer(context, builder, signature.args[0], *arguments, vector.llvm.element))
        return emit_splat(builder, element, vector)
    return vector(array, types.intp), emit


@intrinsic
def splat(typing, scalar):
    """A scalar (np.float32 or np.float64) in every lane."""
    vector = Vector(scalar)
    return vector(scalar), lambda context, builder, signature, arguments: emit_splat(builder, arguments[0], vector)


@intrinsic
def fma(typing, a, b, c):
    """a * b + c, rounded once where the machine can."""
    return a(a, a, a), lambda context, builder, signature, arguments: emit_fma(builder, *arguments, a)


@intrinsic
def add(typing, a, b):
    return a(a, a), lambda context, builder, signature, arguments: builder.fadd(*arguments)


@intrinsic
def sub(typing, a, b):
    return a(a, a), lambda context, builder, signature, arguments: builder.fsub(*arguments)


@intrinsic
def mul(typing, a, b):
    return a(a, a), lambda context, builder, signature, arguments: builder.fmul(*arguments)


@intrinsic
def maximum(typing, a, b):
    """The larger in each lane; b where they are not comparable (NaN)."""
    def emit(context, builder, signature, arguments):
        return builder.select(builder.fcmp_ordered(">", *arguments), *arguments)
    return a(a, a), emit


@intrinsic
def total(typing, a):
    """The sum of the lanes: halves added to halves, until one is left."""
    def emit(context, builder, signature, arguments):
        value, left = arguments[0], a.lanes
        while left > 1:
            left //= 2
            upper = ir.Constant(ir.VectorType(INDEX, left), list(range(left, 2 * left)))
            lower = ir.Constant(ir.VectorType(INDEX, left), list(range(left)))
            nothing = ir.Constant(value.type, ir.Undefined)
            value = builder.fadd(builder.shuffle_vector(value, nothing, lower), builder.shuffle_vector(value, nothing, upper))
        return builder.extract_element(value, INDEX(0))
    return a.element(a), emit
