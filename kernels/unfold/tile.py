"""Unfolding a part of an image, serially: what im2col, col2im and the convolution by matrix product do inside their tiles.

The columns of one image are a matrix with rows (c*R + r)*S + s and columns t = p*Q + q. A tile of it, some channels and taps by some t, is all that need exist at
any time, so the memory for it is bounded whatever the image. A row is one channel of the image shifted by the tap (r, s): cut at the ends of output rows into
runs, each of them a piece of one row of the image (every stride-th element) with zeros where it sticks out. How a row is cut depends on the tap and not on the
channel, so each run is found once and copied for every channel.

`unfold_tile` copies runs from the image into the tile; `fold_tile`, its adjoint, adds them from the tile into the image.

**Napkin.** One load and one store a vector; on rows of 56 elements 0.15 ns an element, on rows of 7, where a run is less than half a vector, 0.5 ns. A filter bank
of K uses each element for 2*K FLOPs, 0.02 ns each.
"""
from ..runtime import jit
from ..simd.vector import add, lanes, load, load_part, store, store_part, zero


@jit
def span(positions, length, stride, shift):
    """The positions q in range(positions) with 0 <= q*stride + shift < length, as (first, end). None: (0, 0)."""
    first = max(0, -(shift // stride))  # the smallest q with q*stride >= -shift
    end = min(positions, (length - 1 - shift) // stride + 1)
    return (first, end) if first < end else (0, 0)


@jit
def unfold_tile(x, x0, image, Q, S, stride, padding, dilation, channels, taps, t0, t1, columns, o0, o_row):
    """Write columns t0 to t1 of the unfolded image at x[x0], for `channels` of it and the taps r*S + s from taps[0] to taps[1], into `columns`.

    columns begins at o0, and its rows are o_row apart.
    """
    H, W = image
    for tap in range(taps[0], taps[1]):
        shift = tap % S * dilation[1] - padding[1]
        first, end = span(Q, W, stride[1], shift)
        o, left = o0 + (tap - taps[0]) * o_row, t1 - t0
        q = t0 % Q  # the first run may begin inside an output row
        h = t0 // Q * stride[0] + tap // S * dilation[0] - padding[0]
        while left > 0:
            n = min(Q - q, left)
            a, b = (min(max(first - q, 0), n), min(max(end - q, 0), n)) if 0 <= h < H else (n, n)
            _copy_runs(channels, x, x0 + h * W + q * stride[1] + shift, H * W, stride[1], a, b, n, columns, o, (taps[1] - taps[0]) * o_row)
            o, left, q, h = o + n, left - n, 0, h + stride[0]


@jit
def _copy_runs(channels, x, x0, x_channel, stride, a, b, n, out, o, o_channel):
    """For each channel: out[o + j] = x[x0 + j*stride] for a <= j < b, and 0 elsewhere in range(n)."""
    L = lanes(x)
    whole = a + (b - a) // L * L
    for _ in range(channels):
        for j in range(0, a, L):
            store_part(out, o + j, a - j, zero(x))
        if stride == 1:
            for j in range(a, whole, L):
                store(out, o + j, load(x, x0 + j))
            for j in range(whole, n, L):
                store_part(out, o + j, n - j, load_part(x, x0 + j, b - j))
        else:
            for j in range(a, b):
                out[o + j] = x[x0 + j * stride]
            for j in range(b, n, L):
                store_part(out, o + j, n - j, zero(x))
        x0, o = x0 + x_channel, o + o_channel


@jit
def fold_tile(columns, o0, o_row, image, Q, S, stride, padding, dilation, channels, taps, t0, t1, x, x0):
    """Add columns t0 to t1 of unfolded gradients, laid out as unfold_tile does, to the image at x[x0]."""
    H, W = image
    for tap in range(taps[0], taps[1]):
        shift = tap % S * dilation[1] - padding[1]
        first, end = span(Q, W, stride[1], shift)
        o, left = o0 + (tap - taps[0]) * o_row, t1 - t0
        q = t0 % Q
        h = t0 // Q * stride[0] + tap // S * dilation[0] - padding[0]
        while left > 0:
            n = min(Q - q, left)
            if 0 <= h < H:
                a, b = max(first - q, 0), min(end - q, n)
                _add_runs(channels, columns, o, (taps[1] - taps[0]) * o_row, a, b, x, x0 + h * W + q * stride[1] + shift, H * W, stride[1])
            o, left, q, h = o + n, left - n, 0, h + stride[0]


@jit
def _add_runs(channels, columns, o, o_channel, a, b, x, x0, x_channel, stride):
    """For each channel: x[x0 + j*stride] += columns[o + j] for a <= j < b."""
    L = lanes(x)
    whole = a + max(b - a, 0) // L * L
    for _ in range(channels):
        if stride == 1:
            for j in range(a, whole, L):
                store(x, x0 + j, add(load(x, x0 + j), load(columns, o + j)))
            if whole < b:
                store_part(x, x0 + whole, b - whole, add(load_part(x, x0 + whole, b - whole), load_part(columns, o + whole, b - whole)))
        else:
            for j in range(a, b):
                x[x0 + j * stride] += columns[o + j]
        x0, o = x0 + x_channel, o + o_channel
