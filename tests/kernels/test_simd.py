"""The vectors and tiles that kernels are written in, against NumPy; and at other widths than this machine's."""
import os
import subprocess
import sys

import llvmlite.binding
import numpy as np
import pytest
from tolerance import close

from tinycnn.kernels.runtime import jit
from tinycnn.kernels.simd import choose, places, tile, vector

DTYPES = [np.float32, np.float64]


@jit
def arithmetic(a, b, c, out):
    """Each operation on the vectors at offset 1 of a, b, c; the results one after the other."""
    L = vector.lanes(a)
    x, y, z = vector.load(a, 1), vector.load(b, 1), vector.load(c, 1)
    vector.store(out, 0, vector.add(x, y))
    vector.store(out, L, vector.sub(x, y))
    vector.store(out, 2 * L, vector.mul(x, y))
    vector.store(out, 3 * L, vector.fma(x, y, z))
    vector.store(out, 4 * L, vector.maximum(x, y))
    vector.store(out, 5 * L, vector.broadcast(a, 2))
    vector.store(out, 6 * L, vector.splat(a[3]))
    vector.store(out, 7 * L, vector.zero(a))
    out[8 * L] = vector.total(x)
    return L


@jit
def parts(a, count, out):
    vector.store(out, 0, vector.load_part(a, 1, count))
    vector.store_part(out, 2 * vector.lanes(a), count, vector.load(a, 1))


@jit
def outer(a, b, c, columns):
    """A 4 x (2 vectors) tile: the outer product of every third of a from 1 on with b from 2 on, twice, added to c (rows 50 apart, from 3 on)."""
    sums = tile.zero_tile(a, 4, 2)
    sums = tile.add_outer(sums, a, 1, 3, b, 2)
    sums = tile.add_outer(sums, a, 1, 3, b, 2)
    tile.prefetch_tile(sums, c, 3, 50)
    tile.store_tile(tile.add_stored(sums, c, 3, 50, columns), c, 3, 50, columns)


@jit
def turn(a, out):
    L = vector.lanes(a)
    tile.store_tile(tile.transpose(tile.load_square(a, 1, 20)), out, 0, L, L)


@jit
def choices(a, b, small, out, bytes_):
    """Each choice between the vectors at offset 0 of a and b, the results one after the other; and the bytes of `small` as numbers and back."""
    L = vector.lanes(a)
    x, y = vector.load(a, 0), vector.load(b, 0)
    vector.store(out, 0, choose.where_positive(x, y))
    vector.store(out, L, choose.where_equal(x, choose.number(a, 2), y))
    vector.store(out, 2 * L, choose.where_larger(x, y, choose.number(a, 7), x))
    vector.store(out, 3 * L, choose.div(x, y))
    vector.store(out, 4 * L, choose.load_bytes(a, small, 1, L - 1))
    vector.store(out, 5 * L, choose.sqrt(y))
    choose.store_bytes(bytes_, 1, L, choose.load_bytes(a, small, 0, L))
    choose.store_bytes(bytes_, 2 * L, L - 1, choose.number(a, 5))


@jit
def ends(a, left, past_cache, out):
    choose.put(out, 0, left, past_cache, choose.take(a, 1, left))


@jit
def outer_at(a, b, c, where, first, last, columns, out):
    """A 3 x (2 vectors) tile at the places where[first], ...: two outer products, the second one element on, and what c holds, to the same places of out."""
    nothing = tile.zero_tile(a, 3, 2)
    at = places.places_of(nothing, where, first, last)
    places.prefetch_at(nothing, a, at, 10_000_000)  # far outside, which must do no harm
    sums = tile.zeros_like(places.add_outer_at(nothing, a, at, 4, b, 1))
    sums = places.add_outer_at(sums, a, at, 5, b, 2)
    sums = places.add_outer_at(sums, a, at, 6, b, 3)
    places.store_tile_at(places.add_stored_at(sums, c, at, 1, columns), out, at, 1, columns)
    return at


@jit
def columns(a):
    return tile.columns_of(tile.zero_tile(a, 3, 2)), tile.columns_of(tile.zero_tile(a, 8, 1))


@jit
def rows_past_the_cache(a, first, last, length, bias, out):
    """max(0, 3 rows of a + bias) to the same rows of out, past the cache; rows are two vectors, `length` elements apart."""
    nothing = tile.zero_tile(a, 3, 2)
    at = places.rows_of(nothing, first, last, length)
    sums = places.add_row(places.add_stored_at(nothing, a, at, 0, 2 * vector.lanes(a)), bias, 1)
    places.stream_tile_at(places.clamp_tile(sums), out, at, 0)
    return at


def draw(dtype, n=400, seed=0):
    return np.random.default_rng(seed).standard_normal(n).astype(dtype)


def lanes_of(dtype):
    return max(1, vector.WIDTH * 4 // dtype().itemsize)


@pytest.mark.parametrize("dtype", DTYPES)
def test_arithmetic(dtype):
    """Kills: operands exchanged, an operation for another, an offset ignored, a broadcast of the wrong element, a lane left out of the sum."""
    a, b, c = (draw(dtype, seed=seed) for seed in range(3))
    out = np.full(200, np.nan, dtype)
    L = arithmetic(a, b, c, out)
    assert L == max(1, vector.WIDTH * 4 // dtype().itemsize)
    x, y, z = a[1:1 + L], b[1:1 + L], c[1:1 + L]
    expected = [x + y, x - y, x * y, x * y + z, np.maximum(x, y), np.full(L, a[2]), np.full(L, a[3]), np.zeros(L)]
    for i, values in enumerate(expected):
        close(out[i * L:(i + 1) * L], values)
    close(out[8 * L], x.sum(), L)
    assert np.isnan(out[8 * L + 1:]).all()


def test_maximum_takes_the_second_operand_where_one_is_not_a_number():
    """What lets relu(x) = maximum(0, x) pass NaN on. Kills: the operands of the comparison or of the choice exchanged."""
    out = np.zeros(200)
    L = arithmetic(np.zeros(20), np.full(20, np.nan), np.zeros(20), out)
    assert np.isnan(out[4 * L:5 * L]).all()
    arithmetic(np.full(20, np.nan), np.ones(20), np.zeros(20), out)
    np.testing.assert_array_equal(out[4 * L:5 * L], 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_parts_touch_nothing_behind(dtype):
    """Every count from none to all lanes. Kills: one lane too many or too few, rubbish in place of zeros."""
    a = draw(dtype)
    L = arithmetic(a, a, a, np.empty(200, dtype))
    for count in range(L + 1):
        out = np.full(4 * L, 9, dtype)
        parts(a, count, out)
        inside = np.arange(L) < count
        np.testing.assert_array_equal(out[:L], np.where(inside, a[1:1 + L], 0))
        np.testing.assert_array_equal(out[2 * L:3 * L], np.where(inside, a[1:1 + L], 9))
        np.testing.assert_array_equal(out[3 * L:], 9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_choices(dtype):
    """NaN, both infinities, zeros and equals among the numbers. Kills: a comparison the other way, or with the wrong answer for NaN; signed bytes; a byte too many."""
    a = np.array([np.nan, 2, 2, -1, 0, -0.0, np.inf, -np.inf] * 2, dtype)
    b = np.array([3, 2, 1, np.nan, -4, np.nan, 9, np.inf] * 2, dtype)
    small = np.arange(250, 266).astype(np.uint8)
    out, L = np.full(100, 77, dtype), arithmetic(draw(dtype), draw(dtype), draw(dtype), np.empty(200, dtype))
    bytes_ = np.full(100, 77, np.uint8)
    choices(a, b, small, out, bytes_)
    x, y, small = a[:L], b[:L], small[:L]
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = [np.where(x <= 0, 0, y), np.where(x == 2, y, 0), np.where((x > y) | np.isnan(x), 7, x), x / y, [*small[1:], 0], np.sqrt(y)]
    np.testing.assert_array_equal(out[:6 * L], np.concatenate(expected))
    np.testing.assert_array_equal(bytes_, [77, *small, *[77] * (L - 1), *[5] * (L - 1), *[77] * (101 - 3 * L)])


@pytest.mark.parametrize("dtype", DTYPES)
def test_ends_of_rows(dtype):
    """Any number of elements left, through the cache and past it. Kills: reading or writing beyond the end."""
    a, L = draw(dtype), arithmetic(draw(dtype), draw(dtype), draw(dtype), np.empty(200, dtype))
    spare = np.empty(3 * 64, dtype)
    start = -spare.ctypes.data % 64 // spare.itemsize
    for left in range(L + 3):
        for past_cache in (False, True):
            out = spare[start:start + 2 * L]
            out[:] = 9
            ends(a, left, past_cache, out)
            np.testing.assert_array_equal(out, np.where(np.arange(2 * L) < left, np.append(a[1:1 + L], np.full(L, 9)), 9))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tile_adds_outer_products(dtype):
    """Whole rows, and rows that end within the second vector. Kills: a stride or offset ignored, rows for columns, sums lost, writing past the last column."""
    a, b = draw(dtype, 20), draw(dtype, 40, seed=1)
    L = arithmetic(b, b, b, np.empty(200, dtype))
    for columns in {2 * L, 2 * L - 1, L + 1}:
        c = draw(dtype, 200, seed=2)
        expected = c.copy()
        inside = np.lib.stride_tricks.as_strided(expected[3:], (4, columns), (50 * c.itemsize, c.itemsize))
        inside += 2 * a[1:11:3, None] * b[2:2 + columns]
        outer(a, b, c, columns)
        close(c, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_transpose(dtype):
    """Kills: any exchange of the wrong lanes, which other sizes of vector may hide: see the last test."""
    a = draw(dtype)
    L = arithmetic(a, a, a, np.empty(200, dtype))
    out = np.full(L * L, np.nan, dtype)
    turn(a, out)
    np.testing.assert_array_equal(out.reshape(L, L), np.lib.stride_tricks.as_strided(a[1:], (L, L), (a.itemsize, 20 * a.itemsize)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_a_tile_at_any_places(first, dtype):
    """From a list of four places that are in no order, so that for the later ones of `first` the last place is repeated; rows that end anywhere in the second vector.
    Kills: a row at another's place, a place behind the last one read, the shift forgotten for one operand, sums lost, a column too many read or written."""
    a, b = draw(dtype), draw(dtype, seed=1)
    where, L = np.array([170, 7, 120, 61, 9999]), lanes_of(dtype)
    for columns in range(L + 1, 2 * L + 1):
        c, out = draw(dtype, seed=2), np.full(400, 9, dtype)
        for row in (0, 1, 2):  # what may not be read must not show
            c[where[min(first + row, 3)] + 1 + columns:][:2 * L - columns] = np.nan
        expected = out.copy()
        at = [int(where[min(first + row, 3)]) for row in range(3)]
        for place in at:
            products = a[place + 5] * b[2:2 + columns] + a[place + 6] * b[3:3 + columns]
            expected[place + 1:place + 1 + columns] = products + c[place + 1:place + 1 + columns]
        assert list(outer_at(a, b, c, where, first, 3, columns, out)) == at
        close(out, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_of_a_tile(dtype):
    """Kills: rows for columns, lanes of another type."""
    assert columns(draw(dtype)) == (2 * lanes_of(dtype), lanes_of(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_with_a_bias_clamped_and_written_past_the_cache(dtype):
    """The last row is repeated, and rows begin with a vector. Kills: rows that are not a length apart; the bias of another column; NaN made 0, or a positive number;
    negative numbers left."""
    L = lanes_of(dtype)
    spare = np.full(20 * L + 64, 9, dtype)
    out = spare[-spare.ctypes.data % 64 // spare.itemsize:][:20 * L]
    for first, rows in ((0, (0, 1, 2)), (2, (2, 3, 3)), (3, (3, 3, 3))):
        a, bias = draw(dtype, 20 * L), draw(dtype, 80, seed=1)
        a[rows[0] * 4 * L] = np.nan
        out[:] = 9
        expected = out.copy()
        for row in rows:
            begin = row * 4 * L
            expected[begin:begin + 2 * L] = np.maximum(a[begin:begin + 2 * L] + bias[1:1 + 2 * L], 0)  # NaN stays NaN
        assert list(rows_past_the_cache(a, first, 3, 4 * L, bias, out)) == [row * 4 * L for row in rows]
        np.testing.assert_array_equal(out, expected)


def test_width_follows_the_machine(monkeypatch):
    """Kills: a wrong width or number of registers for a kind of machine, the variable ignored, a width that does not exist accepted."""
    monkeypatch.delenv("TINYCNN_SIMD_WIDTH", raising=False)
    machines = [(dict(sse2=True, avx2=True, avx512vl=True), (16, 32)), (dict(sse2=True, avx2=True), (8, 16)), (dict(sse2=True), (4, 16)),
                (dict(neon=True), (4, 32)), (None, (4, 16))]
    for features, expected in machines:
        def host(features=features):
            if features is None:
                raise RuntimeError("unknown host")
            return features
        monkeypatch.setattr(llvmlite.binding, "get_host_cpu_features", host)
        assert vector.width_and_registers() == expected
    monkeypatch.setenv("TINYCNN_SIMD_WIDTH", "8")
    assert vector.width_and_registers() == (8, 16)
    monkeypatch.setenv("TINYCNN_SIMD_WIDTH", "5")
    with pytest.raises(ValueError, match="TINYCNN_SIMD_WIDTH is '5'.* 1, 4, 8 or 16"):
        vector.width_and_registers()


@pytest.mark.parametrize("width", [width for width in (4, 1) if width != vector.WIDTH])
def test_other_widths(width):
    """All of the above in a process whose vectors are narrower: the split and the scalar code. Kills: anything that holds for 16 lanes only."""
    if os.environ.get("TINYCNN_SIMD_WIDTH"):
        pytest.skip("this is that process")
    run = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__], env=os.environ | {"TINYCNN_SIMD_WIDTH": str(width)},
                         capture_output=True, text=True, cwd=os.path.dirname(__file__) + "/../..")
    assert run.returncode == 0, run.stdout[-3000:]
