"""What the plots of all claims share: to be read from the back of a room, and by those who do not tell red from green."""
from statistics import fmean, stdev

from ..train.files import replacing

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")  # Okabe and Ito's
BLUE, ORANGE, GREEN, RED = COLOURS[:4]
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


def save(path, draw, size=(11, 5.5)):
    """Write a PNG file; draw(figure) draws it."""
    import matplotlib  # half a second: only here
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # needs no display
    from matplotlib.figure import Figure
    style = {"font.size": 14, "axes.titlesize": 15, "figure.titlesize": 15, "lines.linewidth": 2.5, "legend.framealpha": 0.9,
             "axes.prop_cycle": matplotlib.cycler(color=COLOURS)}
    with matplotlib.rc_context(style), replacing(path) as part:
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        FigureCanvasAgg(figure).print_figure(part, format="png", dpi=100)


def curve(axes, runs, **style):
    """The mean of several runs' values per epoch, and a band of a standard deviation around it."""
    columns = list(zip(*runs))
    epochs, means = range(1, len(columns) + 1), [fmean(column) for column in columns]
    line, = axes.plot(epochs, means, **style)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if len(runs) > 1:
        deviations = [stdev(column) for column in columns]
        axes.fill_between(epochs, [m - d for m, d in zip(means, deviations)], [m + d for m, d in zip(means, deviations)], color=line.get_color(), alpha=0.15, linewidth=0)


def bars(axes, names, values, text="{:,.0f}", colours=BLUE):
    """Bars with their numbers."""
    drawn = axes.bar(list(names), list(values), color=colours)
    axes.bar_label(drawn, [text.format(value) for value in values])
    axes.margins(y=0.12)


def percentages(axis):
    """Label an axis of shares in percent."""
    axis.set_major_formatter(lambda value, _: f"{round(100 * value, 1):g}%")
