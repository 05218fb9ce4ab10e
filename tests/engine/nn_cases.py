"""The table of networks' operations that the checker uses too, and what the tests compare for each, up to second derivatives: the same in tinycnn and in PyTorch."""
import numpy as np

from tinycnn.checker.cases import draw
from tinycnn.checker.cases.networks import CASES


def inputs(case, dtype=np.float64):
    return draw.arrays(case, CASES[case][1:], dtype)


def wave(shape, step, dtype=np.float64):
    """A direction to project on."""
    return np.cos(step * np.arange(np.prod(shape, dtype=np.int64))).reshape(shape).astype(dtype)


def derivatives(module, case, make, dtype=np.float64):
    """[y, first..., second...] as arrays. first: the gradients of <y, dy> for each input, with dy = cos(0, 1, 2, ...); second: those of the first ones' projections on
    other waves, for each input and for dy. make: array -> leaf tensor of the module."""
    tensors = [make(array) for array in inputs(case, dtype)]
    y = CASES[case][0](module, *tensors)
    dy = make(wave(tuple(y.shape), 1, dtype))
    first = module.autograd.grad(y, tensors, dy, create_graph=True)
    projection = sum((g * module.tensor(wave(tuple(g.shape), 2 + i, dtype))).sum() for i, g in enumerate(first))
    second = module.autograd.grad(projection, [*tensors, dy], allow_unused=True)
    second = [wave(tuple(t.shape), 0, dtype) * 0 if g is None else g for g, t in zip(second, [*tensors, dy])]
    return [g if isinstance(g, np.ndarray) else np.asarray(g.detach().cpu().numpy()) for g in (y, *first, *second)]


def names(case):
    """What derivatives() returns, by name."""
    count = len(CASES[case]) - 1
    return ["y", *(f"first {i}" for i in range(count)), *(f"second {i}" for i in range(count)), "second dy"]


def flat(arrays):
    """All of them in one row: a file of many small arrays would be mostly headers."""
    return np.concatenate([array.reshape(-1) for array in arrays])


def split(row, like):
    """The row as arrays of the shapes of those in `like`."""
    ends = np.cumsum([array.size for array in like])
    assert row.size == ends[-1], f"{ends[-1]} elements where {row.size} were expected"
    return [part.reshape(array.shape) for part, array in zip(np.split(row, ends[:-1]), like)]
