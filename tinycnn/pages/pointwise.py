"""The pages of the rectifier and of local response normalisation, which leave the image its size."""
import numpy as np

from ..autograd import no_grad
from ..kernels.activation import reference as relu_reference
from ..kernels.lrn import reference as lrn_reference
from ..ops.activation import ReLU, ReLUGrad
from ..tensor import Tensor
from .conv_words import by
from .loops import nest, source_of
from .page import pack

LARGEST = 1_000_000  # numbers in all arrays


def relu_page(x, dy, origin=""):
    """The page's data, for arrays x and dy (N, C, H, W)."""
    with no_grad():
        y = ReLU.apply(Tensor(x), False)
        dx = ReLUGrad.apply(Tensor(dy), y)
    facts = [("x > 0", "passes as it is", "the gradient passes as it is"), ("x < 0", "becomes 0", "stops: dx = 0"),
             ("x = 0", "is 0 either way", "there is no derivative; the convention is 0. A gradient check by differences that steps across 0 finds neither 0 nor 1")]
    loops = {"y": ["y[n, c, h, v] = max(x[n, c, h, v], 0)"], "dx": ["dx[n, c, h, v] = dy[n, c, h, v] if y[n, c, h, v] > 0 else 0"]}
    where = {"y": ("relu", "return np.maximum"), "dx": ("relu_backward", "return np.where")}
    return _page("relu", f"ReLU of {by(*x.shape[2:])}", "y = max(x, 0) &ensp; dx = dy where x > 0, else 0", facts, relu_reference, loops, where,
                 {"x": x, "y": y.array, "dy": dy, "dx": dx.array}, {}, origin)


def lrn_page(x, dy, size, alpha, beta, k, origin=""):
    """The page's data, for arrays x and dy (N, C, H, W); alpha multiplies the sum of squares, as in the paper."""
    with no_grad():
        kernels = Tensor(x).device.kernels.lrn
        y, base = kernels.forward(x, size, alpha, beta, k)
        dx = kernels.backward(dy, x, base, size, alpha, beta)
    if not (np.isfinite(y).all() and np.isfinite(dx).all()):
        raise ValueError(f"explain lrn: k {k:g}, alpha {alpha:g} and beta {beta:g} give numbers that are not finite: k + alpha * squares should be above 0 everywhere")
    before, after = size // 2, (size - 1) // 2
    facts = [("window", f"channel c looks at c − {before} … c + {after}",
              f"channel c is seen by c − {after} … c + {before}: mirrored, another set where the size is even"),
             ("alpha", f"{alpha:.4g} times the sum of squares. Caffe, cuDNN, ONNX and PyTorch divide their alpha by the size first",
              "a factor of the second part only: with the paper's 0.0001 a wrong second part hardly shows"),
             ("at the ends", "the first and last channels have fewer neighbours", "and are neighbours of fewer"),
             ("places", "every place of the image by itself", "gradients stay at their place")]
    loops = {"y": ["base[n, c, h, v] = k + alpha * sum(x[n, j, h, v]**2 for j in window(c))", "y[n, c, h, v] = x[n, c, h, v] * base[n, c, h, v]**-beta"],
             "dx": ["through = sum(dy[n, j, h, v] * y[n, j, h, v] / base[n, j, h, v] for j in mirrored(c))",
                    "dx[n, c, h, v] = dy[n, c, h, v] * base[n, c, h, v]**-beta - 2 * alpha * beta * x[n, c, h, v] * through"]}
    where = {"y": ("forward", "return x * base"), "dx": ("backward", "return dy * power")}
    formula = f"base = k + alpha · (sum of x² over {size} channels) &ensp; y = x · base<sup>−β</sup> &ensp; k = {k:.4g}, alpha = {alpha:.4g}, β = {beta:.4g}"
    return _page("lrn", f"Local response normalisation of {x.shape[1]} channels", formula, facts, lrn_reference, loops, where,
                 {"x": x, "base": base, "y": y, "dy": dy, "dx": dx}, {"size": size, "alpha": alpha, "beta": beta, "k": k}, origin)


def _page(kind, title, formula, facts, reference, loops, where, arrays, options, origin):
    """where: for each loop nest the line of the reference that its last line is."""
    N, C, H, W = sizes = arrays["x"].shape
    if 5 * arrays["x"].size > LARGEST:
        raise ValueError(f"explain: {5 * arrays['x'].size:,} numbers are too many for this page (at most {LARGEST:,}): take a smaller image, fewer channels or images")
    ranges = [f"{'  ' * i}for {name} in range({extent}):" for i, (name, extent) in enumerate(zip("nchv", sizes))]
    inner = " " * 8
    nests = {name: nest([*ranges, *(inner + line for line in lines[:-1]), (inner + lines[-1], where[name])], reference) for name, lines in loops.items()}
    return {"kind": kind, "title": title, "origin": origin, "formula": formula, "facts": (("forward: y", "backward: dx"), facts),
            "source": source_of(reference), "loops": nests,
            "geometry": {"N": N, "C": C, "H": H, "W": W, **options}, "arrays": {name: pack(array) for name, array in arrays.items()}}
