"""Lists of calls on the CPU (kernels/graph): what is noted, where memory is, and what comes out for other arrays."""
import threading
import warnings
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from tinycnn.kernels import backend
from tinycnn.kernels.graph.cpu import LINE, Graph, arrange, graph
from tinycnn.kernels.graph.record import SMALL, Recorder, constant, noted
from tinycnn.kernels.runtime import jit


@jit
def double(x, y):
    for i in range(x.size):
        y[i] = 2 * x[i]


@jit
def add_and_half(x, pair, y):
    for i in range(x.size):
        y[i] = (x[i] + pair[0][i]) / pair[1]


@jit
def total(x):
    return x.sum()


@jit
def fresh(x):
    return x + 1


def block(size, first, last, content=None, address=0):
    return SimpleNamespace(size=size, first=first, last=last, content=content, address=address)


def test_places():
    """Random blocks. Kills: two in one place at the same time, at a call that one writes and the other reads, too; a place that does not begin where in its cache
    line the block began; content that is not there, or that others write over; memory for all, when few are in use at a time."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        blocks = []
        for _ in range(40):
            first, size = int(rng.integers(100)), int(rng.integers(1, 1 << 12))
            content = rng.bytes(size) if rng.random() < 0.2 else None
            blocks.append(block(size, first, first + int(rng.integers(5)), content, int(rng.integers(1 << 20)) * 8))
        memory, shared = arrange(blocks)
        low = memory.ctypes.data
        for i, a in enumerate(blocks):
            assert low <= a.at and a.at + a.size <= low + memory.nbytes
            assert a.at % LINE == a.address % LINE
            assert (a.content is None) == (shared.ctypes.data <= a.at < shared.ctypes.data + shared.size)
            assert a.content is None or memory[a.at - low:a.at - low + a.size].tobytes() == a.content
            for b in blocks[:i]:
                together = a.first <= b.last and b.first <= a.last
                always = a.content is not None or b.content is not None
                assert a.at + a.size <= b.at or b.at + b.size <= a.at or not (together or always)
    assert arrange([block(1000, i, i + 1) for i in range(100)])[0].nbytes < 3000


@pytest.mark.parametrize("size", [8, SMALL])
def test_calls(size):
    """Kernels, tuples, views, and a result in the middle. Kills: arrays of then; numbers that are not a tuple's any more; strides or an offset that are lost; memory that
    another gets before it was used for the last time."""
    def function(x):
        y, z, out = np.empty(size), np.empty(size), np.empty(size // 2)
        double(x, y)
        double(y[::-1], z)
        add_and_half(z[::2], (y[size // 2:], 2.0), out)
        return [out]
    x = np.arange(float(size))
    made, first = graph(function, x)
    assert np.array_equal(made.inputs[0], x) and made.inputs[0] is not x
    for number in range(3):
        np.testing.assert_array_equal(made(x * number)[0], function(x * number)[0])
    np.testing.assert_array_equal(first[0], function(x)[0])  # not overwritten


def test_memory_is_free_again():
    """Kills: a recording that holds what it has seen."""
    seen = []

    def function(x):
        for _ in range(3):
            y = np.empty(1 << 15)
            double(x, y)
            assert not [ref for ref in seen if ref() is not None]
            seen.append(weakref.ref(y))
            del y
        return []
    made = Graph(function, np.zeros(1 << 15))
    assert made.memory.nbytes < 2 * (8 << 15)
    made(np.ones(1 << 15))


def test_what_is_left_out():
    """NumPy fills a large array, with the same in each call. Kills: a list without it that looks right, since its memory still has what was there."""
    def function(x):
        ones, out = np.empty(SMALL), np.empty(SMALL)
        ones[:] = 1
        add_and_half(x, (ones, 1.0), out)
        return [out]
    made = Graph(function, np.zeros(SMALL))
    assert np.isnan(made(np.zeros(SMALL))[0]).all()


def test_memory_that_stays():
    """Arrays that others have, and one that only an address in a table leads to. Kills: a result in memory that nobody sees; tables that are emptied."""
    there, table = np.zeros(6), np.full(1 + SMALL // 8, 3.0)

    def function(x):
        double(x, there)
        add_and_half(x, (constant(table.copy()), 2.0), there[:3])
        return []
    made = Graph(function, np.zeros(3))
    made.memory[:] = 0xFF  # NaN
    made(np.arange(3.0))
    np.testing.assert_array_equal(there, [1.5, 2, 2.5, 0, 0, 0])


def test_noted():
    """What NumPy does. Kills: an array of then; numbers in place of arrays without dimensions; views that are filled; work in place that is done once."""
    @noted
    def increment(x):
        x += 1
        double(np.ones(2), np.empty(2))  # belongs to it

    numpy = {name: noted(function) for name, function in {"sum": np.sum, "half": lambda x: x[::2], "scaled": lambda x, by=1: x * by}.items()}

    def function(x):
        y = numpy["scaled"](x, by=3)
        half = numpy["half"](y)
        increment(half)
        out = np.empty(half.size)
        double(half, out)
        return [numpy["sum"](out), y]
    made = Graph(function, np.zeros(6))
    assert len(made.calls) == 4  # a view takes none
    for ours, theirs in zip(made(np.arange(6.0)), function(np.arange(6.0)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_answers():
    """A kernel that gives a number is asked once. Kills: an error, or a call more."""
    def function(x):
        out = np.empty(x.size)
        add_and_half(x, (x, total(np.ones(4))), out)
        return [out]
    made = Graph(function, np.ones(3))
    assert [called for called, _ in made.calls] == [add_and_half]
    np.testing.assert_array_equal(made(np.full(3, 6.0))[0], np.full(3, 3.0))


@pytest.mark.parametrize("function, why", [(lambda x: [fresh(x)], "kernel fresh was called with names, or gave memory of its own"),
                                           (lambda x: [double(x, y=np.empty(x.size))] * 0, "kernel double was called with names")])
def test_what_cannot_be_repeated(function, why):
    """Kills: results in memory that is another in each call."""
    with pytest.warns(RuntimeWarning, match=why):
        made, _ = graph(function, np.ones(3))
    assert made is None


def test_other_threads():
    """Kills: calls of another thread in the list; a thread that ends the recording of another; kernels that are noted for ever."""
    inside, done = threading.Event(), threading.Event()
    lists = []

    def other():
        with Recorder() as recorder:
            double(np.ones(2), np.empty(2))
            inside.set()
            done.wait()
            double(np.ones(2), np.empty(2))
        lists.append(recorder.calls)
    thread = threading.Thread(target=other)
    thread.start()
    inside.wait()
    with Recorder() as recorder:
        double(np.ones(3), np.empty(3))
    done.set()
    thread.join()
    assert len(recorder.calls) == 1 and len(lists[0]) == 2
    double(np.ones(2), np.empty(2))
    assert len(recorder.calls) == 1 and type(double).__call__ is Recorder.__init__.__globals__["_call"]


def test_an_error_in_between():
    """Kills: a recorder that listens for ever."""
    with pytest.raises(ZeroDivisionError):
        Graph(lambda x: 1 / 0, np.ones(1))
    with Recorder() as recorder:
        double(np.ones(3), np.empty(3))
    assert len(recorder.calls) == 1


def test_memory_of_others():
    """Weights in a file, or in memory that is no array's. Kills: a place for what is not ours."""
    memory = bytearray(np.ones(4).tobytes())

    def function(x):
        out = np.empty(4)
        add_and_half(x, (np.frombuffer(memory), 1.0), out)
        return [out]
    made = Graph(function, np.ones(4))
    made.memory[:] = 0xFF
    np.testing.assert_array_equal(made(np.ones(4))[0], np.full(4, 2.0))


def test_dropout_of_later():
    """Kills: the mask of then; a number that is added where nothing is repeated."""
    dropout, x = backend("cpu").dropout.forward, np.ones((5, 7), np.float32)
    made = Graph(lambda x: [dropout(x, 0.5, 3, 10)], x)
    for later in (0, 1, 2**64 - 3, -4):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_array_equal(made(x, later=later)[0], dropout(x, 0.5, 3, (10 + later) % 2**64))
