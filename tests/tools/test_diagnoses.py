"""Diagnoses of bugs that are not in the museum: what a test says must follow from the data, not from the exhibits that it was written for."""
import numpy as np
import pytest

from tinycnn.checker import gradcheck
from tinycnn.museum import exhibit
from tinycnn.museum.tools import conv_case

CONV = exhibit("conv_stride")


def conv(change):
    """A convolution whose right (dx, dw) are changed: change(dx, dw, dy, x, w, options) -> (dx, dw)."""
    def backward(dy, x, w, *options):
        return change(*CONV.right(dy, x, w, *options), dy, x, w, options)
    return CONV.forward, lambda rng: conv_case(rng, batch=2), backward


def without(index):
    """The convolution without part of its dx."""
    def change(dx, dw, *_):
        dx[index] = 0
        return dx, dw
    return conv(change)


def without_edges(dx, dw, *_):
    inner = np.zeros_like(dx)
    inner[:, :, 1:-1, 1:-1] = dx[:, :, 1:-1, 1:-1]
    return inner, dw


def layer_norm(x, g):
    return normalised(x)[0] * g


def normalised(x):
    deviation = np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return (x - x.mean(-1, keepdims=True)) / deviation, deviation


def layer_norm_backward(mean_term, dg_from):
    def backward(dy, x, g):
        xhat, deviation = normalised(x)
        d = dy * g
        dx = d - mean_term * d.mean(-1, keepdims=True) - xhat * (d * xhat).mean(-1, keepdims=True)
        return dx / deviation, (dy * (xhat if dg_from == "xhat" else x)).sum(0)
    return layer_norm, lambda rng: (rng.standard_normal((4, 6)), rng.uniform(0.5, 2, 6)), backward


def of(*shapes):
    return lambda rng: tuple(rng.standard_normal(shape) for shape in shapes)


BUGS = {
    "dw flipped": ("flipped", conv(lambda dx, dw, *_: (dx, dw[:, :, ::-1, ::-1]))),
    "dw of the last image alone": ("overwritten", conv(lambda dx, dw, dy, x, w, o: (dx, CONV.right(dy[-1:], x[-1:], w, *o)[1]))),
    "dw times the size of the filter": ("factor", conv(lambda dx, dw, *_: (dx, dw * dw[0, 0].size))),
    "dx of the first image alone": ("part of an axis", without(np.s_[1:])),
    "dx without channel 0": ("part of an axis", without(np.s_[:, 0])),
    "dx without its edges": ("borders", conv(without_edges)),
    "layer norm without the mean's term": ("missing term", layer_norm_backward(0, "xhat")),
    "layer norm, scale from the raw input": ("wrong factor", layer_norm_backward(1, "x")),
    "attention without its scale": ("factor", (lambda q, k: q @ k.T / np.sqrt(q.shape[1]), of((3, 4), (5, 4)), lambda dy, q, k: (dy @ k, dy.T @ q))),
    "abs as if it were the identity": ("mask", (np.abs, of((4, 5)), lambda dy, x: dy)),
    "norm without its division": ("missing factor", (lambda x: np.sqrt((x * x).sum(1)), of((4, 5)), lambda dy, x: dy[:, None] * x)),
    "variance without its 2": ("factor", (lambda x: x.var(1), of((4, 5)), lambda dy, x: dy[:, None] * (x - x.mean(1, keepdims=True)) / x.shape[1])),
    "normalised by a constant norm": ("missing term", (lambda x: x / np.sqrt((x * x).sum(1, keepdims=True)), of((4, 5)),
                                                       lambda dy, x: dy / np.sqrt((x * x).sum(1, keepdims=True)))),
    "cumulative sum run forward": ("transposed", (lambda x: np.cumsum(x, 1), of((3, 5)), lambda dy, x: np.cumsum(dy, 1))),
    "outer product with dy transposed": ("transposed", (np.outer, of((4,), (4,)), lambda dy, a, b: (dy.T @ b, dy.T @ a))),
    "inner derivative forgotten": ("chain rule", (lambda x: np.tanh(3 * x) ** 3, of((4, 3)), lambda dy, x: dy * 9 * np.tanh(3 * x) ** 2)),
}


@pytest.mark.parametrize("name", BUGS)
def test_the_right_family_is_named(name):
    family, (forward, inputs, backward) = BUGS[name]
    for seed in range(3):
        report = gradcheck(forward, inputs(np.random.default_rng(seed)), backward, progress=False)
        assert report.verdict == "wrong" and report.family == family, report


def test_what_fits_nothing_is_not_given_a_name():
    """Noise has no cause. Kills: a diagnosis that always says something."""
    noise = np.random.default_rng(0).standard_normal((6, 5))
    report = gradcheck(lambda x, w: np.tanh(x @ w), of((4, 6), (6, 5))(np.random.default_rng(1)),
                       lambda dy, x, w: ((dy * (1 - np.tanh(x @ w) ** 2)) @ w.T, (x.T @ (dy * (1 - np.tanh(x @ w) ** 2))) * (1 + 0.1 * noise)))
    assert report.verdict == "wrong" and [r.verdict for r in report.inputs] == ["right", "wrong"]
    assert report.family is None and "none of the known patterns fits" in str(report), report
