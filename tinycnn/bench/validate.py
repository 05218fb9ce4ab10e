"""Is an answer right, and if not, what is wrong with it?

Errors are in sigma: the largest deviation from the float64 answer, divided by the root mean square of that answer. What is allowed,

    1e-4 + 2^-22 * sqrt(terms in each sum),

leaves room for every way to compute in float32 that is known to be of use (Winograd's F(6x6) is off by 5e-5; plain summation of a million terms by 1e-4) and for
nothing less precise: TF32 and bfloat16 fail, and a forgotten product among thousands, 1e-2 sigma, fails by far. Where TF32 is asked for (a GPU's tensor cores), factors
are rounded, or cut off, to 10 bits: off by up to 2^-10 each, the sum of many by about that in sigma, and the worst of millions of sums by some times as much: 2^-7.

A kernel that somebody brings is tried on small awkward shapes. Where it is wrong its answer is compared with the answers of the usual mistakes, and where it is like
none of these, with the places where it is wrong: "only at q = 8 of 9" has found many a bug.
"""
from typing import NamedTuple

import numpy as np

from . import truth
from .layers import FORMS, Layer

#       why it is here                            N  C   H   W   K   R  S
CASES = (
    Layer("plain", 2, 3, 7, 6, 4, 3, 3),
    Layer("padded", 2, 3, 7, 6, 4, 3, 3, padding=(1, 1), bias=True),
    Layer("rows and columns differ", 2, 3, 9, 7, 4, 3, 2, stride=(2, 1), padding=(2, 1)),
    Layer("not a multiple of any tile", 3, 33, 13, 11, 17, 3, 3, padding=(1, 1), bias=True),
    Layer("larger than a tile", 1, 20, 37, 41, 70, 3, 3, padding=(1, 1)),
    Layer("5x5", 2, 5, 12, 9, 7, 5, 5, padding=(2, 2), bias=True),
    Layer("first layer: 11x11, stride 4", 1, 3, 43, 39, 10, 11, 11, stride=(4, 4), bias=True),
    Layer("first layer: 7x7, stride 2", 2, 3, 23, 20, 9, 7, 7, stride=(2, 2), padding=(3, 3)),
    Layer("the stride leaves rows over", 2, 2, 10, 11, 3, 3, 3, stride=(3, 3)),
    Layer("the stride jumps over inputs", 1, 2, 9, 9, 3, 2, 2, stride=(3, 3), bias=True),
    Layer("1x1", 2, 19, 6, 5, 23, 1, 1, bias=True),
    Layer("1x1, stride 2", 2, 4, 5, 6, 3, 1, 1, stride=(2, 2)),
    Layer("1x1, padded", 2, 4, 5, 6, 3, 1, 1, padding=(1, 1)),
    Layer("dilated", 2, 3, 11, 9, 4, 3, 3, padding=(2, 2), dilation=(2, 2)),
    Layer("dilated as far as strided", 1, 3, 12, 11, 4, 3, 3, stride=(2, 2), padding=(1, 1), dilation=(2, 2)),
    Layer("two groups", 2, 6, 7, 5, 8, 3, 3, padding=(1, 1), groups=2, bias=True),
    Layer("depthwise", 2, 5, 8, 6, 5, 3, 3, stride=(2, 2), padding=(1, 1), groups=5),
    Layer("the filter is larger than the image", 2, 2, 3, 4, 2, 5, 6, padding=(1, 1)),
    Layer("one pixel", 1, 1, 1, 1, 1, 1, 1),
)


class Finding(NamedTuple):
    """One form of one case."""

    form: str
    case: Layer
    error: float | None  # in sigma; None where there is no answer to judge
    fault: str | None  # what is wrong, or None
    unsupported: bool = False


def allowed(length, math="fp32"):
    """The error, in sigma, that counts as rounding of sums of so many products."""
    return 1e-4 + 2**-22 * length**0.5 + (2**-7 if math == "tf32" else 0)


def error(actual, expected):
    """In sigma of the expected answer; infinite where there are NaNs or infinities that do not belong there."""
    if not expected.size:
        return 0.0
    sigma = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64)))) or 1.0
    difference = float(np.max(np.abs(np.asarray(actual, np.float64) - expected)))
    return difference / sigma if np.isfinite(difference) else float("inf")


def draw(layer, seed=0):
    """(x, w, bias or None, dy) in float32: normal, the weights so small that y is about as large as x."""
    rng = np.random.default_rng(seed)
    x, w, dy = (rng.standard_normal(shape, np.float32) for shape in (layer.x_shape, layer.w_shape, layer.y_shape))
    w /= np.float32(np.prod(layer.w_shape[1:]) ** 0.5)
    return x, w, rng.standard_normal(layer.K, np.float32) if layer.bias else None, dy


def check(contestant, cases=CASES, forms=FORMS, math=""):
    """[Finding] of every form that the contestant has, on every case."""
    findings = []
    for layer in cases:
        arrays = draw(layer)
        functions = contestant.conv(layer, *arrays)
        expected = truth.answers(*arrays, layer, [form for form in forms if form in functions])
        with contestant.running():
            for form in expected:
                findings.append(judge(form, layer, functions[form], arrays, expected[form], math))
    return findings


def judge(form, layer, function, arrays, expected, math=""):
    """The Finding about one function."""
    before = [None if array is None else array.copy() for array in arrays]
    try:
        first = function()
        kept = np.array(first)
        second = np.array(function())
    except NotImplementedError as reason:
        return Finding(form, layer, None, f"not implemented: {reason}", unsupported=True)
    except Exception as failure:  # a stranger's code: whatever it raises is the finding
        return Finding(form, layer, None, f"raises {type(failure).__name__}: {failure}")
    fault = about_the_array(first, expected.shape, form, layer)
    if fault:
        return Finding(form, layer, None, fault)
    changed = [name for name, array, was in zip(("x", "w", "bias", "dy"), arrays, before) if array is not None and not np.array_equal(array, was)]
    for array, was in zip(arrays, before):
        if array is not None:
            array[...] = was
    if changed:
        return Finding(form, layer, None, f"changes its input {' and '.join(changed)}")
    off, rounding = error(kept, expected), allowed(layer.length(form), math)
    if off > rounding:
        return Finding(form, layer, off, diagnose(form, layer, kept, before, expected))
    if error(second, expected) > rounding:
        return Finding(form, layer, off, "is right when called first and wrong when called again: something is left over from the first call")
    if not np.array_equal(first, kept):
        return Finding(form, layer, off, "gives the same memory every time: the second call overwrote the result of the first")
    return Finding(form, layer, off, None)


def about_the_array(result, shape, form, layer):
    """What is wrong with a result before its numbers are looked at, or None."""
    if not isinstance(result, np.ndarray):
        return f"returns a {type(result).__name__}; it must return a NumPy array"
    if result.dtype != np.float32:
        return f"returns {result.dtype}; for float32 inputs it must be float32"
    if result.shape == shape:
        return None
    text = f"the result has shape {result.shape}; it must be {shape}"
    if form == "forward":
        for mistake, other in mistaken_layers(layer):
            if other.y_shape == result.shape:
                return f"{text}. That is the shape {mistake}"
    if form == "input_grad" and result.ndim == 4 and result.shape[:2] == shape[:2]:
        if result.shape[2:] == (layer.H + 2 * layer.padding[0], layer.W + 2 * layer.padding[1]):
            return f"{text}. The padding has not been cut off"
        if result.shape[2] <= shape[2] and result.shape[3] <= shape[3]:
            return f"{text}. Inputs that no filter position reached belong to it as well, with a gradient of 0"
    return text


def mistaken_layers(layer):
    """(what has gone wrong, the layer that is then computed)"""
    for field, usual in (("padding", (0, 0)), ("stride", (1, 1)), ("dilation", (1, 1))):
        value = getattr(layer, field)
        for other, mistake in ((usual, f"if the {field} is ignored"), (value[::-1], f"if vertical and horizontal {field} are exchanged")):
            if other != value:
                try:
                    mistaken = layer._replace(**{field: other})
                    mistaken.y_shape  # noqa: B018  raises where the filter does not fit
                    yield mistake, mistaken
                except ValueError:
                    pass


def diagnose(form, layer, actual, arrays, expected):
    """What is wrong with the numbers."""
    off = error(actual, expected)
    text = f"is wrong by {off:.2g} sigma"
    for mistake, answer in mistakes(form, layer, *(None if array is None else array.astype(np.float64) for array in arrays)):
        if answer is not None and answer.shape == actual.shape and error(actual, answer) < 1e-3 and error(expected, answer) > 1e-3:
            return f"{text}: it is what comes out {mistake}"
    return f"{text}: {where(actual, expected, form)}"


def mistakes(form, layer, x, w, bias, dy):
    """(mistake, the answer that it leads to) for the usual ones."""
    flipped, N = np.ascontiguousarray(w[:, :, ::-1, ::-1]), layer.N
    if form == "forward":
        yield "if the filter is flipped (mathematical convolution; networks mean cross-correlation)", truth.forward(x, flipped, bias, layer)
        yield "if rows and columns of the filter are exchanged", truth.forward(x, w.swapaxes(2, 3), bias, layer) if layer.R == layer.S else None
        yield "without the bias", truth.forward(x, w, None, layer) if bias is not None else None
        for mistake, other in mistaken_layers(layer):
            yield mistake, truth.forward(x, w, bias, other) if other.y_shape == layer.y_shape else None
        if layer.groups > 1:
            yield "if every filter reads the channels of the first group", truth.forward(np.tile(x[:, :layer.w_shape[1]], (1, layer.groups, 1, 1)), w, bias, layer)
    elif form == "input_grad":
        yield "if the filter is not flipped on the way back (or once too often)", truth.input_grad(dy, flipped, layer)
        yield "if overlapping windows overwrite each other; they must be added up (+=)", overwritten(dy, w, layer)
    else:
        yield "if the filter is flipped", truth.weight_grad(dy, x, layer)[:, :, ::-1, ::-1]
        yield "if the gradient is averaged over the batch; it is a sum", truth.weight_grad(dy, x, layer) / N if N > 1 else None
        for which, n in (("first", 0), ("last", N - 1)):
            one = layer._replace(N=1)
            yield f"of the {which} image alone; the gradient is a sum over the batch", truth.weight_grad(dy[n:n + 1], x[n:n + 1], one) if N > 1 else None


def overwritten(dy, w, layer):
    """The input gradient of somebody who writes = for +=, tap after tap."""
    (top, left), G = layer.padding, layer.groups
    N, K, P, Q = layer.y_shape
    dx = np.zeros((N, layer.C, layer.H + 2 * top, layer.W + 2 * left))
    wg = w.reshape(G, K // G, -1, layer.R, layer.S)
    for image, out in zip(dx, dy.reshape(N, G, K // G, P, Q)):
        for r, s, part in truth.taps(image, layer):
            part[...] = np.einsum("gkc,gkpq->gcpq", wg[..., r, s], out)
    return dx[:, :, top:top + layer.H, left:left + layer.W]


def where(actual, expected, form):
    """The indices at which an answer is wrong, for each axis on which some are right."""
    sigma = np.sqrt(np.mean(np.square(expected))) or 1.0
    wrong = ~(np.abs(actual - expected) <= 1e-3 * sigma)
    if not np.isfinite(actual).all():
        return f"{np.count_nonzero(~np.isfinite(actual))} of {actual.size} elements are not finite"
    axes = {"forward": "nkpq", "input_grad": "nchw", "weight_grad": "kcrs"}[form]
    found = []
    for axis, name in enumerate(axes):
        bad = np.flatnonzero(wrong.any(tuple(a for a in range(4) if a != axis)))
        if len(bad) < actual.shape[axis]:
            found.append(f"at {name} = {listed(bad)} of {actual.shape[axis]}")
    return f"{np.count_nonzero(wrong)} of {wrong.size} elements are wrong, {', '.join(found) or 'everywhere'}"


def listed(numbers):
    """0, 4, 7-9"""
    runs = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)


def report(findings):
    """The findings as text: for each form how many are right, and everything that is not."""
    lines = []
    for form in FORMS:
        mine = [finding for finding in findings if finding.form == form]
        if not mine:
            lines.append(f"{form:12} not there")
            continue
        right = [finding for finding in mine if finding.fault is None]
        worst = max((finding.error for finding in right), default=0)
        lines.append(f"{form:12} {len(right)} of {len(mine)} cases right" + (f", largest error {worst:.1e} sigma" if right else ""))
        lines += [f"  {'left out' if finding.unsupported else 'WRONG   '} {finding.case.name} ({finding.case}, batch {finding.case.N}): {finding.fault}"
                  for finding in mine if finding.fault]
    return "\n".join(lines)
