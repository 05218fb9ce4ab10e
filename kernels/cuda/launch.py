"""Launching a kernel: the arguments are checked against what the source declares, and numbers become exactly the C types that it takes.

    launch("activation/activation.cu", "relu", blocks(x.size), 256, x, y, x.size, real=x.dtype)

A GPU checks nothing: an argument of the wrong width, a view taken for contiguous memory, a block larger than the registers allow give wrong numbers or an error
long afterwards. Here each is an exception that names the kernel, the argument, what was seen and what would be right.

A network of small images is launches above all, and while Python prepares one the GPU may have nothing to do. So what depends on the kernel alone is done once, when it
is first launched: for each of its parameters there is a function that takes an argument, checks it and gives what the array module wants.
"""
from functools import cache, lru_cache
from math import prod
from operator import gt
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from . import source as sources
from .backend import array_module, build
from .layout import LAYOUT

INT32 = np.dtype(np.int32)
INT64 = np.dtype(np.int64)
SMALL = 1 << 30  # with fewer elements than this, 32 bits count them, and a stride of the whole grid beyond
MOST_BLOCKS = (1 << 31) - 1, 65535, 65535  # of a grid, along x, y and z
NULL = np.uint64(0)
ALWAYS_ALLOWED = 48 << 10  # bytes of shared memory that a kernel gets without asking


def blocks(n, per_block=256):
    """How many blocks there must be for n elements."""
    return -(-n // per_block)


class strided(NamedTuple):
    """An array given to a kernel that is told its strides (a `Layout`), and need not be contiguous."""

    array: object


def launch(source, kernel, grid, block, *arguments, shared=0, **defines):
    """Run `kernel` of the file `source` (relative to kernels/, or an absolute path) on `grid` blocks of `block` threads: numbers, or tuples of up to three.

    arguments: device arrays (C-contiguous, or `strided(array)`), None for a null pointer, numbers, `layout(...)`, or a NamedTuple for a
    struct of the source. shared: bytes of dynamic shared memory.
    defines: what the source leaves open, types (real=x.dtype) and constants (TILE=16); each combination is compiled once, on first use. `index_t`, the type of
    element counts, is int where all arrays lie within 2^30 elements, else a 64-bit integer. The launch is queued: it returns before the kernel has run.
    A grid without blocks launches nothing.
    """
    grid, block = _three(kernel, "grid", grid), _three(kernel, "block", block)
    if 0 in grid:
        return
    if "index_t" not in defines:
        defines["index_t"] = INT32 if _are_small(arguments) else INT64
    program, declared, takers = _prepared(source, kernel, tuple(defines.items()))
    if len(arguments) != len(takers):
        raise TypeError(f"{kernel}: {len(arguments)} arguments were given, it takes {len(takers)}: {', '.join(p.declaration for p in declared.parameters)}")
    converted = tuple([take(argument) for take, argument in zip(takers, arguments)])
    _check_size(declared, grid, block)
    program.function(kernel, shared)(grid, block, converted, shared_mem=shared)


def _three(kernel, what, size):
    sizes = tuple(size) if isinstance(size, (tuple, list)) else (size,)
    if not 1 <= len(sizes) <= 3 or not all([isinstance(n, (int, np.integer)) and n >= 0 for n in sizes]):
        raise ValueError(f"{kernel}: the {what} is {size}; it must be one to three whole numbers")
    return *map(int, sizes), *(1,) * (3 - len(sizes))


def _are_small(arguments):
    """Whether all arrays lie within SMALL elements. (Those that are not `strided` have no gaps, or are refused.)"""
    ndarray = array_module().ndarray
    for x in arguments:
        if isinstance(x, ndarray):
            elements = x.size
        else:
            elements = _extent(x.array) if type(x) is strided and isinstance(x.array, ndarray) else 0
        if elements >= SMALL:
            return False
    return True


def _extent(x):
    """Elements from the lowest to the highest in memory, gaps included."""
    return 1 + sum((length - 1) * abs(step) for length, step in zip(x.shape, x.strides)) // x.itemsize if x.size else 0


def _check_size(kernel, grid, block):
    if not 1 <= prod(block) <= kernel.most_threads:
        raise ValueError(f"{kernel.name}: a block of {block} has {prod(block)} threads; this kernel is compiled for 1 to {kernel.most_threads} (__launch_bounds__)")
    if any(map(gt, grid, MOST_BLOCKS)):
        axis, count, most = next(one for one in zip("xyz", grid, MOST_BLOCKS) if one[1] > one[2])
        raise ValueError(f"{kernel.name}: the grid {grid} has {count} blocks along {axis}; a GPU allows {most}")
    if block[2] > 64:
        raise ValueError(f"{kernel.name}: the block {block} is {block[2]} threads deep; a GPU allows 64")


# ---- arguments: for each parameter of a kernel a function that takes an argument as the array module wants it

def _taker(kernel, parameter):
    make = _pointer_taker if parameter.is_pointer else _struct_taker if parameter.dtype.kind == "V" else _number_taker
    return make(kernel, f"argument `{parameter.declaration}`", parameter.dtype)


def _pointer_taker(kernel, what, dtype):
    """Of a device array, which is given on as it is."""
    ndarray = array_module().ndarray

    def take(argument):
        if argument is None:
            return NULL
        array = argument.array if type(argument) is strided else argument
        if not isinstance(array, ndarray):
            hint = "; copy it to the device: xp.asarray(x)" if isinstance(argument, np.ndarray) else ""
            raise TypeError(f"{kernel}: {what} must be a device array, got {type(argument).__module__}.{type(argument).__name__}{hint}")
        if array.dtype != dtype:
            raise TypeError(f"{kernel}: {what} is an array of {array.dtype}, the kernel was compiled for {dtype}")
        if array is argument and not array.flags.c_contiguous:
            raise ValueError(f"{kernel}: {what} of shape {array.shape} and strides {array.strides} is not C-contiguous: give contiguous(x), "
                             "or strided(x) to a kernel that takes a Layout")
        return array
    return take


def _struct_taker(kernel, what, dtype):
    """Of the Layout that `layout` made, or a NamedTuple with the fields of the source's struct."""
    @lru_cache(maxsize=1024)
    def packed(values):
        for name, value in zip(dtype.names, values):
            if dtype[name].kind in "iu" and not np.iinfo(dtype[name]).min <= value <= np.iinfo(dtype[name]).max:
                raise ValueError(f"{kernel}: {name} of {what} is {value}, which a {dtype[name]} cannot hold")
        return np.array(values, dtype)

    def take(argument):
        if getattr(argument, "dtype", None) == dtype:
            return argument
        if getattr(argument, "_fields", None) != dtype.names:
            wanted = "layout(...)" if dtype == LAYOUT else f"a NamedTuple with the fields {', '.join(dtype.names)}"
            raise TypeError(f"{kernel}: {what} must come from {wanted}, got {_kind(argument)}")
        return packed(tuple(argument))
    return take


def _number_taker(kernel, what, dtype):
    """Of a Python or NumPy number, which becomes exactly the declared type."""
    scalar, whole = dtype.type, dtype.kind in "iu"
    least, most = (np.iinfo(dtype).min, np.iinfo(dtype).max) if whole else (None, None)

    def take(argument):
        if not isinstance(argument, (int, float, np.generic)):
            raise TypeError(f"{kernel}: {what} is a number, got {_kind(argument)}")
        value = argument.item() if isinstance(argument, np.generic) else argument
        if whole:
            if value != int(value) or not least <= value <= most:
                raise ValueError(f"{kernel}: {what} is {value!r}, which a {dtype} cannot hold")
            value = int(value)
        return scalar(value)
    return take


def _kind(argument):
    return f"a device array of shape {argument.shape}" if isinstance(argument, array_module().ndarray) else type(argument).__name__


# ---- compiled files

class Program:
    """A .cu file compiled with certain defines: its kernels as declared, and as functions."""

    def __init__(self, source, defines):
        path = sources.path_of(source)
        self.kernels = MappingProxyType(sources.kernels(path, defines))
        self.module = array_module().RawModule(path=str(build()(path, defines)))
        self.functions = {}

    def function(self, name, shared):
        """The kernel, allowed to have `shared` bytes of shared memory."""
        function, allowed = self.functions.get(name, (None, ALWAYS_ALLOWED))
        if function is None:
            function = self.module.get_function(name)
        if shared > allowed:
            most = array_module().cuda.Device().attributes["MaxSharedMemoryPerBlockOptin"]
            if shared > most:
                raise ValueError(f"{name}: {shared} bytes of shared memory; this device has {most} for a block")
            function.max_dynamic_shared_size_bytes = allowed = shared
        self.functions[name] = function, allowed
        return function


@cache
def _prepared(source, kernel, defines):
    """(Program, Kernel as declared, a taker for each parameter)"""
    defines = {name: value if isinstance(value, (int, str)) else np.dtype(value) for name, value in defines}
    program = _program(source, tuple(defines.items()))
    if kernel not in program.kernels:
        raise ValueError(f"{source} has no kernel {kernel!r}: there are {', '.join(program.kernels)}")
    declared = program.kernels[kernel]
    return program, declared, [_taker(kernel, parameter) for parameter in declared.parameters]


@cache
def _program(source, defines):
    return Program(source, dict(defines))
