"""Results as pictures: time per layer against each rival, the roofline, and how time scales with batch, threads and image size.

A picture is drawn only where there is something to draw.
"""
from pathlib import Path

from .results import best_of

WIDTH_OF_A_TASK = 0.55  # inches
AXES = ("batch", "threads", "size")


def draw(results, folder):
    """Write PNG files into the folder; returns their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for (level, group, what, batch, threads, size, math), rows in panels(results).items():
        name = f"{level}-{group}-{what}-b{batch}-" + (math or f"t{threads}") + (f"-{size}x{size}" if size else "")
        label = f"{group}: {what}, batch {batch}, " + (f"GPU, {math}" if math else f"{threads} threads")
        paths.append(save(bars(rows, label), folder / plain(f"bars-{name}.png")))
        if any(row.gflops for row in rows):
            paths.append(save(roofline(rows, results.peak(threads, math), label), folder / plain(f"roofline-{name}.png")))
    for axis in AXES:
        for (level, group, case, what, *others), rows in curves(results, axis).items():
            fixed = ", ".join(f"{name} {value}" for name, value in zip((*(name for name in AXES if name != axis), "math"), others) if value)
            name = "-".join(map(str, (axis, level, group, case, what, *others)))
            paths.append(save(scaling(rows, axis, f"{case}: {what}\n{fixed}"), folder / plain(f"{name}.png")))
    return paths


def plain(name):
    """A name that a file can have."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)


def panels(results):
    """The rows that make one picture of bars."""
    found = {}
    for row in results.rows:
        if row.counts and row.unit == "ms":
            found.setdefault((row.level, row.group, row.what, row.batch, row.threads, row.size, row.math), []).append(row)
    return found


def curves(results, axis):
    """The rows of cases that were measured for several values of `axis`, all else the same."""
    found = {}
    for row in results.rows:
        if row.counts and row.unit == "ms":
            others = (*(getattr(row, name) for name in AXES if name != axis), *((row.math,) if row.math else ()))
            found.setdefault((row.level, row.group, row.case, row.what, *others), []).append(row)
    return {key: rows for key, rows in found.items() if len({getattr(row, axis) for row in rows}) > 1}


def figure(width, height, title):
    from matplotlib.figure import Figure  # slow to import: only here
    picture = Figure(figsize=(width, height), layout="constrained")
    axes = picture.subplots()
    axes.set_title(title)
    axes.grid(alpha=0.3)
    return picture, axes


def save(picture, path):
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # needs no display
    FigureCanvasAgg(picture).print_figure(path, format="png", dpi=110)
    return path


def fastest(rows):
    """{case: {library: its fastest row}}; tinycnn first."""
    cases = {}
    for row in rows:
        cases.setdefault(row.case, []).append(row)
    return {case: best_of(sorted(those, key=lambda row: row.library != "tinycnn")) for case, those in cases.items()}


def bars(rows, title):
    """A group of bars for each case: time relative to tinycnn's, whose bar says how many milliseconds that is."""
    cases = {case: libraries for case, libraries in fastest(rows).items() if "tinycnn" in libraries} or fastest(rows)
    libraries = list(dict.fromkeys(library for those in cases.values() for library in those))
    picture, axes = figure(max(5, 2 + WIDTH_OF_A_TASK * len(cases) * (1 + len(libraries) / 4)), 4.5, title)
    width = 0.8 / len(libraries)
    for i, library in enumerate(libraries):
        places, values, below, above = [], [], [], []
        for j, those in enumerate(cases.values()):
            if library in those:
                row, unit = those[library], those["tinycnn"].value if "tinycnn" in those else 1.0
                low, high = row.quartiles or (row.value, row.value)
                places.append(j + (i - (len(libraries) - 1) / 2) * width)
                values.append(row.value / unit)
                below.append(max(0, row.value - low) / unit)
                above.append(max(0, high - row.value) / unit)
        axes.bar(places, values, width, color=f"C{i}", label=library, yerr=[below, above], error_kw={"linewidth": 0.8})
    labels = [f"{case}\n{those['tinycnn'].value:.3g} ms" if "tinycnn" in those else case for case, those in cases.items()]
    axes.set_xticks(range(len(cases)), labels, rotation=60 if len(cases) > 3 else 0, ha="right" if len(cases) > 3 else "center", fontsize=7)
    axes.set_ylabel("time / tinycnn's time" if any("tinycnn" in those for those in cases.values()) else "ms")
    axes.axhline(1, color="black", linewidth=0.8)
    axes.legend(fontsize=8)
    return picture


def roofline(rows, peak, title):
    """FLOP/s against FLOPs per byte, below what the machine can do."""
    picture, axes = figure(6, 4.5, title)
    rows = [row for row in rows if row.gflops and row.bytes]
    intensities = [row.flops / row.bytes for row in rows]
    ends = min([*intensities, peak["gflops"] / peak["gbps"]]) / 2, max([*intensities, peak["gflops"] / peak["gbps"]]) * 2
    ridge = peak["gflops"] / peak["gbps"]
    limits = f"{peak['gflops']:g} GFLOP/s, {peak['gbps']:g} GB/s"
    axes.plot([ends[0], ridge, ends[1]], [ends[0] * peak["gbps"], peak["gflops"], peak["gflops"]], color="black", label=limits)
    for i, library in enumerate(dict.fromkeys(row.library for row in rows)):
        best = [those[library] for those in fastest(rows).values() if library in those]
        axes.scatter([row.flops / row.bytes for row in best], [row.gflops for row in best], s=14, color=f"C{i}", label=library)
    axes.set(xscale="log", yscale="log", xlabel="FLOPs of the definition / byte", ylabel="GFLOP/s")
    axes.legend(fontsize=8)
    return picture


def scaling(rows, axis, title):
    """Time per image against the batch, the number of threads or the size of the images."""
    picture, axes = figure(5, 4, title)
    for contestant in dict.fromkeys(row.contestant for row in rows):
        points = sorted((getattr(row, axis), row.value / row.batch) for row in rows if row.contestant == contestant)
        axes.plot(*zip(*points), marker="o", label=contestant)
    axes.set(xlabel="image size" if axis == "size" else axis, ylabel="ms per image", xscale="log" if axis == "batch" else "linear", ylim=(0, None))
    axes.legend(fontsize=8)
    return picture
