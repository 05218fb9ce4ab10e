"""Launching a kernel: the arguments are checked against what the source declares, and numbers become exactly the C types that it takes.

    launch("activation/activation.cu", "relu", blocks(x.size), 256, x, y, x.size, real=x.dtype)

A GPU checks nothing: an argument of the wrong width, a view taken for contiguous memory, a block larger than the registers allow give wrong numbers or an error
long afterwards. Here each is an exception that names the kernel, the argument, what was seen and what would be right.
"""
from functools import cache
from math import prod
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
    defines = {name: value if isinstance(value, (int, str)) else np.dtype(value) for name, value in defines.items()}
    defines.setdefault("index_t", INT32 if all(_extent(x) < SMALL for x in map(_array, arguments) if x is not None) else INT64)
    program = _program(source, tuple(defines.items()))
    if kernel not in program.kernels:
        raise ValueError(f"{source} has no kernel {kernel!r}: there are {', '.join(program.kernels)}")
    declared = program.kernels[kernel]
    if len(arguments) != len(declared.parameters):
        raise TypeError(f"{kernel}: {len(arguments)} arguments were given, it takes {len(declared.parameters)}: {', '.join(p.declaration for p in declared.parameters)}")
    converted = tuple(_convert(kernel, parameter, argument) for parameter, argument in zip(declared.parameters, arguments))
    _check_size(declared, grid, block)
    program.function(kernel, shared)(grid, block, converted, shared_mem=shared)


def _three(kernel, what, size):
    sizes = tuple(size) if isinstance(size, (tuple, list)) else (size,)
    if not 1 <= len(sizes) <= 3 or not all(isinstance(n, (int, np.integer)) and n >= 0 for n in sizes):
        raise ValueError(f"{kernel}: the {what} is {size}; it must be one to three whole numbers")
    return tuple(int(n) for n in sizes) + (1,) * (3 - len(sizes))


def _array(argument):
    """The device array in an argument, or None."""
    argument = argument.array if isinstance(argument, strided) else argument
    return argument if isinstance(argument, array_module().ndarray) else None


def _extent(x):
    """Elements from the lowest to the highest in memory, gaps included."""
    return x.size if x.flags.c_contiguous or not x.size else 1 + sum((length - 1) * abs(step) for length, step in zip(x.shape, x.strides)) // x.itemsize


def _check_size(kernel, grid, block):
    if prod(block) > kernel.most_threads or prod(block) < 1:
        raise ValueError(f"{kernel.name}: a block of {block} has {prod(block)} threads; this kernel is compiled for 1 to {kernel.most_threads} (__launch_bounds__)")
    for axis, count, most in zip("xyz", grid, MOST_BLOCKS):
        if count > most:
            raise ValueError(f"{kernel.name}: the grid {grid} has {count} blocks along {axis}; a GPU allows {most}")
    if block[2] > 64:
        raise ValueError(f"{kernel.name}: the block {block} is {block[2]} threads deep; a GPU allows 64")


# ---- arguments

def _convert(kernel, parameter, argument):
    """An argument as the array module takes it: a device array, or a NumPy value of exactly the declared type."""
    if parameter.is_pointer:
        return _pointer(kernel, parameter, argument)
    if _array(argument) is not None:
        raise TypeError(f"{kernel}: argument `{parameter.declaration}` is a number, got a device array of shape {_array(argument).shape}")
    if parameter.dtype.kind == "V":
        return _struct(kernel, parameter, argument)
    return _number(kernel, parameter, argument)


def _pointer(kernel, parameter, argument):
    if argument is None:
        return np.uint64(0)
    array = _array(argument)
    if array is None:
        hint = "; copy it to the device: xp.asarray(x)" if isinstance(argument, np.ndarray) else ""
        raise TypeError(f"{kernel}: argument `{parameter.declaration}` must be a device array, got {type(argument).__module__}.{type(argument).__name__}{hint}")
    if array.dtype != parameter.dtype:
        raise TypeError(f"{kernel}: argument `{parameter.declaration}` is an array of {array.dtype}, the kernel was compiled for {parameter.dtype}")
    if array is argument and not array.flags.c_contiguous:
        raise ValueError(f"{kernel}: argument `{parameter.declaration}` of shape {array.shape} and strides {array.strides} is not C-contiguous: give contiguous(x), or "
                         "strided(x) to a kernel that takes a Layout")
    return array


def _struct(kernel, parameter, argument):
    """The Layout that `layout` made, or a NamedTuple with the fields of the source's struct."""
    if getattr(argument, "dtype", None) == parameter.dtype:
        return argument
    if getattr(argument, "_fields", None) != parameter.dtype.names:
        wanted = "layout(...)" if parameter.dtype == LAYOUT else f"a NamedTuple with the fields {', '.join(parameter.dtype.names)}"
        raise TypeError(f"{kernel}: argument `{parameter.declaration}` must come from {wanted}, got {type(argument).__name__}")
    for name, value in argument._asdict().items():
        dtype = parameter.dtype[name]
        if dtype.kind in "iu" and not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
            raise ValueError(f"{kernel}: {name} of argument `{parameter.declaration}` is {value}, which a {dtype} cannot hold")
    return np.array(tuple(argument), parameter.dtype)


def _number(kernel, parameter, argument):
    if not isinstance(argument, (bool, int, float, np.generic)):
        raise TypeError(f"{kernel}: argument `{parameter.declaration}` is a number, got {type(argument).__name__}")
    value = argument.item() if isinstance(argument, np.generic) else argument
    if parameter.dtype.kind in "iu":
        limits = np.iinfo(parameter.dtype)
        if value != int(value) or not limits.min <= value <= limits.max:
            raise ValueError(f"{kernel}: argument `{parameter.declaration}` is {value!r}, which a {parameter.dtype} cannot hold")
        value = int(value)
    return parameter.dtype.type(value)


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
def _program(source, defines):
    return Program(source, dict(defines))
