"""Whoever is measured: a file for each library, ours among them, each imported only when asked for, and skipped with the reason when that fails.

A new rival is a new file that makes Contestants (base.py) and one line in the table.
"""
from importlib import import_module

from .base import Contestant, Unsupported

#           library        module
LIBRARIES = {
    "tinycnn": "ours",
    "pytorch": "pytorch",
    "onnxruntime": "onnx_runtime",
    "openvino": "open_vino",
    "mnn": "mnn",
    "ncnn": "ncnn",
    "numpy": "plain_numpy",
}
ALL = tuple(name for name in LIBRARIES if name != "tinycnn")

__all__ = ["ALL", "LIBRARIES", "Contestant", "Unsupported", "contestants"]


def contestants(asked, level, threads):
    """([Contestant], {name: why it is not among them}).

    asked: names of libraries, or "library:setting"; all settings of a library otherwise. level: "conv", "inference" or "training".
    """
    found, skipped = [], {}
    for name in asked:
        library, _, setting = name.partition(":")
        if library not in LIBRARIES:
            raise ValueError(f"unknown rival {library!r}: there are {', '.join(ALL)}")
        try:
            kind = import_module(f".{LIBRARIES[library]}", __name__).CONTESTANT
        except Exception as error:  # another library's import can fail in any way, and must not take the others along
            skipped[library] = f"cannot be imported: {type(error).__name__}: {error}"
            continue
        if level not in kind.levels:
            skipped[library] = f"takes no part in {level!r}, only in {', '.join(kind.levels)}"
            continue
        if setting and setting not in kind.settings:
            raise ValueError(f"{library} has no setting {setting!r}: there are {', '.join(kind.settings)}")
        for choice in (setting,) if setting else kind.settings_of(level):
            found.append(kind(choice, threads))
    return found, skipped
