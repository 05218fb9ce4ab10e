"""M X M^T for a matrix M that is known when the kernel is compiled, on squares of vectors: Winograd's transforms, a channel in each lane.

`transform` loads a square of vectors from anywhere, multiplies from both sides, and stores the result anywhere. The compiler sees the numbers of M: products with 0
are left out, those with 1 and -1 become additions, and since the points come in pairs +p and -p, so do the rows or the columns of M, which then share their work:

    row i      e + f*o        e: the columns where both rows agree, added up
    row i+1    e - f*o        o: those where they differ in sign, divided by one of their factors

**Napkin**, for B^T of F(4x4, 3x3): 12 instructions for 6 results, 12 times, and 36 loads and 36 stores: some 75 cycles for a vector of channels. The 36 products that
follow take 36*K*2 FLOPs for each channel: 18 cycles for each filter and 16 channels, so transforms weigh little unless filters are few.
"""
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..simd.choose import emit_stream
from ..simd.vector import Vector, emit_fma, emit_load, emit_store, pointer


def number(value):
    return ir.Constant(ir.IntType(64), value)


def constant(vector, value):
    return ir.Constant(vector.llvm, [ir.Constant(vector.llvm.element, value)] * vector.lanes)


def combine(builder, vector, row, values):
    """The sum of row[j] * values[j]; None for a row of zeros."""
    total = None
    for factor, value in sorted(((f, v) for f, v in zip(row, values) if f != 0), key=lambda pair: abs(pair[0]) != 1):  # those without a product first
        if total is None:
            total = value if factor == 1 else builder.fneg(value) if factor == -1 else builder.fmul(constant(vector, factor), value)
        elif abs(factor) == 1:
            total = (builder.fadd if factor == 1 else builder.fsub)(total, value)
        else:
            total = emit_fma(builder, constant(vector, factor), value, total, vector)
    return total


def multiply(builder, vector, matrix, values):
    """matrix @ values, a list of vectors, with as little arithmetic as the pairs in the matrix allow."""
    matrix, values = pair_columns(builder, np.array(matrix), list(values))
    results, i = [], 0
    while i < len(matrix):
        if i + 1 < len(matrix) and (np.abs(matrix[i]) == np.abs(matrix[i + 1])).all() and (matrix[i] != matrix[i + 1]).any() and np.count_nonzero(matrix[i]) > 2:
            even, odd = (matrix[i] + matrix[i + 1]) / 2, (matrix[i] - matrix[i + 1]) / 2
            factor = odd[np.flatnonzero(odd)[-1]]
            e, o = combine(builder, vector, even, values), combine(builder, vector, odd / factor, values)
            results += [combine(builder, vector, (1, factor), (e, o)), combine(builder, vector, (1, -factor), (e, o))]
            i += 2
        else:
            results.append(combine(builder, vector, matrix[i], values))
            i += 1
    return results


def pair_columns(builder, matrix, values):
    """Neighbouring columns that agree up to signs, of which both occur: the sum and the difference of their values take their places."""
    for j in range(matrix.shape[1] - 1):
        a, b = matrix[:, j].copy(), matrix[:, j + 1].copy()
        if (np.abs(a) == np.abs(b)).all() and (a == b)[a != 0].any() and (a == -b)[a != 0].any() and np.count_nonzero(a) > 2:
            matrix[:, j], matrix[:, j + 1] = np.where(a == b, a, 0), np.where(a == b, 0, a)
            values[j], values[j + 1] = builder.fadd(values[j], values[j + 1]), builder.fsub(values[j], values[j + 1])
    return matrix, values


@intrinsic(prefer_literal=True)
def constant_of(typing, form, name):
    """The form's OUTPUTS, TAPS or SIZE, known when the kernel is compiled."""
    value = getattr(form.instance_class, name.literal_value)
    return types.int64(form, name), lambda context, builder, signature, arguments: number(value)


@intrinsic(prefer_literal=True)
def transform(typing, form, matrix, x, x0, x_down, x_across, y, y0, y_down, y_across):
    """The square of vectors at x0 of x, from both sides by the form's matrix called `matrix`, to y0 of y. ..._down, ..._across: elements from vector to vector."""
    return _transform(form, matrix, x, y, lambda builder, value, address, vector: emit_store(builder, value, address, vector.element))


@intrinsic(prefer_literal=True)
def transform_past_cache(typing, form, matrix, x, x0, x_down, x_across, y, y0, y_down, y_across):
    """The same, written past the cache; y0, y_down and y_across are multiples of a vector. For vectors that are whole cache lines: parts of lines are slow."""
    return _transform(form, matrix, x, y, emit_stream)


def _transform(form, matrix, x, y, emit_result):
    M = form.instance_class.MATRICES[matrix.literal_value]
    rows, columns = M.shape
    vector = Vector(x.dtype)

    def emit(context, builder, signature, arguments):
        _, _, x, x0, x_down, x_across, y, y0, y_down, y_across = arguments

        def address(array_type, array, start, down, across, i, j):
            place = builder.add(start, builder.add(builder.mul(down, number(i)), builder.mul(across, number(j))))
            return pointer(context, builder, array_type, array, place, vector.llvm)
        half = []  # M X, column by column
        for j in range(columns):
            column = [emit_load(builder, address(signature.args[2], x, x0, x_down, x_across, i, j), vector.element) for i in range(columns)]
            half.append(multiply(builder, vector, M, column))
        for i in range(rows):
            for j, value in enumerate(multiply(builder, vector, M, [column[i] for column in half])):
                emit_result(builder, value, address(signature.args[6], y, y0, y_down, y_across, i, j), vector)
        return context.get_dummy_value()
    offset = types.int64
    return types.void(form, matrix, x, offset, offset, offset, y, offset, offset, offset), emit
