"""The page of one convolution: what the engine computes of it, forward and backward."""
import numpy as np

from ..autograd import no_grad
from ..kernels.conv import reference
from ..ops.conv import Conv2d, ConvInputGrad, ConvWeightGrad
from ..tensor import Tensor
from .conv_loops import loops
from .conv_words import by, facts, formula, options
from .loops import source_of
from .page import pack

LARGEST = 4_000_000  # numbers in all arrays: what a browser still handles


def page(x, w, bias, dy, geometry, origin=""):
    """The page's data, for arrays x (N, C, H, W), w (K, C/G, R, S), bias (K,) or None and dy (N, K, P, Q) of one floating dtype."""
    N, C, H, W = x.shape
    K, _, R, S = w.shape
    P, Q = geometry.output_size((H, W), (R, S))
    numbers = 2 * (x.size + dy.size + w.size)
    if numbers > LARGEST:
        raise ValueError(f"explain: {numbers:,} numbers are too many for a page that a browser opens at once (at most {LARGEST:,}): "
                         "take a smaller image, fewer channels or a smaller batch")
    sizes = {"N": N, "C": C, "H": H, "W": W, "K": K, "R": R, "S": S, "P": P, "Q": Q, "G": geometry.groups}
    with no_grad():
        given = {name: Tensor(array) for name, array in (("x", x), ("w", w), ("bias", bias), ("dy", dy)) if array is not None}
        arrays = given | gradients(given, geometry)
        # Uses are counted by a single filter on a single channel: with ones everywhere, its gradients are their numbers.
        ones = {name: Tensor(np.ones((1, 1, *array.shape[2:]), x.dtype)) for name, array in (("x", x), ("w", w), ("dy", dy))}
        counts = gradients(ones, geometry._replace(groups=1))
        arrays |= {"used": counts["dx"], "met": counts["dw"]}
    return {
        "kind": "conv", "title": f"Convolution of {by(H, W)}, filter {by(R, S)}{options(geometry)}", "origin": origin, "formula": formula(sizes, geometry),
        "facts": (("forward: y", "backward: dx", "backward: dw"), facts(sizes, geometry, arrays["used"].array[0, 0])),
        "source": source_of(reference), "loops": loops(sizes, geometry),
        "geometry": {**sizes, "stride": geometry.stride, "padding": geometry.padding, "dilation": geometry.dilation},
        "arrays": {name: pack(tensor.array) for name, tensor in arrays.items()},
    }


def gradients(given, geometry):
    """y, dx, dw and db."""
    x, w, dy = given["x"], given["w"], given["dy"]
    return {"y": Conv2d.apply(x, w, given.get("bias"), geometry), "dx": ConvInputGrad.apply(dy, w, x.shape, geometry),
            "dw": ConvWeightGrad.apply(dy, x, w.shape, geometry), "db": dy.sum((0, 2, 3))}
