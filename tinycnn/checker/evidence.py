"""The Jacobian as the backward has it beside the Jacobian as it was measured: what every diagnosis is made from."""
from dataclasses import dataclass

import numpy as np

from . import differences

MOST_ENTRIES = 20_000_000  # of a Jacobian that is kept
MOST_ROWS = 1000  # backward passes in "auto"; beyond that, random combinations of the outputs instead of each by itself
RANDOM_ROWS = 12
ZERO = 1e-13  # of y / x: what a backward says for zero


@dataclass
class Evidence:
    """For one input and one output: rows are output elements (or random combinations of them), columns the input elements that were moved."""

    name: str
    x: np.ndarray  # the input
    y: np.ndarray  # the output
    backward: np.ndarray  # (rows, columns)
    measured: np.ndarray
    error: np.ndarray  # how far off `measured` may be
    kinked: np.ndarray  # (rows, columns): where no derivative exists
    columns: np.ndarray  # the flat indices of x that the columns stand for
    identity: bool  # each row is one output element
    whole: bool  # and there is a column for every element of x
    others: dict  # {name: array} of the other inputs, by which diagnoses explain values
    rtol: float
    atol: float

    @property
    def scale(self):
        """The size of a typical entry: by which entries near 0 are judged."""
        finite = self.measured[np.isfinite(self.measured)]
        return float(np.sqrt(np.mean(finite ** 2))) if finite.size else 0.0

    @property
    def allowed(self):
        return self.atol + self.rtol * np.maximum(np.abs(self.measured), self.scale) + 3 * self.error

    @property
    def wrong(self):
        """(rows, columns): where the backward is wrong beyond doubt."""
        with np.errstate(invalid="ignore"):
            return ~(np.abs(self.backward - self.measured) <= self.allowed) & ~self.kinked & ~self.vague

    @property
    def vague(self):
        """(rows, columns): where the measurement is too coarse to tell, unless the backward says zero and nothing else is seen."""
        with np.errstate(invalid="ignore"):
            coarse = ~(self.error <= 1e-3 * np.maximum(np.abs(self.measured), self.scale)) & ~(np.abs(self.backward) <= ZERO * min(size_of(self.y), 1) / size_of(self.x))
            return coarse & ~self.kinked & (~(np.abs(self.backward - self.measured) > 10 * self.error) | ~np.isfinite(self.measured))

    def tensor(self, matrix):
        """A (rows, columns) matrix as (*y.shape, *x.shape); only if whole."""
        return matrix.reshape(*self.y.shape, *self.x.shape)


def cotangents(outputs, columns, rng, rows=MOST_ROWS):
    """(matrix of starting gradients, whether that is the identity) for outputs of these shapes: each element by itself if that is not too many."""
    size = sum(y.size for y in outputs)
    if size <= rows and size * columns <= MOST_ENTRIES:
        return np.eye(size), True
    return rng.standard_normal((min(RANDOM_ROWS, size), size)), False


def split(row, outputs):
    """A row as one array for each output."""
    ends = np.cumsum([y.size for y in outputs])[:-1]
    return [part.reshape(y.shape) for part, y in zip(np.split(row, ends), outputs)]


def line_of(subject, arrays, k, direction):
    """(line, complex line): the function along `direction` in input k; direction an array of its shape, or {k: array} to move several at once."""
    directions = direction if isinstance(direction, dict) else {k: direction}

    def at(t):
        moved = list(arrays)
        for i, v in directions.items():
            moved[i] = arrays[i] + t * v
        return subject.evaluate(moved)
    return at, None if subject.sees_branches else at


def measure(subject, arrays, here, k, direction, size, wanted):
    """The Slope along a direction."""
    line, complex_line = line_of(subject, arrays, k, direction)
    return differences.slope(line, here, size, float(np.finfo(subject.computes_in).eps), wanted, complex_line)


def size_of(array):
    """How large the elements of an array are, for choosing steps."""
    size = float(np.sqrt(np.mean(np.square(array)))) if array.size else 1.0
    return size if np.isfinite(size) and size > 0 else 1.0
