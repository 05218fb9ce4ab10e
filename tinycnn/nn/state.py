"""state_dict: a network's values as one flat dictionary from paths to tensors; and back, with one error that lists everything that does not fit."""
from typing import NamedTuple

import numpy as np

from ..autograd import no_grad
from ..tensor import Tensor


class IncompatibleKeys(NamedTuple):
    """What load_state_dict returns: the paths that the state dict lacks, and those that only it has."""

    missing_keys: list
    unexpected_keys: list

    def __repr__(self):
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def state_dict(module, prefix="", keep_vars=False):
    """{path: tensor} of parameters and persistent buffers, in the order of their registration. What is shared appears under each of its paths."""
    entries = {}
    for path, part in module.named_modules(remove_duplicate=False):
        start = prefix + path + "." if path else prefix
        own = [*part._parameters.items(), *((name, buffer) for name, buffer in part._buffers.items() if name not in part._non_persistent)]
        entries.update({start + name: tensor if keep_vars else tensor.detach() for name, tensor in own if tensor is not None})
    return entries


def load(module, source, strict=True):
    """Copy every value of `source`, a mapping from paths to tensors or arrays, to its place in the module. Nothing is changed unless everything fits.

    Raises ValueError with a list of all that is missing, unexpected, of another shape or of another dtype. With strict=False missing and unexpected
    paths are only reported, in the IncompatibleKeys that are returned; what is there must fit all the same.
    """
    if not hasattr(source, "keys"):
        raise TypeError(f"load_state_dict: expected a dictionary from names to tensors, got {type(source).__name__}")
    places = state_dict(module, keep_vars=True)
    result = IncompatibleKeys([name for name in places if name not in source], [name for name in source.keys() if name not in places])
    values = {name: _array(source[name]) for name in places if name in source}
    faults = [f"missing: {name} {places[name].shape}" for name in result.missing_keys if strict]
    faults += [f"unexpected: {name} {np.shape(source[name])}" for name in result.unexpected_keys if strict]
    for name, value in values.items():
        place = places[name]
        if value.shape != place.shape:
            faults.append(f"shape of {name}: {value.shape} in the state dict, {place.shape} in the module")
        if value.dtype != place.dtype:
            faults.append(f"dtype of {name}: {value.dtype} in the state dict, {place.dtype} in the module (module.to(dtype) converts it)")
    if faults:
        raise ValueError(f"load_state_dict: the state dict does not fit {type(module).__name__}:\n    " + "\n    ".join(faults))
    with no_grad():
        for name, value in values.items():
            places[name].copy_(value)
    return result


def _array(value):
    """The numbers of a tensor (ours, on whichever device, or another library's) or an array, without a copy where possible."""
    return value.device.to_numpy(value.array) if isinstance(value, Tensor) else np.asarray(value)
