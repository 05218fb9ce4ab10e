"""M X M^T for a matrix M that is known when the kernel is compiled, on squares of vectors: Winograd's transforms, a channel in each lane.

`transform` loads a square of vectors from anywhere, multiplies from both sides, and stores the result anywhere. The compiler sees the numbers of M: products with 0
are left out, those with 1 and -1 become additions, and since the points come in pairs +p and -p, so do the rows of M, which then share their work:

    row i      e + o        e: the columns where both rows agree
    row i+1    e - o        o: those where they differ in sign

**Napkin**, for B^T of F(4x4, 3x3): 14 instructions for 6 results, 12 times, and 36 loads and 36 stores: some 90 cycles for a vector of channels. The 36 products that
follow take 36*K FLOPs for each of them: 18 cycles for each filter and 16 channels, so transforms weigh little unless filters are few.
"""
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

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
    """matrix @ values, a list of vectors; rows in pairs where that saves something."""
    results, i = [], 0
    while i < len(matrix):
        if i + 1 < len(matrix):
            even, odd = (matrix[i] + matrix[i + 1]) / 2, (matrix[i] - matrix[i + 1]) / 2
            if even.any() and odd.any() and all(e == 0 or o == 0 for e, o in zip(even, odd)):
                e, o = combine(builder, vector, even, values), combine(builder, vector, odd, values)
                results += [builder.fadd(e, o), builder.fsub(e, o)]
                i += 2
                continue
        results.append(combine(builder, vector, matrix[i], values))
        i += 1
    return results


@intrinsic(prefer_literal=True)
def constant_of(typing, form, name):
    """The form's OUTPUTS, TAPS or SIZE, known when the kernel is compiled."""
    value = getattr(form.instance_class, name.literal_value)
    return types.int64(form, name), lambda context, builder, signature, arguments: number(value)


@intrinsic(prefer_literal=True)
def transform(typing, form, matrix, x, x0, x_down, x_across, y, y0, y_down, y_across):
    """The square of vectors at x0 of x, from both sides by the form's matrix called `matrix`, to y0 of y. ..._down, ..._across: elements from vector to vector."""
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
                emit_store(builder, value, address(signature.args[6], y, y0, y_down, y_across, i, j), vector.element)
        return context.get_dummy_value()
    offset = types.int64
    return types.void(form, matrix, x, offset, offset, offset, y, offset, offset, offset), emit
