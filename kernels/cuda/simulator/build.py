"""From a .cu file to a library that runs its kernels on the CPU, kept in the cache folder under a name that holds a hash of everything it depends on.

Five ways to compile, chosen by TINYCNN_SIMULATOR:

    plain    fast; finds barriers and warps that diverge, deadlocks, and by its random orders and NaN-filled memory whatever makes results depend on either
    asan     AddressSanitizer and UndefinedBehaviorSanitizer: accesses out of bounds and misaligned ones, with the line
    tsan     ThreadSanitizer: races between threads, warps and blocks, with both lines
    trace    every access to memory is recorded (trace.py): how it is spread over a warp, and reads of what nobody has written
    debug    not optimised, for a debugger: every line and every variable is there

asan and tsan need their run-time library loaded before Python itself: `environment(mode)` says how to start such a process.
"""
import hashlib
import os
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

from ...cache import cache_root, written
from .. import source as sources

HERE = Path(__file__).parent
HEADERS = HERE.parent

COMMON = ["-std=c++17", "-fPIC", "-fvisibility=hidden", "-fno-strict-aliasing"]  # no strict aliasing: kernels load floats as float4
KERNELS = [*COMMON, "-c", "-x", "c++", "-DTINYCNN_SIMULATOR",
           "-fno-gnu-unique",  # two libraries in one process have two schedulers
           "-fno-math-errno", "-ffp-contract=fast",  # a * b + c in one rounding, as on the GPU
           "-Wno-unknown-pragmas", "-Wno-attributes"]
MODES = {  # mode: (flags of the runtime, flags of the kernels, the run-time libraries)
    "plain": ([], ["-O1"], []),
    "asan": (["-DSIMULATE_ASAN"], ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize=float-cast-overflow,float-divide-by-zero",
                                   "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-fsanitize-sections=simulated_shared"], ["libasan.so", "libubsan.so"]),
    "tsan": (["-DSIMULATE_TSAN"], ["-O1", "-g", "-fsanitize=thread"], ["libtsan.so"]),
    "trace": (["-DSIMULATE_TRACE"], ["-O1", "-g", "-fsanitize=thread"], []),  # ThreadSanitizer's calls, answered by trace.h
    "debug": ([], ["-O0", "-g"], []),
}


def mode():
    """The way to compile that TINYCNN_SIMULATOR names."""
    chosen = os.environ.get("TINYCNN_SIMULATOR") or "plain"
    if chosen not in MODES:
        raise ValueError(f"TINYCNN_SIMULATOR is {chosen!r}; it can be {', '.join(MODES)}")
    return chosen


def compiler():
    """The C++ compiler: CXX, or g++."""
    found = shutil.which(os.environ.get("CXX") or "g++")
    if found is None:
        raise RuntimeError(f"the CUDA simulator compiles kernels with {os.environ.get('CXX') or 'g++'}, which is not installed: apt install g++ (or set CXX). "
                           "The CPU engine needs no compiler.")
    return found


def library(path, defines):
    """The shared library of a .cu file with these defines."""
    runtime_flags, kernel_flags, _ = MODES[mode()]
    text = sources.text(path, defines) + "".join(f"SIMULATED_KERNEL({name})\n" for name in sources.kernels(path, defines))
    kernels = _cached(path.stem, ".o", [compiler(), *KERNELS, *kernel_flags, f"-I{HEADERS}", "-"], text, sources.digest(path))
    link = [compiler(), "-shared", str(kernels), str(_runtime(tuple(runtime_flags)))]  # no sanitizer here: its library is loaded already, or trace.h is in its place
    return _cached(path.stem, ".so", link, "", "")


def _runtime(flags):
    """The scheduler, compiled without a sanitizer."""
    return _cached("runtime", ".o", [compiler(), *COMMON, "-O2", "-g", *flags, "-c", str(HERE / "runtime.cpp")], "", "")


def _cached(name, ending, command, text, digest):
    """The output of a compiler, from the cache if the command and all that it reads were compiled before."""
    key = hashlib.sha256("\0".join([*command, text, digest, _simulator_digest(), _version(command[0])]).encode()).hexdigest()[:16]
    path = Path(cache_root()) / "simulator" / f"{name}-{key}{ending}"
    if not path.exists():
        with written(path) as unfinished:
            result = subprocess.run([*command, "-o", str(unfinished)], input=text, capture_output=True, text=True)
            if result.returncode:
                raise RuntimeError(f"{name}: the C++ compiler reports\n{result.stderr}")
    return path


@lru_cache
def _simulator_digest():
    digest = hashlib.sha256()
    for file in sorted([*HERE.glob("*.h"), *HERE.glob("*.cpp")]):
        digest.update(file.read_bytes())
    return digest.hexdigest()


@lru_cache
def _version(compiler):
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout


def environment(mode):
    """The environment variables of a process in which kernels run in this mode."""
    libraries = [subprocess.run([compiler(), f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip() for name in MODES[mode][2]]
    options = {
        "asan": {"ASAN_OPTIONS": "detect_leaks=0 abort_on_error=1", "UBSAN_OPTIONS": "print_stacktrace=1 abort_on_error=1"},
        "tsan": {"TSAN_OPTIONS": "halt_on_error=1 exitcode=66 history_size=7", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
    }.get(mode, {})
    return {"TINYCNN_CUDA": "simulate", "TINYCNN_SIMULATOR": mode, **({"LD_PRELOAD": " ".join(libraries)} if libraries else {}), **options}
