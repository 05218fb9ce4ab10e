"""Who supplies arrays and runs kernels: CuPy on a GPU, or the stand-in on the CPU. Everything else is the same code.

TINYCNN_CUDA=simulate chooses the stand-in; TINYCNN_CUDA=gpu, or nothing, CuPy. Neither is imported before the device "cuda" is first used.
"""
import os
from functools import lru_cache
from importlib import import_module

SIMULATE = "Without a GPU, TINYCNN_CUDA=simulate runs the same kernels on the CPU (slowly, and checking them)."


@lru_cache
def array_module():
    """CuPy or the stand-in; an error that says what is missing."""
    choice = os.environ.get("TINYCNN_CUDA") or "gpu"
    if choice == "simulate":
        return import_module(f"{__package__}.standin")
    if choice != "gpu":
        raise ValueError(f"TINYCNN_CUDA is {choice!r}; it can be 'gpu' or 'simulate'")
    try:
        cupy = import_module("cupy")
    except ImportError as error:
        raise RuntimeError(f"the device 'cuda' needs CuPy, which cannot be imported ({error}): pip install 'tinycnn[cuda13]', or [cuda12] for an older driver. "
                           f"{SIMULATE}") from error
    if not cupy.cuda.is_available():
        raise RuntimeError(f"the device 'cuda' needs an NVIDIA GPU with a driver, and CuPy {cupy.__version__} finds none (does nvidia-smi?). {SIMULATE}")
    return cupy


def is_simulated():
    return array_module().__name__.endswith(".standin")


@lru_cache
def build():
    """The function that compiles: (path of a .cu file, defines) -> path of what `array_module().RawModule(path=...)` loads."""
    if is_simulated():
        return import_module(f"{__package__}.simulator.build").library
    compiler = import_module(f"{__package__}.compiler")
    architecture = f"sm_{array_module().cuda.Device().compute_capability}"
    return lambda path, defines: compiler.cubin(path, defines, architecture)
