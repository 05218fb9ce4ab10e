"""Choosing lane by lane, small whole numbers as lanes, and the ends of rows: what poolings, rectifiers and normalisations need beside arithmetic.

A comparison gives a mask, and a `select` by a mask is one instruction: no branch, whatever the data. Which tap of a window won is kept as a number in the lanes
of a float vector, where it can be selected like a value, and stored as one byte.

`take` and `put` are load and store for rows that need not end with a vector: `left` is how many elements there are from the offset on.

**Past the cache.** An ordinary store first reads the line that it will overwrite. Where a whole result is larger than the cache and nobody reads it soon, that is a
third of the traffic for nothing: `stream` writes lines without reading them (a non-temporal store). On two cores of an Intel Xeon (Sapphire Rapids) relu of 49 MB
takes 3.2 ms so and 5.4 ms otherwise, but of 4 MB 0.56 ms and 0.43: see kernels/memory.py for where the line is drawn. Its offset must be on a cache line. The
barrier at the end of a parallel loop makes what was written seen by all.
"""
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..runtime import jit
from .vector import Vector, emit_call, emit_mask, emit_splat, lanes, load, load_part, pointer, store, store_part

BYTE = ir.IntType(8)


def emit_stream(builder, value, address, vector):
    instruction = builder.store(value, address)
    instruction.align = vector.lanes * vector.element.bitwidth // 8
    instruction.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))


@intrinsic
def where_positive(typing, y, a):
    """a where y > 0 or y is NaN, else 0: how a rectifier passes gradients."""
    def emit(context, builder, signature, arguments):
        nothing = ir.Constant(a.llvm, None)
        return builder.select(builder.fcmp_unordered(">", arguments[0], nothing), arguments[1], nothing)
    return a(a, a), emit


@intrinsic
def where_equal(typing, number, wanted, a):
    """a where number == wanted, else 0."""
    def emit(context, builder, signature, arguments):
        return builder.select(builder.fcmp_ordered("==", *arguments[:2]), arguments[2], ir.Constant(a.llvm, None))
    return a(a, a, a), emit


@intrinsic
def where_larger(typing, new, old, a, b):
    """a where new > old or new is NaN, else b: the search for a maximum."""
    def emit(context, builder, signature, arguments):
        new, old, a, b = arguments
        better = builder.or_(builder.fcmp_ordered(">", new, old), builder.fcmp_unordered("uno", new, new))
        return builder.select(better, a, b)
    return a(a, a, a, a), emit


@intrinsic
def div(typing, a, b):
    return a(a, a), lambda context, builder, signature, arguments: builder.fdiv(*arguments)


@intrinsic
def sqrt(typing, a):
    """The square root of each lane."""
    def emit(context, builder, signature, arguments):
        return emit_call(builder, f"llvm.sqrt.v{a.lanes}f{a.element.bitwidth}", a.llvm, arguments)
    return a(a), emit


@intrinsic
def number(typing, array, value):
    """The integer `value` in every lane of a vector of array's dtype."""
    vector = Vector(array.dtype)

    def emit(context, builder, signature, arguments):
        return emit_splat(builder, builder.sitofp(arguments[1], vector.llvm.element), vector)
    return vector(array, types.intp), emit


@intrinsic
def load_bytes(typing, like, array, offset, count):
    """The first `count` bytes from `offset` of the flat uint8 array on, then zeros, as a vector of like's dtype."""
    vector = Vector(like.dtype)

    def emit(context, builder, signature, arguments):
        bytes_ = ir.VectorType(BYTE, vector.lanes)
        address = pointer(context, builder, signature.args[1], *arguments[1:3], bytes_)
        mask = emit_mask(builder, arguments[3], vector)
        value = emit_call(builder, f"llvm.masked.load.v{vector.lanes}i8.p0", bytes_, [address, ir.IntType(32)(1), mask, ir.Constant(bytes_, None)])
        return builder.uitofp(value, vector.llvm)
    return vector(like, array, types.intp, types.intp), emit


@intrinsic
def store_bytes(typing, array, offset, count, value):
    """The first `count` lanes, whole numbers from 0 to 255, as bytes to `offset` of the flat uint8 array."""
    def emit(context, builder, signature, arguments):
        array, offset, count, value = arguments
        vector = signature.args[3]
        bytes_ = ir.VectorType(BYTE, vector.lanes)
        address = pointer(context, builder, signature.args[0], array, offset, bytes_)
        mask = emit_mask(builder, count, vector)
        emit_call(builder, f"llvm.masked.store.v{vector.lanes}i8.p0", ir.VoidType(), [builder.fptoui(value, bytes_), address, ir.IntType(32)(1), mask])
        return context.get_dummy_value()
    return types.void(array, types.intp, types.intp, value), emit


@intrinsic
def stream(typing, array, offset, value):
    """Write the vector to `offset` of the flat array without reading the cache line first."""
    def emit(context, builder, signature, arguments):
        emit_stream(builder, arguments[2], pointer(context, builder, signature.args[0], *arguments[:2], value.llvm), value)
        return context.get_dummy_value()
    return types.void(array, types.intp, value), emit


@jit
def take(x, offset, left):
    """The vector at `offset`; where fewer elements than lanes are left, those and zeros."""
    return load(x, offset) if left >= lanes(x) else load_part(x, offset, left)


@jit
def put(y, offset, left, past_cache, value):
    """Write the vector to `offset`, or as many of its lanes as elements are left; past_cache: by `stream`."""
    if left < lanes(y):
        store_part(y, offset, left, value)
    elif past_cache:
        stream(y, offset, value)
    else:
        store(y, offset, value)
