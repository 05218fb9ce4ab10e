"""tinycnn.save and tinycnn.load: a network's weights in a file of their own, without the run that they come from (that is checkpoint.py).

    tinycnn.save(net.state_dict(), "net.safetensors")
    net.load_state_dict(tinycnn.load("net.safetensors"))

The file is in the safetensors format, which other libraries read as well and in which, unlike in a pickle, no program can hide.
"""
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ..tensor import Tensor, from_numpy
from .checkpoint import CheckpointError, numbers, what_is_wrong
from .files import replacing


def save(state_dict, path):
    """Write a dict of tensors, whole or not at all."""
    if not isinstance(state_dict, dict):
        raise TypeError(f"save: a dict of tensors is needed, such as net.state_dict(); this is {type(state_dict).__name__}")
    for name, tensor in state_dict.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"save: {name!r} is {type(tensor).__name__}; only tensors can be saved")
    arrays = {name: numbers(tensor) for name, tensor in state_dict.items()}
    with replacing(path) as part:
        save_file(arrays, part)


def load(path):
    """The dict of tensors in a file."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"load: there is no file {str(path)!r}")
    try:
        return {name: from_numpy(array) for name, array in load_file(path).items()}
    except SafetensorError as error:
        raise CheckpointError(f"{path}: {what_is_wrong(Path(path))} ({error})") from error
