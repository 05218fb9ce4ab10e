"""The pages of max and average pooling."""
import numpy as np

from ..autograd import no_grad
from ..kernels.pool import reference
from ..kernels.pool.windows import counts
from ..ops.pool import AvgPool2d, AvgPool2dGrad, MaxPool2d, Scatter, with_indices
from ..tensor import Tensor
from .conv_words import by, options, outputs
from .loops import nest, source_of
from .page import pack

LARGEST = 400_000  # numbers in all arrays: each is listed with the windows that see it


def max_page(x, dy, window, origin=""):
    """The page's data, for arrays x (N, C, H, W) and dy (N, C, P, Q)."""
    with no_grad():
        x, dy = Tensor(x), Tensor(dy)
        y, winners = MaxPool2d.apply(x, window)
        places = with_indices(x, y, winners, window)[1]
        dx = Scatter.apply(dy, winners, x.shape, window)
    return _page("Max pooling", {"x": x, "dy": dy, "y": y, "dx": dx, "places": places}, window, True, origin)


def avg_page(x, dy, window, count_include_pad=True, divisor=None, origin=""):
    """The same for means."""
    with no_grad():
        x, dy = Tensor(x), Tensor(dy)
        y = AvgPool2d.apply(x, window, count_include_pad, divisor)
        dx = AvgPool2dGrad.apply(dy, x.shape, window, count_include_pad, divisor, False)
    divisors = Tensor(np.asarray(counts(x.shape[2:], window, count_include_pad, divisor), np.float32))
    return _page("Average pooling", {"x": x, "dy": dy, "y": y, "dx": dx, "divisors": divisors}, window, False, origin)


def _page(name, arrays, window, maximum, origin):
    N, C, H, W = arrays["x"].shape
    P, Q = arrays["y"].shape[2:]
    numbers = 2 * (arrays["x"].numel() + arrays["y"].numel())
    if numbers > LARGEST:
        raise ValueError(f"explain: {numbers:,} numbers are too many for a page of pooling (at most {LARGEST:,}): "
                         "take a smaller image, fewer channels or a smaller batch")
    sizes = {"N": N, "C": C, "H": H, "W": W, "R": window.size[0], "S": window.size[1], "P": P, "Q": Q}
    axes = [outputs(name, *axis) for name, *axis in zip("PQ", (H, W), window.size, window.stride, window.padding, window.dilation)]
    count = "rounded up: left-over elements get a window of their own" if window.ceil_mode else ", ".join(axes)
    return {
        "kind": "pool", "title": f"{name} of {by(H, W)}, window {by(*window.size)}{options(window)}", "origin": origin,
        "formula": f"x ({N}, {C}, {H}, {W}) → y ({N}, {C}, {P}, {Q}) &ensp; {count}",
        "facts": (("forward: y", "backward: dx"), facts(sizes, window, maximum)), "source": source_of(reference), "loops": loops(sizes, maximum),
        "geometry": {**sizes, "stride": window.stride, "padding": window.padding, "dilation": window.dilation, "maximum": maximum},
        "arrays": {name: pack(tensor.array) for name, tensor in arrays.items()},
    }


def facts(sizes, window, maximum):
    """Rows (what, its part in y, in dx)."""
    overlap = any(s < d * (r - 1) + 1 for s, r, d in zip(window.stride, window.size, window.dilation))
    rows = [("overlap", "windows share elements", "an element may get gradients of several windows: they are added")] if overlap else [
        ("overlap", "no element is in two windows", "each element gets at most one gradient: a backward that writes instead of adds would not show here")]
    if maximum:
        rows += [("padding", "counts as minus infinity: it never wins, not even where all elements are negative", "gets no gradient"),
                 ("ties", "of equals the first in row-major order wins", "only that one gets the gradient"),
                 ("losers", "do not count at all", "their dx is 0, and small changes of them change nothing")]
    else:
        rows += [("padding", "adds zeros to the sum; whether it counts in the number is count_include_pad's choice", "gets no gradient"),
                 ("number", "each sum is divided by its window's number", "each share is divided by the same number, that of the window and not of the element")]
    return rows


def loops(sizes, maximum):
    """The loop nests in the notation of the kernels."""
    ranges = [f"{'  ' * i}for {name} in range({sizes[name.upper()]}):" for i, name in enumerate("ncpq")]
    window, inner = " " * 8 + "window = those (h, v) that (p, q) sees", " " * 8
    if maximum:
        y = [(inner + "y[n, c, p, q] = max(x[n, c, h, v] for h, v in window)", ("max_forward", "y[:, :, p, q] ="))]
        dx = [inner + "h, v = winner(window)", (inner + "dx[n, c, h, v] += dy[n, c, p, q]", ("max_backward", "np.add.at"))]
    else:
        y = [(inner + "y[n, c, p, q] = sum(x[n, c, h, v] for h, v in window) / number[p, q]", ("_means", "y[:, :, p, q] ="))]
        dx = [inner + "for h, v in window:", (inner + "  dx[n, c, h, v] += dy[n, c, p, q] / number[p, q]", ("_spread", "dx[:, :, row, column] +="))]
    return {"y": nest([*ranges, window, *y], reference), "dx": nest([*ranges, window, *dx], reference)}
