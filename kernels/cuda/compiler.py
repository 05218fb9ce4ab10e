"""CUDA C++ to GPU machine code, with NVRTC: NVIDIA's compiler as a library, called through ctypes.

It comes with the wheels of `pip install 'tinycnn[cuda-compile]'` and needs no GPU, no driver and no toolkit, so that every kernel is compiled, and the registers that
it takes are counted, on any machine. On a GPU the same files and flags are used. What was compiled is kept in the cache folder.
"""
import ctypes
import hashlib
import os
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ..cache import cache_root, written
from . import source as sources

FLAGS = ("-std=c++17", "-lineinfo", "--ptxas-options=-v")


class Resources(NamedTuple):
    """What a kernel takes, in registers for each thread and bytes."""

    registers: int
    shared: int  # static, for each block
    stack: int
    spills: int  # bytes stored and loaded because registers ran out


@lru_cache
def find():
    """(NVRTC, include folders): from NVIDIA's wheels, else from the system. A toolkit's headers stand behind those of the wheels, which may be without some of them."""
    toolkit = Path(os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or "/usr/local/cuda") / "include"
    toolkit = (str(toolkit),) if toolkit.is_dir() else ()
    spec = find_spec("nvidia")
    for folder in map(Path, spec.submodule_search_locations if spec else ()):
        libraries = sorted([*folder.glob("cu*/lib/libnvrtc.so.1[0-9]"), *folder.glob("cuda_nvrtc/lib/libnvrtc.so.1[0-9]")])
        if libraries:
            includes = [path for pattern in ("cu[0-9]*/include", "cuda_*/include") for path in sorted(folder.glob(pattern))]
            return ctypes.CDLL(str(libraries[-1])), (*map(str, includes), *toolkit)
    for name in ("libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"):
        try:
            return ctypes.CDLL(name), toolkit
        except OSError:
            continue
    raise RuntimeError("compiling CUDA kernels needs NVRTC, which is not installed: pip install 'tinycnn[cuda-compile]'")


def cubin(path, defines, architecture):
    """The file with the machine code of a .cu file for an architecture such as sm_90."""
    return _compile(path, defines, architecture)[0]


def resources(path, defines, architecture):
    """{kernel: Resources} from the compiler's report."""
    return _report(_compile(path, defines, architecture)[1].read_text())


def _compile(path, defines, architecture):
    """(cubin, report), compiled unless the cache has them."""
    nvrtc, includes = find()
    text = sources.text(path, defines)
    flags = [*FLAGS, f"-arch={architecture}", f"-I{sources.HERE}", *(f"-I{folder}" for folder in includes)]
    key = hashlib.sha256("\0".join([text, sources.digest(path), *flags, str(_version(nvrtc))]).encode()).hexdigest()[:16]
    code = Path(cache_root()) / "cuda" / f"{Path(path).stem}-{architecture}-{key}.cubin"
    report = code.with_suffix(".txt")
    if not (code.exists() and report.exists()):
        machine_code, log = _run(nvrtc, text, flags, Path(path).name)
        with written(report) as unfinished:
            unfinished.write_text(log)
        with written(code) as unfinished:
            unfinished.write_bytes(machine_code)
    return code, report


def _version(nvrtc):
    major, minor = ctypes.c_int(), ctypes.c_int()
    nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def _run(nvrtc, text, flags, name):
    """(machine code, log); an error has the compiler's messages."""
    nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
    program = ctypes.c_void_p()

    def output(what):
        size = ctypes.c_size_t()
        getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(max(1, size.value))
        getattr(nvrtc, f"nvrtcGet{what}")(program, buffer)
        return buffer.raw[:size.value]

    nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), f"launch of {name}".encode(), 0, None, None)
    try:
        status = nvrtc.nvrtcCompileProgram(program, len(flags), (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags)))
        log = output("ProgramLog").rstrip(b"\0").decode()
        if status:
            raise RuntimeError(f"{name}: {nvrtc.nvrtcGetErrorString(status).decode()}\n{log}")
        return output("CUBIN"), log
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _report(log):
    """What ptxas says with -v, by kernel."""
    found, name, frame = {}, None, (0, 0)
    for line in log.splitlines():
        if match := re.search(r"entry function '(\w+)'", line):
            name = match[1]
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            frame = int(match[1]), int(match[2]) + int(match[3])
        elif match := re.search(r"Used (\d+) registers", line):
            shared = re.search(r"(\d+) bytes smem", line)
            found[name] = Resources(int(match[1]), int(shared[1]) if shared else 0, *frame)
    return found
