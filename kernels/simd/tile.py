"""A tile of a matrix product, held in registers: `rows` x `vectors` sums that live through the whole loop over k.

A vector product-and-sum needs its operands in registers, and an element fetched from memory costs more than the sum it takes part in. So a block of sums is
computed at once, by adding outer products: with column k of A (rows elements) and row k of B (vectors * lanes elements),

    tile[i, :] += A[i, k] * B[k, :]          8 rows x 2 vectors: 16 instructions on 8 + 2 operands

and each operand fetched is used many times. To Numba a Tile is one value, and its type holds its shape: `tile = add_outer(tile, ...)` emits all of its
instructions, unrolled, and LLVM finds a register for each vector.
"""
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

from .vector import (
    REGISTERS,
    Vector,
    emit_fma,
    emit_load,
    emit_mask,
    emit_masked_load,
    emit_masked_store,
    emit_splat,
    emit_store,
    pointer,
)

ROWS, VECTORS = (8 if REGISTERS == 32 else 6), 2  # sums + one row of B + one element of A: 16 + 2 + 1 registers, or 12 + 2 + 1


class Tile(types.Type):
    """The type of rows x vectors vectors."""

    def __init__(self, element, rows, vectors):
        self.vector, self.rows, self.vectors = Vector(element), rows, vectors
        self.llvm = ir.ArrayType(self.vector.llvm, rows * vectors)
        super().__init__(f"tile({rows} x {vectors} x {self.vector})")

    def each(self):
        """(index of the vector, row, column of its first element)"""
        return [(i * self.vectors + j, i, j * self.vector.lanes) for i in range(self.rows) for j in range(self.vectors)]


@register_model(Tile)
class TileModel(models.PrimitiveModel):
    def __init__(self, manager, tile):
        super().__init__(manager, tile, tile.llvm)


def constant(value):
    return ir.Constant(ir.IntType(64), value)


def element_pointer(context, builder, array_type, array, offset, i, stride, j, to):
    """The address of element (i, j), i and j plain numbers, of the matrix that begins at `offset` and has `stride` elements from row to row."""
    place = builder.add(offset, builder.add(builder.mul(stride, constant(i)), constant(j)))
    return pointer(context, builder, array_type, array, place, to)


@intrinsic(prefer_literal=True)
def zero_tile(typing, array, rows, vectors):
    """A tile of zeros of array's dtype; rows and vectors are constants."""
    tile = Tile(array.dtype, rows.literal_value, vectors.literal_value)
    return tile(array, rows, vectors), lambda context, builder, signature, arguments: ir.Constant(tile.llvm, None)


@intrinsic
def add_outer(typing, tile, a, a0, a_row, b, b0):
    """tile + (elements a0, a0 + a_row, ... of a) x (the vectors of b from b0 on)."""
    vector = tile.vector

    def emit(context, builder, signature, arguments):
        sums, a_array, a_offset, stride, b_array, b_offset = arguments
        _, a_type, _, _, b_type, _ = signature.args
        b_vectors = [emit_load(builder, pointer(context, builder, b_type, b_array, builder.add(b_offset, constant(j * vector.lanes)), vector.llvm), vector.element)
                     for j in range(tile.vectors)]
        for i in range(tile.rows):
            a_vector = emit_splat(builder, builder.load(element_pointer(context, builder, a_type, a_array, a_offset, i, stride, 0, vector.llvm.element)), vector)
            for j in range(tile.vectors):
                index = i * tile.vectors + j
                sums = builder.insert_value(sums, emit_fma(builder, a_vector, b_vectors[j], builder.extract_value(sums, index), vector), index)
        return sums
    return tile(tile, a, types.intp, types.intp, b, types.intp), emit


@intrinsic
def add_stored(typing, tile, c, c0, c_row, columns):
    """tile + what the matrix at c0 (rows c_row apart) holds. Of the last vector in each row only what lies within `columns` is read."""
    vector = tile.vector

    def emit(context, builder, signature, arguments):
        sums, c_array, c_offset, stride, columns = arguments
        mask = last_mask(builder, tile, columns)
        for index, i, j in tile.each():
            address = element_pointer(context, builder, signature.args[1], c_array, c_offset, i, stride, j, vector.llvm)
            last = j == (tile.vectors - 1) * vector.lanes
            old = emit_masked_load(builder, address, mask, vector) if last else emit_load(builder, address, vector.element)
            sums = builder.insert_value(sums, builder.fadd(old, builder.extract_value(sums, index)), index)
        return sums
    return tile(tile, c, types.intp, types.intp, types.intp), emit


@intrinsic
def store_tile(typing, tile, c, c0, c_row, columns):
    """Write the tile to the matrix at c0 (rows c_row apart). Of the last vector in each row only what lies within `columns` is written."""
    vector = tile.vector

    def emit(context, builder, signature, arguments):
        sums, c_array, c_offset, stride, columns = arguments
        whole = builder.icmp_signed("==", columns, constant(tile.vectors * vector.lanes))
        mask = last_mask(builder, tile, columns)
        with builder.if_else(whole) as branches:  # masked stores are slow on some machines
            for branch, masked in zip(branches, (False, True)):
                with branch:
                    for index, i, j in tile.each():
                        address = element_pointer(context, builder, signature.args[1], c_array, c_offset, i, stride, j, vector.llvm)
                        value = builder.extract_value(sums, index)
                        if masked and j == (tile.vectors - 1) * vector.lanes:
                            emit_masked_store(builder, value, address, mask, vector)
                        else:
                            emit_store(builder, value, address, vector.element)
        return context.get_dummy_value()
    return types.void(tile, c, types.intp, types.intp, types.intp), emit


def last_mask(builder, tile, columns):
    """The lanes of a row's last vector that lie within `columns`."""
    return emit_mask(builder, builder.sub(columns, constant((tile.vectors - 1) * tile.vector.lanes)), tile.vector)
