"""What the plots of all claims share."""
from statistics import fmean, stdev

from ..train.files import replacing


def save(path, draw, size=(9, 4.5)):
    """Write a PNG file; draw(figure) draws it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second to import: only here; Agg needs no display
    from matplotlib.figure import Figure
    figure = Figure(figsize=size, layout="constrained")
    draw(figure)
    with replacing(path) as part:
        FigureCanvasAgg(figure).print_figure(part, format="png", dpi=110)


def curve(axes, runs, **style):
    """The mean of several runs' values per epoch, and a band of a standard deviation around it."""
    columns = list(zip(*runs))
    epochs, means = range(1, len(columns) + 1), [fmean(column) for column in columns]
    line, = axes.plot(epochs, means, **style)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if len(runs) > 1:
        deviations = [stdev(column) for column in columns]
        axes.fill_between(epochs, [m - d for m, d in zip(means, deviations)], [m + d for m, d in zip(means, deviations)], color=line.get_color(), alpha=0.15, linewidth=0)


def bars(axes, names, values, text="{:,.0f}", colours="tab:blue"):
    """Bars with their numbers."""
    drawn = axes.bar(list(names), list(values), color=colours)
    axes.bar_label(drawn, [text.format(value) for value in values])
    axes.margins(y=0.12)


def percentages(axis):
    """Label an axis of shares in percent."""
    axis.set_major_formatter(lambda value, _: f"{round(100 * value, 1):g}%")
