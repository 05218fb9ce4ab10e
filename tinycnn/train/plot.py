"""The picture of a run: loss and accuracy against epochs, for training and test images."""
from .files import replacing


def plot_curves(lines, path, title=""):
    """Draw the lines of a metrics file into the PNG file `path`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second to import: only here; Agg needs no display
    from matplotlib.figure import Figure
    epochs = [line for line in lines if line["kind"] == "epoch"]
    steps = [line for line in lines if line["kind"] == "step"]
    per_epoch = epochs[0]["step"] if epochs else max([line["step"] for line in steps], default=1)
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([line["step"] / per_epoch for line in steps], [line["loss"] for line in steps], color="tab:blue", alpha=0.3, linewidth=1, label="single batches")
    for axes, what in ((left, "loss"), (right, "accuracy")):
        for part, colour in (("train", "tab:blue"), ("test", "tab:orange")):
            axes.plot([line["epoch"] for line in epochs], [line[f"{part}_{what}"] for line in epochs], marker=".", color=colour, label=f"{part} images")
        axes.set(xlabel="epoch", ylabel=what, xlim=(0, max(len(epochs), 1)))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    right.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    figure.suptitle(title)
    with replacing(path) as part:
        FigureCanvasAgg(figure).print_figure(part, format="png", dpi=110)
