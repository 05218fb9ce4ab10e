"""How far off Winograd's convolution is in float32, for several choices of the points that its matrices come from (docs/convolution.md).

    python benchmarks/winograd_points.py

Each choice runs in the library's own kernel, so what is measured is what a network would get: y, dx and dw of a layer with 64 channels and 64 filters, on normally
distributed numbers, against float64. The error is the largest deviation in sigma of the answer; beside it the root mean square of all deviations. Last comes implicit
GEMM, which adds up the products of the definition. Results go to benchmarks/results/winograd_points.json.
"""
import argparse
import json
from pathlib import Path

import numpy as np

from tinycnn.bench import machine, truth
from tinycnn.bench.layers import FORMS, Layer
from tinycnn.bench.validate import draw
from tinycnn.kernels.conv import implicit, winograd
from tinycnn.kernels.conv.winograd_forms import F2x3, F2x5, F4x3, Tiling, matrices

USUAL = (0, 1, -1, 2, -2)
HALVES = (0, 1, -1, 0.5, -0.5)


class Usual4x3(Tiling):
    """F(4x4, 3x3) with the points that most programs use"""

    OUTPUTS, TAPS, SIZE = 4, 3, 6
    MATRICES = matrices(4, 3, USUAL)


class Halves4x3(Tiling):
    """F(4x4, 3x3) with their reciprocals"""

    OUTPUTS, TAPS, SIZE = 4, 3, 6
    MATRICES = matrices(4, 3, HALVES)


class Usual2x5(Tiling):
    """F(2x2, 5x5) with the points that most programs use"""

    OUTPUTS, TAPS, SIZE = 2, 5, 6
    MATRICES = matrices(2, 5, USUAL)


CHOICES = [("F(4x4, 3x3)", "0, 1, -1, 2, -2", Usual4x3), ("F(4x4, 3x3)", "0, 1, -1, 1/2, -1/2", Halves4x3),
           ("F(4x4, 3x3)", "0, ±√½, ±√2 (ours)", F4x3), ("F(2x2, 3x3)", "0, 1, -1 (ours)", F2x3),
           ("F(2x2, 5x5)", "0, 1, -1, 2, -2", Usual2x5), ("F(2x2, 5x5)", "0, ±√½, ±√2 (ours)", F2x5),
           ("implicit GEMM, 3x3", "", 3), ("implicit GEMM, 5x5", "", 5)]


def answers(form, layer, x, w, dy):
    """{pass: answer} by a form of Winograd's, or by implicit GEMM for a filter size."""
    if form in (3, 5):
        module = implicit
    else:
        module = winograd
        winograd.candidates = lambda n, geometry: (form,)
        winograd.forward_tiling.cache_clear()
        winograd.gradient_tiling.cache_clear()
    packed = module.pack(w, x.shape, layer.geometry)
    return {"forward": module.forward(x, packed, w.shape, None, layer.geometry), "input_grad": module.input_grad(dy, w, x.shape, layer.geometry),
            "weight_grad": module.weight_grad(dy, x, w.shape, layer.geometry)}


def measure(form, channels, size):
    """{pass: (largest error, root mean square), in sigma}"""
    R = form if isinstance(form, int) else form.TAPS
    layer = Layer("", 4, channels, size, size, channels, R, R, padding=(R // 2, R // 2))
    x, w, _, dy = draw(layer)
    expected = truth.answers(x, w, None, dy, layer, FORMS)
    found = {}
    for name, answer in answers(form, layer, x, w, dy).items():
        off = (answer - expected[name]) / np.sqrt(np.mean(expected[name] ** 2))
        found[name] = float(np.abs(off).max()), float(np.sqrt(np.mean(off ** 2)))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--size", type=int, default=56, help="of the images")
    options = parser.parse_args()
    rows = []
    print(f"{'largest (root mean square) error, sigma':42}" + "".join(f"{name:>20}" for name in FORMS))
    for what, points, form in CHOICES:
        found = measure(form, options.channels, options.size)
        rows.append({"form": what, "points": points, "errors": found})
        print(f"{what:20}{points:22}" + "".join(f"{found[name][0]:11.1e} ({found[name][1]:.0e})" for name in FORMS), flush=True)
    path = Path(__file__).parent / "results" / "winograd_points.json"
    path.write_text(json.dumps({"channels": options.channels, "size": options.size, "environment": machine.environment(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
