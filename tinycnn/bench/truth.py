"""Answers to compare with: convolution as R*S shifted matrix products by NumPy's BLAS, image by image.

It shares no code with the kernels that it judges and is fast enough, in float64, for whole layers; a test compares it with tinycnn.kernels.conv.reference. For each
tap (r, s) of the filter, with X the part of the padded image that the tap lies over, (C, P*Q), and W the filters' weights at this tap, (K, C):

    forward  Y += W @ X        input_grad  X += W^T @ dY  (X is a view of dx)        weight_grad  W += dY @ X^T

In float32 the same code is the benchmark's rival "plain NumPy". For networks the whole engine runs on it, in float64 (at the end of this file).

These answers take longer than anything that is measured. Images are shared out among threads; and what was computed once is read from a folder if there is one
(`kept`), so that time on a rented GPU is not spent waiting for it.
"""
import hashlib
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from threadpoolctl import ThreadpoolController

from ..device import cpu
from ..kernels import backend
from ..kernels.conv.epilogue import NOTHING, finish
from ..train.files import replacing

_threads = 1  # among which images are shared out


def taps(padded, layer):
    """(r, s, the part (G, C/G, P, Q) of an image (C, H + padding, W + padding) that lies under tap (r, s), as a view)"""
    P, Q = layer.y_shape[2:]
    (vertical, horizontal), (down, right), G = layer.stride, layer.dilation, layer.groups
    for r in range(layer.R):
        for s in range(layer.S):
            part = padded[:, r * down:r * down + (P - 1) * vertical + 1:vertical, s * right:s * right + (Q - 1) * horizontal + 1:horizontal]
            Cg = layer.C // G
            yield r, s, np.lib.stride_tricks.as_strided(part, (G, Cg, P, Q), (part.strides[0] * Cg, *part.strides))  # reshape might copy


def padded(x, layer):
    """An image (C, H, W) with its padding."""
    (top, left) = layer.padding
    return np.pad(x, ((0, 0), (top, top), (left, left)))


def forward(x, w, bias, layer):
    """y (N, K, P, Q)"""
    N, K, P, Q = layer.y_shape
    G, Kg, Cg = layer.groups, K // layer.groups, layer.C // layer.groups
    by_tap = np.ascontiguousarray(w.reshape(G, Kg, Cg, layer.R, layer.S).transpose(3, 4, 0, 1, 2))
    y = np.empty((N, G, Kg, P * Q), x.dtype)

    def one(image, out):
        out[:] = 0 if bias is None else bias.reshape(G, Kg, 1)
        for r, s, part in taps(padded(image, layer), layer):
            out += by_tap[r, s] @ part.reshape(G, Cg, P * Q)
    each(one, x, y)
    return y.reshape(N, K, P, Q)


def input_grad(dy, w, layer):
    """dx (N, C, H, W)"""
    N, K, P, Q = layer.y_shape
    (top, left), G, Kg, Cg = layer.padding, layer.groups, K // layer.groups, layer.C // layer.groups
    by_tap = np.ascontiguousarray(w.reshape(G, Kg, Cg, layer.R, layer.S).transpose(3, 4, 0, 2, 1))
    dx = np.zeros((N, layer.C, layer.H + 2 * top, layer.W + 2 * left), dy.dtype)

    def one(image, out):
        for r, s, part in taps(image, layer):
            part += (by_tap[r, s] @ out).reshape(G, Cg, P, Q)
    each(one, dx, dy.reshape(N, G, Kg, P * Q))
    return np.ascontiguousarray(dx[:, :, top:top + layer.H, left:left + layer.W])


def weight_grad(dy, x, layer):
    """dw (K, C/groups, R, S)"""
    N, K, P, Q = layer.y_shape
    G, Kg, Cg = layer.groups, K // layer.groups, layer.C // layer.groups

    def one(image, out):
        return [out @ part.reshape(G, Cg, P * Q).swapaxes(1, 2) for _, _, part in taps(padded(image, layer), layer)]
    by_tap = np.zeros((layer.R * layer.S, G, Kg, Cg), dy.dtype)
    for products in each(one, x, dy.reshape(N, G, Kg, P * Q)):
        for sum_of_images, product in zip(by_tap, products):
            sum_of_images += product
    by_tap = by_tap.reshape(layer.R, layer.S, G, Kg, Cg)
    return np.ascontiguousarray(by_tap.transpose(2, 3, 4, 0, 1)).reshape(layer.w_shape)


def each(work, *columns):
    """[work(image, ...) for all images]; several at a time within `spread`."""
    if _threads == 1:
        return list(map(work, *columns))
    with ThreadPoolExecutor(_threads) as pool:
        return list(pool.map(work, *columns))


@contextmanager
def spread(threads):
    """Within this block images are shared out among so many threads, each with a BLAS of one thread; None: as NumPy is set up."""
    global _threads
    before, _threads = _threads, threads or 1
    try:
        with ThreadpoolController().limit(limits=1, user_api="blas") if threads else nullcontext():
            yield
    finally:
        _threads = before


def threads_for(place, threads):
    """Threads for the truth: those of everybody, or where a GPU is measured all cores, since nobody is timed meanwhile."""
    return threads if place.device == "cpu" else os.cpu_count()


def kept(compute, *key):
    """compute(), or what it was last time: in the folder that the variable TINYCNN_ANSWERS names, under a key that says all that it depends on but the code."""
    if "TINYCNN_ANSWERS" not in os.environ:
        return compute()
    path = Path(os.environ["TINYCNN_ANSWERS"], hashlib.sha256(repr(key).encode()).hexdigest()[:24])
    if not path.exists():
        answer = compute()
        with replacing(path) as part:
            part.write_bytes(pickle.dumps(answer, 5))
    return pickle.loads(path.read_bytes())


def answers(x, w, bias, dy, layer, forms, threads=None):
    """{form: float64 array} for those of `forms` asked for, from arrays of any precision. threads: see `spread`."""
    x, w, dy = (array.astype(np.float64) for array in (x, w, dy))
    bias = None if bias is None else bias.astype(np.float64)
    compute = {"forward": lambda: forward(x, w, bias, layer), "input_grad": lambda: input_grad(dy, w, layer), "weight_grad": lambda: weight_grad(dy, x, layer)}
    with spread(threads):
        return {form: compute[form]() for form in forms}


# ---- whole networks: our engine in float64, on the reference kernels, with convolution by the above

class Convolution:
    """The functions of kernels.conv.reference, computed by this file."""

    @staticmethod
    def layer(x_shape, w_shape, geometry):
        from .layers import Layer
        return Layer("", *x_shape, w_shape[0], *w_shape[2:], *geometry)

    def forward(self, x, w, bias, geometry, epilogue=NOTHING):
        return finish(forward(x, w, bias, self.layer(x.shape, w.shape, geometry)), epilogue)

    def input_grad(self, dy, w, x_shape, geometry, add=None):
        dx = input_grad(dy, w, self.layer(x_shape, w.shape, geometry))
        return dx if add is None else dx + add

    def weight_grad(self, dy, x, w_shape, geometry):
        return weight_grad(dy, x, self.layer(x.shape, w_shape, geometry))


class Table:
    """A kernel table (see tinycnn.kernels): the references, and the above."""

    name, conv = "truth", Convolution()

    def __getattr__(self, operation):
        return getattr(backend("reference"), operation)


@contextmanager
def engine(threads):
    """Within this block the engine computes on this table, on so many threads."""
    before, cpu.kernels = cpu.kernels, Table()
    try:
        with spread(threads):
            yield
    finally:
        cpu.kernels = before
