"""A tile of a matrix product, held in registers: `rows` x `vectors` sums that live through the whole loop over k.

Instructions on vectors want their operands in registers, and a core fetches at most two vectors while it multiplies and adds two. So a block of sums is
computed at once, by adding outer products: with column k of A (rows elements) and row k of B (vectors * lanes elements),

    tile[i, :] += A[i, k] * B[k, :]          8 rows x 2 vectors: 16 instructions on 8 + 2 operands

and every operand is used many times. To Numba a Tile is one value whose type holds its shape: `tile = add_outer(tile, ...)` emits all the instructions of
a step, and LLVM keeps each of the tile's vectors in a register of its own.
"""
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

from .vector import REGISTERS, Vector, emit_fma, emit_load, emit_mask, emit_masked_load, emit_masked_store, emit_prefetch, emit_splat, emit_store, pointer

# What fits: the sums, a row of B, an element of A.  8*2 + 2 + 1 of 32 registers, or 6*2 + 2 + 1 of 16. (12*2 of 32 was no faster, and leaves more rows over.)
ROWS, VECTORS = (8 if REGISTERS == 32 else 6), 2


class Tile(types.Type):
    """The type of rows x vectors vectors of `element` (types.float32 or types.float64)."""

    def __init__(self, element, rows, vectors):
        self.vector, self.rows, self.vectors = Vector(element), rows, vectors
        self.llvm = ir.ArrayType(self.vector.llvm, rows * vectors)
        super().__init__(f"tile({rows} x {vectors} x {self.vector})")

    @property
    def last(self):
        """The column where the last vector of a row begins."""
        return (self.vectors - 1) * self.vector.lanes


@register_model(Tile)
class TileModel(models.PrimitiveModel):
    """To LLVM a Tile is an array of vectors, row by row; it takes the array apart and keeps the vectors."""

    def __init__(self, manager, tile):
        super().__init__(manager, tile, tile.llvm)


def number(value):
    return ir.Constant(ir.IntType(64), value)


def element_pointer(context, builder, array_type, array, offset, row_stride, i, j, to):
    """The address of element (i, j) of the matrix that begins at `offset` and has `row_stride` elements from row to row; i and j are known to the compiler."""
    place = builder.add(offset, builder.add(builder.mul(row_stride, number(i)), number(j)))
    return pointer(context, builder, array_type, array, place, to)


def vector_pointers(context, builder, tile, matrix_type, matrix, offset, row_stride, to=None):
    """For each vector of the tile: its index, its first column, and its address in the matrix."""
    for index in range(tile.rows * tile.vectors):
        i, j = index // tile.vectors, index % tile.vectors * tile.vector.lanes
        yield index, j, element_pointer(context, builder, matrix_type, matrix, offset, row_stride, i, j, to or tile.vector.llvm)


@intrinsic(prefer_literal=True)
def zero_tile(typing, array, rows, vectors):
    """A tile of zeros of array's dtype; rows and vectors are constants."""
    tile = Tile(array.dtype, rows.literal_value, vectors.literal_value)
    return tile(array, rows, vectors), lambda context, builder, signature, arguments: ir.Constant(tile.llvm, None)


@intrinsic
def zeros_like(typing, tile):
    """A tile of zeros of the same shape: constants, where a tile that is handed over would be 16 registers."""
    return tile(tile), lambda context, builder, signature, arguments: ir.Constant(tile.llvm, None)


@intrinsic
def columns_of(typing, tile):
    """How many columns the tile has: a constant."""
    return types.intp(tile), lambda context, builder, signature, arguments: number(tile.vectors * tile.vector.lanes)


@intrinsic
def add_outer(typing, tile, a, a0, a_row, b, b0):
    """tile + (column of A: elements a0, a0 + a_row, ... of a) x (row of B: the vectors from b0 on of b)."""
    vector = tile.vector

    def emit(context, builder, signature, arguments):
        sums, a, a0, a_row, b, b0 = arguments
        _, a_type, _, _, b_type, _ = signature.args
        row = [emit_load(builder, element_pointer(context, builder, b_type, b, b0, number(0), 0, j * vector.lanes, vector.llvm), vector.element)
               for j in range(tile.vectors)]
        for i in range(tile.rows):
            element = builder.load(element_pointer(context, builder, a_type, a, a0, a_row, i, 0, vector.llvm.element))
            column = emit_splat(builder, element, vector)
            for index, b_vector in enumerate(row, i * tile.vectors):
                total = emit_fma(builder, column, b_vector, builder.extract_value(sums, index), vector)
                sums = builder.insert_value(sums, total, index)
        return sums
    return tile(tile, a, types.intp, types.intp, b, types.intp), emit


@intrinsic
def add_stored(typing, tile, c, c0, c_row, columns):
    """tile + what the matrix at c0 (rows c_row apart) holds. Of the last vector in each row only what lies within `columns` is read."""
    vector = tile.vector

    def emit(context, builder, signature, arguments):
        sums, *matrix, columns = arguments
        within = emit_mask(builder, builder.sub(columns, number(tile.last)), vector)
        for index, column, address in vector_pointers(context, builder, tile, c, *matrix):
            stored = emit_masked_load(builder, address, within, vector) if column == tile.last else emit_load(builder, address, vector.element)
            sums = builder.insert_value(sums, builder.fadd(stored, builder.extract_value(sums, index)), index)
        return sums
    return tile(tile, c, types.intp, types.intp, types.intp), emit


@intrinsic
def store_tile(typing, tile, c, c0, c_row, columns):
    """Write the tile to the matrix at c0 (rows c_row apart). Of the last vector in each row only what lies within `columns` is written."""
    vector = tile.vector

    def emit(context, builder, signature, arguments):
        sums, *matrix, columns = arguments
        within = emit_mask(builder, builder.sub(columns, number(tile.last)), vector)
        whole = builder.icmp_signed("==", columns, number(tile.vectors * vector.lanes))
        with builder.if_else(whole) as branches:  # a masked store is slow on some machines
            for branch, masked in zip(branches, (False, True)):
                with branch:
                    for index, column, address in vector_pointers(context, builder, tile, c, *matrix):
                        value = builder.extract_value(sums, index)
                        if masked and column == tile.last:
                            emit_masked_store(builder, value, address, within, vector)
                        else:
                            emit_store(builder, value, address, vector.element)
        return context.get_dummy_value()
    return types.void(tile, c, types.intp, types.intp, types.intp), emit


@intrinsic
def prefetch_tile(typing, tile, c, c0, c_row):
    """Ask for the cache lines that the tile will be written to."""
    def emit(context, builder, signature, arguments):
        for _, _, address in vector_pointers(context, builder, tile, c, *arguments[1:], to=ir.IntType(8)):
            emit_prefetch(builder, address, writes=True)
        return context.get_dummy_value()
    return types.void(tile, c, types.intp, types.intp), emit


@intrinsic
def load_square(typing, array, offset, row_stride):
    """A tile of one vector from each of as many rows as a vector has lanes, the rows `row_stride` apart."""
    vector = Vector(array.dtype)
    tile = Tile(array.dtype, vector.lanes, 1)

    def emit(context, builder, signature, arguments):
        square = ir.Constant(tile.llvm, ir.Undefined)
        for index, _, address in vector_pointers(context, builder, tile, array, *arguments):
            square = builder.insert_value(square, emit_load(builder, address, vector.element), index)
        return square
    return tile(array, types.intp, types.intp), emit


@intrinsic
def transpose(typing, tile):
    """A square tile with rows and columns exchanged: for d = 1, 2, 4, ... rows i and i + d exchange the elements that are d columns off.

        d = 1:  a0 a1 a2 a3     a0 b0 a2 b2      d = 2:     a0 b0 c0 d0
                b0 b1 b2 b3     a1 b1 a3 b3                 a1 b1 c1 d1
                c0 c1 c2 c3     c0 d0 c2 d2                 a2 b2 c2 d2
                d0 d1 d2 d3     c1 d1 c3 d3                 a3 b3 c3 d3
    """
    def emit(context, builder, signature, arguments):
        lanes = tile.vector.lanes
        rows = [builder.extract_value(arguments[0], i) for i in range(lanes)]
        d = 1
        while d < lanes:
            # where the lanes of the new rows come from, in the two old rows laid end to end
            upper = [lane if not lane & d else lanes + lane - d for lane in range(lanes)]
            lower = [lane + d if not lane & d else lanes + lane for lane in range(lanes)]
            for i in range(lanes):
                if not i & d:
                    pair = rows[i], rows[i + d]
                    rows[i], rows[i + d] = (builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(ir.IntType(32), lanes), order)) for order in (upper, lower))
            d *= 2
        turned = ir.Constant(tile.llvm, ir.Undefined)
        for i, row in enumerate(rows):
            turned = builder.insert_value(turned, row, i)
        return turned
    return tile(tile), emit
