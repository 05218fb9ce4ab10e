"""Whoever is measured: a file for each library, ours among them, each imported only when asked for, and skipped with the reason when that fails.

A new rival is a new file that makes Contestants (base.py) and one line in the table.
"""
from importlib import import_module

from ...names import nearest
from .base import Contestant, Place, Unsupported

#           library        on the CPU      on a GPU
LIBRARIES = {
    "tinycnn": ("ours", "ours_cuda"),
    "pytorch": ("pytorch", "pytorch_cuda"),
    "onnxruntime": ("onnx_runtime", None),
    "openvino": ("open_vino", None),
    "mnn": ("mnn", None),
    "ncnn": ("ncnn", None),
    "numpy": ("plain_numpy", None),
    "cudnn": (None, "cudnn"),
    "cudnn_graph": (None, "cudnn_graph"),
    "cublas": (None, "cublas"),
    "standin": (None, "standin"),
}
ONLY_IF_ASKED = ("tinycnn", "standin")

__all__ = ["LIBRARIES", "Contestant", "Place", "Unsupported", "contestants", "everybody", "module_of"]


def everybody(device="cpu"):
    """Names of the rivals that take part on a device unless told otherwise."""
    return tuple(name for name, modules in LIBRARIES.items() if modules[device != "cpu"] and name not in ONLY_IF_ASKED)


def module_of(name, device="cpu"):
    """The file of the library in "library" or "library:setting"."""
    library = name.partition(":")[0]
    module = LIBRARIES.get(library, (None, None))[device != "cpu"]
    if module is None:
        raise ValueError(f"unknown rival {library!r} on {device}{nearest(library, everybody(device))} (there are {', '.join(everybody(device))})")
    return module


def contestants(asked, level, threads, place=Place()):  # noqa: B008  it cannot be changed
    """([Contestant], {name: why it is not among them}).

    asked: names of libraries, or "library:setting"; all settings of a library otherwise. level: "conv", "layer", "inference" or "training".
    """
    found, skipped = [], {}
    for name in asked:
        library, _, setting = name.partition(":")
        module = module_of(name, place.device)
        try:
            kind = import_module(f".{module}", __name__).CONTESTANT
        except Exception as error:  # another library's import can fail in any way, and must not take the others along
            skipped[library] = f"cannot be imported: {type(error).__name__}: {error}"
            continue
        if not kind.takes_part(level):
            skipped[library] = f"takes no part in {level!r}, only in {', '.join(kind.levels)}"
            continue
        if setting and setting not in kind.settings:
            raise ValueError(f"{library} has no setting {setting!r}: there are {', '.join(kind.settings)}")
        try:
            found += [kind(choice, threads, place) for choice in ((setting,) if setting else kind.settings_of(level))]
        except Exception as error:  # found, and then something that it needs is missing
            skipped[library] = f"cannot be used: {type(error).__name__}: {error}"
    return found, skipped
