"""`tinycnn info`: on what this engine runs here; what to put into a bug report."""
import json
import platform
from importlib import metadata
from pathlib import Path

import click

LIBRARIES = ("numpy", "numba", "llvmlite", "threadpoolctl", "click", "tqdm", "matplotlib", "pillow", "safetensors")


@click.command(short_help="Versions, threads, devices, and where kernels are kept.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def info(as_json):
    """Versions, threads, devices, and where compiled kernels are kept."""
    facts = collect()
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' '):17} {', '.join(f'{key} {version}' for key, version in value.items()) if isinstance(value, dict) else value}")


def collect():
    """All facts, by name."""
    import numba

    import tinycnn
    from tinycnn.device import DEVICES, device
    from tinycnn.kernels import runtime
    return {
        "tinycnn": tinycnn.__version__,
        "folder": str(Path(tinycnn.__file__).parent),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "system": f"{platform.system()} {platform.release()} on {platform.machine()}",
        "processor": _processor(),
        "threads": f"{tinycnn.get_num_threads()} of {numba.config.NUMBA_NUM_THREADS}",
        "threading_layer": runtime.THREADING_LAYER,
        "devices": ", ".join(_device(name, device) for name in DEVICES),
        "kernel_cache": f"{runtime.cache_root()} ({compiled_kernels()} compiled kernels)",
    }


def compiled_kernels():
    """How many kernels are compiled already."""
    from tinycnn.kernels import runtime
    return sum(1 for _ in Path(runtime.cache_root()).rglob("*.nbc"))


def _device(name, device):
    """A device and the kernels that it has, or what it lacks."""
    try:
        return f"{name} ({device(name).kernels.name} kernels)"
    except RuntimeError as error:
        return f"{name} (not available: {error})"


def _version(library):
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "missing"


def _processor():
    """The processor and the widest vectors that LLVM finds in it."""
    import llvmlite.binding as llvm
    features = llvm.get_host_cpu_features()
    widest = next((name for feature, name in (("avx512f", "AVX-512: 16 float32 a vector"), ("avx2", "AVX2: 8 float32 a vector"), ("neon", "NEON: 4 float32 a vector"))
                   if features.get(feature)), "no wide vectors known")
    return f"{llvm.get_host_cpu_name()} ({widest})"
