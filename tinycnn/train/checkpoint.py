"""Checkpoints: one safetensors file with everything that a run needs to go on, bit for bit, or that a network needs to be used.

A safetensors file is a JSON header (names, dtypes, shapes, and a dictionary of strings for one's own use) and then the numbers. Here

    model.NAME              the network's parameters and buffers, by their names in its state_dict
    optimizer.INDEX.NAME    what the optimiser remembers of parameter INDEX, e.g. optimizer.0.momentum_buffer
    average.NAME            the mean of the weights, in runs that keep one

and in the header, as JSON, what is not an array: "config" (the settings of the run: they say which network this is), "optimizer" and "state" (where the run stands).
A file with the network alone, to be used and not trained on, has "config" and model entries only.
"""
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..tensor import Tensor, from_numpy
from .diagnose import NotFiniteError
from .files import replacing

FORMAT = "tinycnn-1"


class CheckpointError(ValueError):
    """A file that is no checkpoint, is damaged, or belongs to another network; the message says which and why."""


class Checkpoint(NamedTuple):
    path: Path
    config: dict  # the settings of the run that it comes from
    model: dict  # name -> tensor
    average: dict  # name -> tensor, empty if the run keeps no mean of the weights
    optimizer: dict | None  # the optimiser's state_dict
    state: dict | None  # where the run stood


def save(path, config, model, optimizer=None, state=None, average=None):
    """Write a checkpoint of `model` (and of `optimizer`, `state` and a model of `average` weights, to go on from): whole or not at all."""
    arrays = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    header = {"format": FORMAT, "config": json.dumps(config)}
    if optimizer is not None:
        remembered, plain = _pack(optimizer.state_dict())
        arrays |= remembered
        header |= {"state": json.dumps(state), "optimizer": json.dumps(plain)}
    if average is not None:
        arrays |= {f"average.{name}": tensor for name, tensor in average.state_dict().items()}
    arrays = {name: numbers(tensor) for name, tensor in arrays.items()}
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise NotFiniteError(f"{path}: not saved: {name} holds NaN or infinity, the last update was too large (try a smaller learning rate). "
                                 "What was saved before is untouched")
    with replacing(path) as part:
        save_file(arrays, part, header)


def load(path):
    """The checkpoint in the file `path`, or in the run folder `path` (its best.safetensors, or last.safetensors where there is no best yet)."""
    path = locate(path)
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: {what_is_wrong(path)} ({error})") from error
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path}: a safetensors file, but not a checkpoint of tinycnn: its header says format {header.get('format')!r}, expected {FORMAT!r}")
    tensors = {name: from_numpy(array) for name, array in arrays.items()}
    model, average = ({name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)} for prefix in ("model.", "average."))
    optimizer = _unpack(tensors, json.loads(header["optimizer"])) if "optimizer" in header else None
    return Checkpoint(path, json.loads(header["config"]), model, average, optimizer, json.loads(header["state"]) if "state" in header else None)


def locate(path):
    """The checkpoint file that `path` means."""
    path = Path(path)
    if path.is_dir():
        for name in ("best.safetensors", "last.safetensors"):
            if (path / name).is_file():
                return path / name
        raise FileNotFoundError(f"{path}: no checkpoint in this folder (no best.safetensors, no last.safetensors)")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint; a run of `tinycnn train` leaves its checkpoints in its folder, e.g. runs/lenet5-1")
    return path


def restore(model, checkpoint, values=None):
    """Put the checkpoint's weights and buffers (or its other `values`) into `model`. CheckpointError, listing every difference, where it is another network's."""
    try:
        model.load_state_dict(checkpoint.model if values is None else values)
    except ValueError as error:
        lines = str(error).splitlines()
        more = [f"    and {len(lines) - 20} more"] if len(lines) > 20 else []
        raise CheckpointError("\n".join([f"{checkpoint.path}: a checkpoint of another network: {lines[0]}", *lines[1:20], *more])) from error


def _pack(state_dict):
    """An optimiser's state_dict as (arrays by name, all the rest)."""
    arrays, plain = {}, {"param_groups": state_dict["param_groups"], "state": {}}
    for index, entries in state_dict["state"].items():
        arrays |= {f"optimizer.{index}.{name}": value for name, value in entries.items() if isinstance(value, Tensor)}
        plain["state"][index] = {name: value for name, value in entries.items() if not isinstance(value, Tensor)}
    return arrays, plain


def _unpack(tensors, plain):
    """The inverse of _pack. JSON has made strings of the indices."""
    state = {int(index): dict(entries) for index, entries in plain["state"].items()}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            state[int(index)][key] = tensor
    return {"param_groups": plain["param_groups"], "state": state}


def numbers(tensor):
    """A tensor's numbers as a contiguous NumPy array."""
    return np.ascontiguousarray(tensor.device.to_numpy(tensor.array)).reshape(tensor.shape)  # the reshape keeps a single number one


def what_is_wrong(path):
    """Why the file cannot be read, judged by its beginning: 8 bytes with the length of the header, then the header."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        start, opening = file.read(8), file.read(1)
    length = int.from_bytes(start, "little")
    if size >= 9 and opening == b"{" and length < 100_000_000:
        return f"this checkpoint is cut in half or damaged; the file has {size:,} bytes"
    return f"not a checkpoint: it does not begin like a safetensors file (it has {size:,} bytes)"
