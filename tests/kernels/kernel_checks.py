"""What the tests of several kernels share: stored answers of PyTorch, differences for derivatives, other layouts, other numbers of threads."""
from functools import lru_cache
from pathlib import Path

import numpy as np
from conv_cases import poisoned_memory

from tinycnn.kernels import runtime

IMPLEMENTATIONS = ("reference", "cpu")
DTYPES = (np.float32, np.float64)


@lru_cache
def stored(operation, case):
    """{name: array}: what PyTorch said to this case (tests/vectors/OPERATION.npz, written by make_kernel_vectors.py)."""
    with np.load(Path(__file__).parents[1] / "vectors" / f"{operation}.npz") as file:
        prefix = f"{case} / "
        answers = {key.removeprefix(prefix): file[key] for key in file.files if key.startswith(prefix)}
    assert answers, f"{operation}.npz has no case {case!r}: run tests/vectors/make_kernel_vectors.py"
    return answers


def numeric_gradient(f, x, dy, h=1e-5):
    """The gradient of <dy, f(x)> by central differences, in float64."""
    x = np.array(x, np.float64)
    gradient = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        here = x[i]
        x[i] = here + h
        above = np.sum(dy * f(x))
        x[i] = here - h
        gradient[i] = (above - np.sum(dy * f(x))) / (2 * h)
        x[i] = here
    return gradient


def assert_gradient(actual, f, x, dy):
    """actual is the gradient of <dy, f(x)>, as nearly as differences of step 1e-5 tell: they are off by h^2 and by eps / h."""
    np.testing.assert_allclose(actual, numeric_gradient(f, x, dy), rtol=1e-7, atol=1e-7)


def in_poisoned_memory(call):
    """call() where np.empty gives floats that are NaN. Once without, before: Numba compiles on the first call, and must find the real np.empty."""
    call()
    with poisoned_memory():
        return call()


def layouts(array):
    """Arrays equal to this one that lie otherwise in memory: axes in another order, backwards, with gaps."""
    moved = np.ascontiguousarray(np.moveaxis(array, 1, -1))
    yield np.moveaxis(moved, -1, 1)  # channels last
    yield np.asfortranarray(array)
    yield np.ascontiguousarray(array[::-1, ..., ::-1])[::-1, ..., ::-1]
    yield np.repeat(array, 2, axis=-1)[..., ::2]


def assert_same_bits_on_any_number_of_threads(call):
    """call() gives the same array, or arrays, on one thread, on all, and on all again."""
    most, answers = runtime.get_num_threads(), []
    try:
        for n in (1, most, most):
            runtime.set_num_threads(n)
            answer = call()
            answers.append(answer if isinstance(answer, tuple) else (answer,))
    finally:
        runtime.set_num_threads(most)
    for other in answers[1:]:
        for one, two in zip(answers[0], other):
            np.testing.assert_array_equal(one, two)
