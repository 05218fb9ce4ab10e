"""Tiles whose rows lie anywhere: what lets one micro-kernel compute a convolution without unfolding the image first.

In a matrix product the rows of A are equally far apart. In a convolution row i is output pixel i, and what it multiplies begins wherever its window does; the same
numbers are in many rows, and nobody has to write them down twice if each row may begin at a place of its own:

    places = places_of(tile, where, first, last)        where[first], where[first + 1], ...: as many as the tile has rows
    tile = add_outer_at(tile, a, places, shift, b, b0)  tile[i, :] += a[places[i] + shift] * (the vectors of b from b0 on)
    store_tile_at(tile, c, places, n, columns)          c[places[i] + n, ...] = tile[i, :]

Behind the last row the last one is repeated: it is computed several times and stored to the same place, which costs less than a kernel for each leftover height.
"""
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .tile import element_pointer, number
from .vector import emit_fma, emit_load, emit_mask, emit_masked_load, emit_masked_store, emit_prefetch, emit_splat, emit_store, pointer


def places_type(tile):
    """The type of the rows' places: a tuple of as many integers as the tile has rows."""
    return types.UniTuple(types.intp, tile.rows)


@intrinsic
def places_of(typing, tile, where, first, last):
    """(where[first], where[first + 1], ...) for the rows of the tile, but none behind where[last]."""
    def emit(context, builder, signature, arguments):
        _, where, first, last = arguments
        integer, values = ir.IntType(64), []
        for i in range(tile.rows):
            index = builder.add(first, number(i))
            index = builder.select(builder.icmp_signed("<", index, last), index, last)
            values.append(builder.load(pointer(context, builder, signature.args[1], where, index, integer)))
        return cgutils.pack_array(builder, values)
    return places_type(tile)(tile, where, types.intp, types.intp), emit


@intrinsic
def rows_of(typing, tile, first, last, length):
    """The places of a matrix's rows first, first + 1, ..., but none behind `last`, when rows are `length` elements long."""
    def emit(context, builder, signature, arguments):
        _, first, last, length = arguments
        values = []
        for i in range(tile.rows):
            index = builder.add(first, number(i))
            index = builder.select(builder.icmp_signed("<", index, last), index, last)
            values.append(builder.mul(index, length))
        return cgutils.pack_array(builder, values)
    return places_type(tile)(tile, types.intp, types.intp, types.intp), emit


@intrinsic
def add_outer_at(typing, tile, a, places, shift, b, b0):
    """tile + (column of A: elements places[i] + shift of a) x (row of B: the vectors from b0 on of b)."""
    vector = tile.vector

    def emit(context, builder, signature, arguments):
        sums, a, places, shift, b, b0 = arguments
        _, a_type, _, _, b_type, _ = signature.args
        row = [emit_load(builder, element_pointer(context, builder, b_type, b, b0, number(0), 0, j * vector.lanes, vector.llvm), vector.element)
               for j in range(tile.vectors)]
        for i, place in enumerate(cgutils.unpack_tuple(builder, places)):
            # first the row, then the step: the row's address is the same throughout a loop over steps, and can stay in a register
            start = pointer(context, builder, a_type, a, place, vector.llvm.element)
            column = emit_splat(builder, builder.load(builder.gep(start, [shift])), vector)
            for index, b_vector in enumerate(row, i * tile.vectors):
                sums = builder.insert_value(sums, emit_fma(builder, column, b_vector, builder.extract_value(sums, index), vector), index)
        return sums
    return tile(tile, a, places, types.intp, b, types.intp), emit


@intrinsic
def prefetch_at(typing, tile, a, places, shift):
    """Ask for the cache lines of places[i] + shift of a, one for each row, which will soon be read. They need not be inside the array."""
    def emit(context, builder, signature, arguments):
        _, a, places, shift = arguments
        for place in cgutils.unpack_tuple(builder, places):
            emit_prefetch(builder, pointer(context, builder, signature.args[1], a, builder.add(place, shift), ir.IntType(8)), writes=False)
        return context.get_dummy_value()
    return types.void(tile, a, places, types.intp), emit


def vector_places(context, builder, tile, matrix_type, matrix, places, shift):
    """For each vector of the tile: its index, its first column, and its address in the matrix."""
    for i, place in enumerate(cgutils.unpack_tuple(builder, places)):
        start = builder.add(place, shift)
        for j in range(tile.vectors):
            column = j * tile.vector.lanes
            yield i * tile.vectors + j, column, pointer(context, builder, matrix_type, matrix, builder.add(start, number(column)), tile.vector.llvm)


@intrinsic
def add_stored_at(typing, tile, c, places, shift, columns):
    """tile + what rows places[i] + shift of c hold. Of the last vector in each row only what lies within `columns` is read."""
    vector = tile.vector

    def emit(context, builder, signature, arguments):
        sums, *matrix, columns = arguments
        within = emit_mask(builder, builder.sub(columns, number(tile.last)), vector)
        for index, column, address in vector_places(context, builder, tile, c, *matrix):
            stored = emit_masked_load(builder, address, within, vector) if column == tile.last else emit_load(builder, address, vector.element)
            sums = builder.insert_value(sums, builder.fadd(stored, builder.extract_value(sums, index)), index)
        return sums
    return tile(tile, c, places, types.intp, types.intp), emit


@intrinsic
def store_tile_at(typing, tile, c, places, shift, columns):
    """Write row i of the tile to places[i] + shift of c. Of the last vector in each row only what lies within `columns` is written."""
    vector = tile.vector

    def emit(context, builder, signature, arguments):
        sums, *matrix, columns = arguments
        within = emit_mask(builder, builder.sub(columns, number(tile.last)), vector)
        whole = builder.icmp_signed("==", columns, number(tile.vectors * vector.lanes))
        with builder.if_else(whole) as branches:  # a masked store is slow on some machines
            for branch, masked in zip(branches, (False, True)):
                with branch:
                    for index, column, address in vector_places(context, builder, tile, c, *matrix):
                        value = builder.extract_value(sums, index)
                        if masked and column == tile.last:
                            emit_masked_store(builder, value, address, within, vector)
                        else:
                            emit_store(builder, value, address, vector.element)
        return context.get_dummy_value()
    return types.void(tile, c, places, types.intp, types.intp), emit


@intrinsic
def stream_tile_at(typing, tile, c, places, shift):
    """Write all of row i of the tile to places[i] + shift of c, past the cache (kernels/simd/choose.py): each vector must begin on a multiple of its size."""
    vector = tile.vector

    def emit(context, builder, signature, arguments):
        sums, *matrix = arguments
        for index, _, address in vector_places(context, builder, tile, c, *matrix):
            instruction = builder.store(builder.extract_value(sums, index), address)
            instruction.align = vector.lanes * vector.element.bitwidth // 8
            instruction.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
        return context.get_dummy_value()
    return types.void(tile, c, places, types.intp), emit


@intrinsic
def add_row(typing, tile, b, b0):
    """tile + (the vectors from b0 on of b) in every row: a bias."""
    vector = tile.vector

    def emit(context, builder, signature, arguments):
        sums, b, b0 = arguments
        for j in range(tile.vectors):
            row = emit_load(builder, element_pointer(context, builder, signature.args[1], b, b0, number(0), 0, j * vector.lanes, vector.llvm), vector.element)
            for index in range(j, tile.rows * tile.vectors, tile.vectors):
                sums = builder.insert_value(sums, builder.fadd(row, builder.extract_value(sums, index)), index)
        return sums
    return tile(tile, b, types.intp), emit


@intrinsic
def clamp_tile(typing, tile):
    """max(tile, 0), element by element; NaN stays NaN."""
    def emit(context, builder, signature, arguments):
        sums = arguments[0]
        nothing = ir.Constant(tile.vector.llvm, None)
        for index in range(tile.rows * tile.vectors):
            value = builder.extract_value(sums, index)
            sums = builder.insert_value(sums, builder.select(builder.fcmp_ordered("<", value, nothing), nothing, value), index)
        return sums
    return tile(tile), emit
