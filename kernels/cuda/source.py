"""What a .cu file says: its kernels and their parameters, read from the text, and the text that is compiled.

The launcher converts Python numbers to exactly the C types that a kernel declares, so it must know them. A kernel is therefore written in one form,

    extern "C" __global__ void __launch_bounds__(256) relu(const real* x, real* y, index_t n)

with parameters that are pointers, numbers, or plain structs of numbers that the file, or what it includes, defines: struct Pair { int a, b[2]; };
Names of types that the file does not define come with the launch: real=np.float32.
(Tests compare what is read here with what the C++ compiler says.)
"""
import hashlib
import re
from contextlib import suppress
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).parent
KERNELS = HERE.parent

C_TYPES = {  # C's name: NumPy's
    "bool": "bool", "float": "float32", "double": "float64", "half": "float16",
    "signed char": "int8", "unsigned char": "uint8", "short": "int16", "unsigned short": "uint16", "int": "int32", "unsigned": "uint32", "unsigned int": "uint32",
    "long long": "int64", "unsigned long long": "uint64", "size_t": "uint64",
    **{name: name for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")},
}
C_NAMES = {np.dtype(name): c for c, name in reversed(C_TYPES.items())}  # the first of several C names


class Parameter(NamedTuple):
    name: str
    declaration: str  # as in the source
    dtype: np.dtype
    is_pointer: bool


class Kernel(NamedTuple):
    name: str
    parameters: tuple
    most_threads: int  # in a block


class SourceError(ValueError):
    """A .cu file that the launcher cannot read."""


def path_of(source):
    """The file of a source: relative to kernels/, or anywhere."""
    path = KERNELS / source  # an absolute path stays what it is
    if not path.is_file():
        raise FileNotFoundError(f"no CUDA source {source!r}: looked for {path}")
    return path


@lru_cache
def read(path):
    """The text of a file without comments; lines keep their numbers."""
    text = Path(path).read_text()
    return re.sub(r"//[^\n]*|/\*.*?\*/", lambda comment: "\n" * comment[0].count("\n") or " ", text, flags=re.S)


KERNEL = re.compile(r'extern\s*"C"\s*__global__\s+(?P<before>__launch_bounds__\s*\((?P<bound1>[^)]*)\)\s*)?void\s+'
                    r"(__launch_bounds__\s*\((?P<bound2>[^)]*)\)\s*)?(?P<name>\w+)\s*\((?P<parameters>[^)]*)\)\s*\{", re.S)


def kernels(path, defines):
    """{name: Kernel}: all kernels of a file, with the types that `defines` gives to names."""
    text, found = read(path), {}
    constants = "\n".join(read(file) for file in files(path))
    types = {**defines, **structs(path, defines)}
    for match in KERNEL.finditer(text):
        name, bound = match["name"], match["bound1"] or match["bound2"]
        parameters = tuple(_parameter(name, declaration, types) for declaration in match["parameters"].split(",") if declaration.strip())
        found[name] = Kernel(name, parameters, _threads(name, constants, bound, defines) if bound else 1024)
    unread = set(re.findall(r"__global__", text)) and text.count("__global__") - len(found)
    if unread:
        raise SourceError(f'{path}: {unread} of its __global__ functions cannot be read; the form is: extern "C" __global__ void name(parameters) {{')
    return found


STRUCT = re.compile(r"\bstruct\s+(?P<name>\w+)\s*\{(?P<fields>[^{}()]*)\}\s*;")


def structs(path, types):
    """{name: dtype}: the plain structs of a file and of what it includes, which a launch passes by value (as a NamedTuple with the same names)."""
    known = {name: dtype for name, dtype in types.items() if isinstance(dtype, np.dtype)} | {c: np.dtype(name) for c, name in C_TYPES.items()}
    constants, found = "\n".join(read(file) for file in files(path)), {}
    for file in files(path):
        for match in STRUCT.finditer(read(file)):
            declared = [_fields(line) for line in match["fields"].split(";") if line.strip()]
            with suppress(KeyError, SourceError):  # of other types, or of as many elements as a template says: no launch passes it
                found[match["name"]] = np.dtype([_field(name, known[c_type], constants, types) for c_type, names in declared for name in names], align=True)
    return found


def _fields(line):
    """`unsigned int a, b[2][N] = {}` as its type and the names, with extents."""
    line = re.sub(r"\s*(\[[^\]]*\])", lambda extent: "".join(extent[1].split()), line)
    first, *others = [field.partition("=")[0].strip() for field in line.split(",")]
    *c_type, name = first.split()
    return " ".join(c_type), [name, *others]


def _field(name, dtype, constants, defines):
    """`address[5][MOST]` as NumPy wants it."""
    name, *extents = name.replace("]", "").split("[")
    return name, dtype, tuple(_constant(extent, constants, defines, f"the field {name} of a struct") for extent in extents)


def _parameter(kernel, declaration, types):
    """`const real* x` as a Parameter."""
    words = re.sub(r"\b(const|__restrict__|volatile)\b", " ", declaration).replace("*", " * ").split()
    name, pointer = words[-1], "*" in words
    c_type = " ".join(word for word in words[:-1] if word != "*")
    if isinstance(types.get(c_type), np.dtype):
        dtype = types[c_type]
    elif c_type in C_TYPES:
        dtype = np.dtype(C_TYPES[c_type])
    else:
        given = ", ".join(f"{key}={value}" for key, value in types.items() if not getattr(value, "names", None)) or "nothing"
        raise SourceError(f"{kernel}: the type of its parameter `{' '.join(declaration.split())}` is unknown: launch with {c_type}=dtype (it was given {given}), "
                          f"or use one of {', '.join(C_TYPES)}")
    return Parameter(name, " ".join(declaration.split()), dtype, pointer)


def _threads(kernel, text, bound, defines):
    """The first number of __launch_bounds__: a product of numbers, constants of the file, and constants of the launch."""
    return _constant(bound.split(",")[0], text, defines, f"{kernel}: its __launch_bounds__")


def _constant(product, text, defines, where):
    """The value of `A * 2`: numbers, constants of the file, and constants of the launch."""
    def value(word):
        word = word.strip()
        constant = defines.get(word) if word in defines else re.search(rf"(?:#define\s+|constexpr\s+int\s+(?:\w+\s*=[^;,]*,\s*)*){word}\s*=?\s*([^\n;,]+)", text)
        if word.isdigit():
            return int(word)
        if constant is None:
            raise SourceError(f"{where}: {word!r} is neither a number nor a constant of the file")
        return constant if isinstance(constant, int) else prod(value(factor) for factor in constant[1].split("*"))
    return prod(value(factor) for factor in product.split("*"))


def text(path, defines):
    """What the compiler gets: the types and constants of the launch, then the file itself, so that its lines keep their numbers."""
    lines = ['#include "device.h"']
    for name, value in defines.items():
        lines.append(f"using {name} = {C_NAMES[value]};" if isinstance(value, np.dtype) else f"#define {name} {value}")
    return "\n".join([*lines, f'#include "{path}"', ""])


@lru_cache
def files(path):
    """A file, device.h, and all files that these include by name in quotes, and they in turn."""
    waiting, found = [Path(path), HERE / "device.h"], {}
    while waiting:
        file = waiting.pop(0).resolve()
        if file not in found:
            found[file] = True
            for name in re.findall(r'^\s*#\s*include\s*"([^"]+)"', file.read_text(), re.M):
                waiting += [place for folder in (file.parent, HERE) if (place := folder / name).is_file()][:1]
    return tuple(found)


@lru_cache
def digest(path):
    """A hash of all that is compiled with a file."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in files(path))).hexdigest()
