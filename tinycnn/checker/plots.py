"""A report as pictures: where the gradient is wrong, how the error of a finite difference depends on its step, and what chord and tangents look like."""
from pathlib import Path

import numpy as np

from ..train.files import replacing
from .evidence import line_of, size_of
from .report import WRONG

STEPS = np.logspace(-1, -14, 53)  # relative to the size of the input
MOST_PLANES = 16


def draw(report, folder):
    """Write the pictures of a report into a folder; returns their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for result in report.inputs:
        if result.verdict == WRONG and result.error is not None and result.error.size:
            paths.append(save(heat_map(result), folder / f"error-{plain(result.name)}.png"))
    place = point_of_interest(report)
    if place is not None:
        paths.append(save(steps(report, *place), folder / "steps.png"))
        paths.append(save(coordinate(report, *place), folder / "coordinate.png"))
    return paths


def plain(name):
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)


def figure(width, height, **grid):
    from matplotlib.figure import Figure  # slow to import: only here
    picture = Figure(figsize=(width, height), layout="constrained")
    return picture, picture.subplots(**grid)


def save(picture, path):
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # needs no display
    with replacing(path) as part:
        FigureCanvasAgg(picture).print_figure(part, format="png", dpi=110)
    return path


def heat_map(result):
    """The relative error over the tensor: a square for each of its last two axes' planes, the worst first."""
    error = np.atleast_2d(result.error)
    planes = error.reshape(-1, *error.shape[-2:])
    largest = np.array([np.nanmax(np.where(np.isnan(plane), 0, plane)) for plane in planes])
    shown = sorted(np.argsort(-largest, kind="stable")[:MOST_PLANES])
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    picture, axes = figure(2.2 * columns + 1.2, 2.2 * rows + 0.6, nrows=rows, ncols=columns, squeeze=False)
    top = np.max(largest[np.isfinite(largest)], initial=1e-300)
    for axis, number in zip(axes.flat, shown):
        image = axis.imshow(np.minimum(planes[number], top), vmin=0, vmax=top, cmap="magma_r")
        index = np.unravel_index(number, error.shape[:-2]) if error.ndim > 2 else ()
        axis.set_title(f"[{', '.join(map(str, index))}]" if index else "", fontsize=8)
        axis.tick_params(labelsize=6)
    for axis in axes.flat[len(shown):]:
        axis.set_axis_off()
    picture.colorbar(image, ax=axes, shrink=0.8, label="error / size of the gradient")
    rest = f", the worst {len(shown)} of {len(planes)} planes" if len(shown) < len(planes) else ""
    picture.suptitle(f"where the gradient of {result.name} {result.shape} is wrong{rest}", fontsize=9)
    return picture


def point_of_interest(report):
    """(input number, flat index of its element, flat index of the output element, what the backward says): the worst element, else one on a kink, else the first.

    The last two are None where nothing is known of them.
    """
    subject = report.subject
    if subject is None or not subject.arrays:
        return None
    for k, result in enumerate(report.inputs):
        if result.worst and (part := report.evidence.get((k, 0))) is not None and part.identity:
            i, c = np.unravel_index(np.argmax(np.where(part.wrong, np.abs(part.backward - part.measured), 0)), part.wrong.shape)
            return k, int(part.columns[c]), int(i), float(part.backward[i, c])
    for kink in report.kinks:
        if kink.index:
            k = [result.name for result in report.inputs].index(kink.input)
            return k, int(np.ravel_multi_index(kink.index, subject.arrays[k].shape)), None, None
    k = next((k for k, array in enumerate(subject.arrays) if array.size), None)
    return None if k is None else (k, 0, None, None)


def curve_of(report, k, j, i):
    """(y_i as a function of t, where element j of input k is moved by t; i): i None is the output element that changes most."""
    subject = report.subject
    direction = np.zeros(subject.arrays[k].shape)
    direction.flat[j] = 1
    line, _ = line_of(subject, subject.arrays, k, direction)

    def outputs(t):
        return np.concatenate([y.reshape(-1) for y in line(t).outputs])
    if i is None:
        h = 1e-4 * size_of(subject.arrays[k])
        i = int(np.argmax(np.abs(outputs(h) - outputs(-h))))
    return (lambda t: float(outputs(t)[i])), i


def label(report, k, j):
    """x[0, 1, 2]"""
    index = np.unravel_index(j, report.subject.arrays[k].shape)
    return f"{report.inputs[k].name}[{', '.join(map(str, index))}]" if index else report.inputs[k].name


def steps(report, k, j, i, backward):
    """Error of the central difference against h: truncation on the right, rounding on the left, and where the backward lies."""
    f, i = curve_of(report, k, j, i)
    x = float(report.subject.arrays[k].flat[j])
    h = STEPS * size_of(report.subject.arrays[k])
    central = np.array([(f(t) - f(-t)) / (2 * t) for t in h])
    with np.errstate(all="ignore"):
        rounded = [(np.float32(x + t), np.float32(x - t)) for t in h]
        single = np.array([float(np.float32(f(float(a) - x)) - np.float32(f(float(b) - x))) / (float(a) - float(b)) if a != b else np.nan for a, b in rounded])
    best = int(np.argmin(np.abs(np.diff(central)))) + 1
    truth = central[best]
    picture, axes = figure(7, 4.5)
    central[best] = np.nan  # the others are measured against it
    for values, name, colour in ((central, "float64", "tab:blue"), (single, "float32: inputs and outputs rounded", "tab:orange")):
        axes.loglog(h, np.maximum(np.abs(values - truth), 1e-17 * max(abs(truth), 1)), marker=".", color=colour, label=f"central difference, {name}")
    gap = np.array([abs(f(t) - 2 * f(0.0) + f(-t)) / t for t in h])
    axes.loglog(h[gap > 0], gap[gap > 0], color="grey", linestyle=":", label="gap between the one-sided differences: at a kink it stays")
    if backward is not None and backward != truth:
        axes.axhline(abs(backward - truth), color="tab:red", label=f"the backward: {backward:.6g} for {truth:.6g}")
    axes.set(xlabel="step h", ylabel="error of the derivative", title=f"{report.name}: output element {i}, derivative by {label(report, k, j)}\n"
             "too large a step sees the curvature, too small a one the rounding")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return picture


def coordinate(report, k, j, i, backward):
    """An output element along one coordinate, with the chord of a finite difference and the tangents."""
    f, i = curve_of(report, k, j, i)
    size = size_of(report.subject.arrays[k])
    t = np.linspace(-0.5, 0.5, 201) * size
    h = 0.25 * size
    values = np.array([f(v) for v in t])
    slope = (f(1e-6 * size) - f(-1e-6 * size)) / (2e-6 * size)
    here = f(0.0)
    picture, axes = figure(7, 4.5)
    axes.plot(t, values, color="black", label=f"output element {i}")
    axes.plot([-h, h], [f(-h), f(h)], marker="o", color="tab:blue", label=f"chord from -h to h, h = {h:.2g}: slope {(f(h) - f(-h)) / (2 * h):.4g}")
    axes.plot(t, here + slope * t, color="tab:green", linestyle="--", linewidth=1, label=f"chord for h = {1e-6 * size:.0e}: slope {slope:.4g}")
    if backward is not None:
        axes.plot(t, here + backward * t, color="tab:red", linestyle="--", linewidth=1, label=f"what the backward says: slope {backward:.4g}")
    margin = 0.5 * max(np.ptp(values), 1e-12)
    axes.set(xlabel=f"{label(report, k, j)} moved by", ylabel="output", ylim=(values.min() - margin, values.max() + margin), title=f"{report.name} along one coordinate")
    axes.axvline(0, color="grey", linewidth=0.6)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return picture
