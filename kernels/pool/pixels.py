"""Pooling of channels-last memory: the channels of a pixel are the lanes of vectors, so nothing is gathered and nothing depends on the data.

Forward, a task is a row of windows: for each window and vector of channels the taps are compared or added in registers, and the result is written once.

Backward, a task is a row of the image, and looks the other way: for each element the windows that see it are gone through (a table says which, and as which of
their taps), and what they send is added up in a register. Each dx is written once, by one thread, whether windows overlap, leave elements out, or neither:

    maximum    dx += dy where the winner is this tap            average    dx += dy / number

Napkin (float32, 16x64x112x112, 3x3 windows 2 apart): the maximum reads 51 MB and writes 13 MB of maxima and 3 MB of winners (bytes; PyTorch writes 26 MB of indices);
its backward reads those 16 MB and writes 51 MB. A row of the image stays in the nearest caches while the windows go over it, so memory is the bound.

Measured (float32, batch 16, two cores of an Intel Xeon (Sapphire Rapids, AVX-512) virtual machine; copy 23 GB/s; ms, in brackets those of PyTorch 2.13, channels-last
too), forward and backward:

    64x112x112, 3x3 windows 2 apart      maximum 2.4 (5.6), 2.5 (7.4)       mean 1.8 (2.9), 2.4 (6.5)
    64x112x112, 2x2 windows 2 apart      maximum 2.0 (4.4), 2.1 (7.4)       mean 1.8 (2.2), 2.3 (6.2)
    256x56x56, 3x3 windows 1 apart       maximum 6.5 (20), 15 (15)          mean 4.1 (7.5), 14 (15)

Three 3x3 windows 1 apart that lie below each other share what wins in a row (max_forward_one_apart): GoogLeNet's nine such poolings take 0.73 to 0.78 of the time that
going through every window takes, on 7x7 images 0.90 (batch 16, two Zen 4 cores).

Inference wants the maxima alone. Of 3x3 windows 1 apart three that lie below each other share a row: its maximum is found once (max_values_one_apart). For one image
whose pixels both cores have just written, that takes 26 us where going through every window takes 44 (192x28x28), 23 for 31 (512x14x14), 15 for 17 (832x7x7).
"""
from numba import prange

from ..runtime import jit
from ..simd.choose import div, load_bytes, number, put, store_bytes, take, where_equal, where_larger
from ..simd.vector import add, fma, lanes, load, maximum, splat, total, zero

BAND = 7  # rows of 3x3 windows one apart to a task, at most
FEW, BLOCK = 8, 16  # below FEW rows of windows (a mean over all of one image is a single window) a task is BLOCK vectors of channels of one

# ---- four vectors at a time: a window is a short loop, which costs about as much to begin and to end as a vector's work in it


@jit
def four(vector):
    return vector, vector, vector, vector


@jit
def take_four(x, offset, left):
    """Vectors from `offset` on; what is beyond `left` elements is not read."""
    L = lanes(x)
    if left >= 4 * L:
        return load(x, offset), load(x, offset + L), load(x, offset + 2 * L), load(x, offset + 3 * L)
    return (take(x, offset, left), take(x, offset + L, max(0, left - L)), take(x, offset + 2 * L, max(0, left - 2 * L)), take(x, offset + 3 * L, max(0, left - 3 * L)))


@jit
def put_four(y, offset, left, past_cache, vectors):
    for i, vector in enumerate(vectors):
        if left > i * lanes(y):
            put(y, offset + i * lanes(y), left - i * lanes(y), past_cache, vector)


@jit
def store_bytes_four(y, offset, left, vectors, L):
    for i, vector in enumerate(vectors):
        if left > i * L:
            store_bytes(y, offset + i * L, left - i * L, vector)


@jit
def where_larger_four(new, old, a, b):
    return (where_larger(new[0], old[0], a[0], b[0]), where_larger(new[1], old[1], a[1], b[1]),
            where_larger(new[2], old[2], a[2], b[2]), where_larger(new[3], old[3], a[3], b[3]))


@jit
def maximum_four(a, b):
    return maximum(a[0], b[0]), maximum(a[1], b[1]), maximum(a[2], b[2]), maximum(a[3], b[3])


@jit
def sum_of_four(a):
    return add(add(a[0], a[1]), add(a[2], a[3]))


@jit
def add_where_equal_four(total, winners, tap, dy, o, left):
    """total + dy where the winner is this tap."""
    dys, L = take_four(dy, o, left), lanes(dy)
    return (add(total[0], where_equal(load_bytes(dy, winners, o, left), tap, dys[0])),
            add(total[1], where_equal(load_bytes(dy, winners, o + L, max(0, left - L)), tap, dys[1])),
            add(total[2], where_equal(load_bytes(dy, winners, o + 2 * L, max(0, left - 2 * L)), tap, dys[2])),
            add(total[3], where_equal(load_bytes(dy, winners, o + 3 * L, max(0, left - 3 * L)), tap, dys[3])))


@jit
def fma_four(a, b, total):
    return fma(a[0], b, total[0]), fma(a[1], b, total[1]), fma(a[2], b, total[2]), fma(a[3], b, total[3])


@jit
def add_four(a, b):
    return add(a[0], b[0]), add(a[1], b[1]), add(a[2], b[2]), add(a[3], b[3])


@jit
def div_four(a, b):
    return div(a[0], b), div(a[1], b), div(a[2], b), div(a[3], b)


@jit(parallel=True)
def max_forward(x, N, C, H, W, rows, columns, S, past_cache, y, winners):
    """y and winners of x, all flat. rows (P, 3), columns (Q, 3): first, end and step of what a window sees; S: the most columns that one sees."""
    P = len(rows)
    for task in prange(N * P):
        _max_row(x, task // P * H * W * C, C, W, rows[task % P], columns, S, past_cache, y, winners, task * len(columns) * C)


@jit
def _max_row(x, image, C, W, row, columns, S, past_cache, y, winners, out):
    for q in range(len(columns)):
        first, end, step = columns[q]
        for c in range(0, C, 4 * lanes(x)):
            best, winner = take_four(x, image + (row[0] * W + first) * C + c, C - c), four(zero(x))
            tap = 0
            for h in range(row[0], row[1], row[2]):
                for s, w in enumerate(range(first, end, step)):
                    new = take_four(x, image + (h * W + w) * C + c, C - c)
                    winner = where_larger_four(new, best, four(number(x, tap + s)), winner)
                    best = where_larger_four(new, best, new, best)
                tap += S
            put_four(y, out + q * C + c, C - c, past_cache, best)
            store_bytes_four(winners, out + q * C + c, C - c, winner, lanes(x))


@jit(parallel=True)
def max_forward_one_apart(x, N, C, H, W, rows, columns, S, threads, past_cache, y, winners):
    """The same for 3x3 windows one apart: three windows below each other see a row, and share which of its three columns wins there."""
    P, Q = len(rows), len(columns)
    bands = min(P, (P + BAND * threads - 1) // (BAND * threads) * threads)  # no bit depends on how the rows of windows are cut
    for task in prange(N * bands):
        image, first, end = task // bands, task % bands * P // bands, (task % bands + 1) * P // bands
        _max_band(x, image * H * W * C, C, W, rows[first:end], columns, S, past_cache, y, winners, (image * P + first) * Q * C)


@jit
def _max_band(x, image, C, W, rows, columns, S, past_cache, y, winners, out):
    """Down a column of windows, what won in the last two rows stays in registers. At an edge a row or column that is not there is the one beside it again, with the
    same number: it wins a second time where it is NaN, which changes nothing."""
    Q = len(columns)
    for q in range(Q):
        first, end, _ = columns[q]
        second, third = max(first, end - 2) - first, end - 1 - first
        for c in range(0, C, 4 * lanes(x)):
            at, left = image + first * C + c, C - c
            middle = max(rows[0, 0], rows[0, 1] - 2)
            up, up_winner = _winner_across(x, at + rows[0, 0] * W * C, C, second, third, left)
            mid, mid_winner = _winner_across(x, at + middle * W * C, C, second, third, left)
            for p in range(len(rows)):
                bottom = rows[p, 1] - 1
                down, down_winner = _winner_across(x, at + bottom * W * C, C, second, third, left)
                winner = where_larger_four(mid, up, add_four(mid_winner, four(number(x, (middle - rows[p, 0]) * S))), up_winner)
                best = where_larger_four(mid, up, mid, up)
                winner = where_larger_four(down, best, add_four(down_winner, four(number(x, (bottom - rows[p, 0]) * S))), winner)
                put_four(y, out + (p * Q + q) * C + c, left, past_cache, where_larger_four(down, best, down, best))
                store_bytes_four(winners, out + (p * Q + q) * C + c, left, winner, lanes(x))
                up, up_winner, mid, mid_winner, middle = mid, mid_winner, down, down_winner, bottom


@jit
def _winner_across(x, at, C, second, third, left):
    """The maximum of three pixels in a row, and which of them it is."""
    a, b, c = take_four(x, at, left), take_four(x, at + second * C, left), take_four(x, at + third * C, left)
    winner, best = where_larger_four(b, a, four(number(x, second)), four(zero(x))), where_larger_four(b, a, b, a)
    return where_larger_four(c, best, c, best), where_larger_four(c, best, four(number(x, third)), winner)


@jit(parallel=True)
def max_values(x, N, C, H, W, rows, columns, past_cache, y):
    """The maxima alone, for inference: half the instructions."""
    P = len(rows)
    for task in prange(N * P):
        _max_values_row(x, task // P * H * W * C, C, W, rows[task % P], columns, past_cache, y, task * len(columns) * C)


@jit
def _max_values_row(x, image, C, W, row, columns, past_cache, y, out):
    for q in range(len(columns)):
        first, end, step = columns[q]
        for c in range(0, C, 4 * lanes(x)):
            best = take_four(x, image + (row[0] * W + first) * C + c, C - c)
            for h in range(row[0], row[1], row[2]):
                for w in range(first, end, step):
                    new = take_four(x, image + (h * W + w) * C + c, C - c)
                    best = where_larger_four(new, best, new, best)
            put_four(y, out + q * C + c, C - c, past_cache, best)


@jit(parallel=True)
def max_values_one_apart(x, N, C, H, W, rows, columns, threads, past_cache, y):
    """The same for 3x3 windows one apart: three windows below each other see a row, and share what its maximum in their three columns is."""
    P, Q = len(rows), len(columns)
    bands = min(P, (P + BAND * threads - 1) // (BAND * threads) * threads)  # no bit depends on how the rows of windows are cut
    for task in prange(N * bands):
        image, first, end = task // bands, task % bands * P // bands, (task % bands + 1) * P // bands
        x0, y0 = image * H * W * C, image * P * Q * C
        seen = _max_values_band(x, x0, C, W, rows[first:end], columns, past_cache, y, y0 + first * Q * C)
        if seen != seen:  # NaN is among them (or infinities of both signs): again, with care
            for p in range(first, end):
                _max_values_row(x, x0, C, W, rows[p], columns, past_cache, y, y0 + p * Q * C)


@jit
def _max_values_band(x, image, C, W, rows, columns, past_cache, y, out):
    """The maxima in a band of windows, and the sum of all that they see. `maximum` is one instruction, but passes NaN over; a sum is another, and does not.

    The first in row-major order wins, 0 or -0, for rows are searched before they are compared. At an edge a row or column that is not there is the one beside it
    again. Down a column of windows the maxima of the last two rows stay in registers.
    """
    Q, all_seen = len(columns), zero(x)
    for q in range(Q):
        first, end, _ = columns[q]
        second, third = (max(first, end - 2) - first) * C, (end - 1 - first) * C
        for c in range(0, C, 4 * lanes(x)):
            at = image + first * C + c
            up, seen = _across(x, at + rows[0, 0] * W * C, second, third, C - c)
            mid, more = _across(x, at + max(rows[0, 0], rows[0, 1] - 2) * W * C, second, third, C - c)
            seen = add(seen, more)
            for p in range(len(rows)):
                down, more = _across(x, at + (rows[p, 1] - 1) * W * C, second, third, C - c)
                put_four(y, out + (p * Q + q) * C + c, C - c, past_cache, maximum_four(down, maximum_four(mid, up)))
                up, mid, seen = mid, down, add(seen, more)
            all_seen = add(all_seen, seen)
    return total(all_seen)


@jit
def _across(x, at, second, third, left):
    """The maximum of three pixels in a row, and their sum."""
    a, b, c = take_four(x, at, left), take_four(x, at + second, left), take_four(x, at + third, left)
    return maximum_four(c, maximum_four(b, a)), add(sum_of_four(a), add(sum_of_four(b), sum_of_four(c)))


@jit(parallel=True)
def max_backward(dy, winners, N, C, H, W, P, Q, S, by_row, by_column, past_cache, dx):
    """dx from dy and winners, all flat. by_row, by_column: windows.seen_by of the rows and of the columns."""
    for task in prange(N * H):
        _max_backward_row(dy, winners, task // H * P * Q * C, task % H, C, W, Q, S, by_row, by_column, past_cache, dx, task * W * C)


@jit
def _max_backward_row(dy, winners, image, h, C, W, Q, S, by_row, by_column, past_cache, dx, out):
    row_starts, ps, rs = by_row
    column_starts, qs, ss = by_column
    for w in range(W):
        for c in range(0, C, 4 * lanes(dx)):
            total = four(zero(dx))
            for i in range(row_starts[h], row_starts[h + 1]):
                for j in range(column_starts[w], column_starts[w + 1]):
                    o = image + (ps[i] * Q + qs[j]) * C + c
                    total = add_where_equal_four(total, winners, number(dx, rs[i] * S + ss[j]), dy, o, C - c)
            put_four(dx, out + w * C + c, C - c, past_cache, total)


@jit(parallel=True)
def avg_forward(x, N, C, H, W, rows, columns, numbers, past_cache, y):
    """y of x, both flat; numbers (P, Q) to divide by."""
    P = len(rows)
    width = BLOCK * lanes(x) if N * P < FEW else max(1, C)  # channels to a task
    blocks = (C + width - 1) // width
    for task in prange(N * P * blocks):
        row, c = task // blocks, task % blocks * width
        _avg_row(x, row // P * H * W * C, C, c, min(C, c + width), W, rows[row % P], columns, numbers[row % P], past_cache, y, row * len(columns) * C)


@jit
def _avg_row(x, image, C, c0, c1, W, row, columns, numbers, past_cache, y, out):
    """A row of windows, channels c0 to c1."""
    for q in range(len(columns)):
        first, end, step = columns[q]
        for c in range(c0, c1, 4 * lanes(x)):
            total = four(zero(x))
            for h in range(row[0], row[1], row[2]):
                for w in range(first, end, step):
                    total = add_four(total, take_four(x, image + (h * W + w) * C + c, C - c))
            put_four(y, out + q * C + c, C - c, past_cache, div_four(total, splat(numbers[q])))


@jit(parallel=True)
def avg_backward(dy, N, C, H, W, P, Q, shares, by_row, by_column, past_cache, dx):
    """dx from dy, both flat; shares (P, Q): 1 / number."""
    for task in prange(N * H):
        _avg_backward_row(dy, task // H * P * Q * C, task % H, C, W, Q, shares, by_row, by_column, past_cache, dx, task * W * C)


@jit
def _avg_backward_row(dy, image, h, C, W, Q, shares, by_row, by_column, past_cache, dx, out):
    row_starts, ps, _ = by_row
    column_starts, qs, _ = by_column
    for w in range(W):
        for c in range(0, C, 4 * lanes(dx)):
            total = four(zero(dx))
            for i in range(row_starts[h], row_starts[h + 1]):
                for j in range(column_starts[w], column_starts[w + 1]):
                    total = fma_four(take_four(dy, image + (ps[i] * Q + qs[j]) * C + c, C - c), splat(shares[ps[i], qs[j]]), total)
            put_four(dx, out + w * C + c, C - c, past_cache, total)
