"""Random numbers, all from one seed, in two ways.

`generator()` is a NumPy generator on the counter-based Philox, for initial weights and the like. `next_call()` numbers the calls of dropout: its kernel derives every
bit from (seed, call number, index of the element), so that the mask is the same on any device, in any memory layout, on any number of threads; and, where several
processes have a part of a batch each (`part_of`), on any number of processes.
Both are part of a checkpoint (`get_rng_state`), so that a resumed run draws what it would have drawn.
"""
from contextlib import contextmanager

import numpy as np

from .device import device as find_device
from .tensor import Tensor, _size, float32, int64


class _State:
    def __init__(self, seed):
        self.seed, self.calls = seed, 0
        self.generator = np.random.Generator(np.random.Philox(key=seed))


_state = _State(0)
_part = None  # no part of the state, since it belongs to a block of code: see part_of


def manual_seed(seed):
    """Start all random numbers again from `seed`, an integer of 0 to 2^64 - 1."""
    global _state
    if not 0 <= int(seed) < 2**64:
        raise ValueError(f"manual_seed: the seed is {seed}; it must be 0 to 2**64 - 1")
    _state = _State(int(seed))


def initial_seed():
    return _state.seed


def generator():
    """The generator that all initialisation draws from."""
    return _state.generator


def next_call():
    """(seed, number of this call): what a counter-based kernel is keyed with."""
    _state.calls += 1
    return _state.seed, _state.calls


def calls_so_far():
    """How many calls have been numbered."""
    return _state.calls


def skip_calls(count):
    """Go on as if so many calls had been numbered more (or, below 0, fewer)."""
    _state.calls += count


@contextmanager
def part_of(dim, start, whole):
    """Within this block tensors are parts of wholes that nobody here has: along dimension `dim` they begin at index `start` of `whole`. Dropout draws for the whole."""
    global _part
    before, _part = _part, (dim, start, whole)
    try:
        yield
    finally:
        _part = before


def current_part():
    """(dim, start, whole) within `part_of`, else None."""
    return _part


def get_rng_state():
    """Everything that determines the numbers to come, as a dict of plain values (JSON-able)."""
    inner = _state.generator.bit_generator.state
    words = {name: [int(word) for word in inner["state"][name]] for name in ("counter", "key")}
    return {"seed": _state.seed, "calls": _state.calls, "state": words, "buffer": [int(word) for word in inner["buffer"]],
            "buffer_pos": int(inner["buffer_pos"]), "has_uint32": int(inner["has_uint32"]), "uinteger": int(inner["uinteger"])}


def set_rng_state(state):
    """Continue where get_rng_state was called."""
    manual_seed(state["seed"])
    _state.calls = state["calls"]
    words = {name: np.array(state["state"][name], np.uint64) for name in ("counter", "key")}
    _state.generator.bit_generator.state = {
        "bit_generator": "Philox", "state": words, "buffer": np.array(state["buffer"], np.uint64),
        "buffer_pos": state["buffer_pos"], "has_uint32": state["has_uint32"], "uinteger": state["uinteger"]}


def randn(*size, dtype=float32, device="cpu", requires_grad=False):
    """Independent draws from the normal distribution with mean 0 and variance 1."""
    return _draw(_state.generator.standard_normal(_size(size)), dtype, device, requires_grad)


def rand(*size, dtype=float32, device="cpu", requires_grad=False):
    """Independent draws, uniform over [0, 1)."""
    return _draw(_state.generator.random(_size(size)), dtype, device, requires_grad)


def randint(low, high=None, size=(), dtype=int64, device="cpu"):
    """Integers uniform over low ... high - 1; randint(high, size=...) counts from 0."""
    if isinstance(high, (tuple, list)):
        high, size = None, high
    low, high = (0, low) if high is None else (low, high)
    return _draw(_state.generator.integers(low, high, _size(size) if size != () else ()), dtype, device, False)


def randperm(n, device="cpu"):
    """The numbers 0 ... n-1 in random order."""
    return _draw(_state.generator.permutation(n), int64, device, False)


def randn_like(other, requires_grad=False):
    return randn(other.shape, dtype=other.dtype, device=other.device, requires_grad=requires_grad)


def rand_like(other, requires_grad=False):
    return rand(other.shape, dtype=other.dtype, device=other.device, requires_grad=requires_grad)


def _draw(numbers, dtype, device, requires_grad):
    where = find_device(device)
    return Tensor(where.xp.asarray(numbers, dtype), where).requires_grad_(requires_grad)
