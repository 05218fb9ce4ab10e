"""Which thread touches what: the first request of each line of a trace, as a picture.

Memory is drawn as rows of 128 bytes, in words of 4: for global memory a row is four sectors, for shared memory each column is a bank. A word has the colour and the
number of the lane that touches it; of several lanes the lowest, with a + behind it. Sectors that are moved, and banks in which lanes wait for each other, are framed.
"""
from pathlib import Path

import numpy as np

from .tracer import BANKS, LANES, SECTOR, WORD, passes, sectors

ROW = 128  # bytes
MOST_ROWS, MOST_PANELS = 32, 12
FRAME, WAITING = "black", "crimson"


def draw(trace, path):
    """Write the picture of a Trace (PNG) to `path`: its first MOST_PANELS lines. Raises ValueError if there are none."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import: only here; Agg needs no display
    from matplotlib.figure import Figure

    from tinycnn.train.files import replacing
    panels = trace.requests[:MOST_PANELS]
    if not panels:
        raise ValueError(f"{trace.path.name}: there are no accesses to draw")
    rows = [_rows(request) for request in panels]
    heights = [max(2, len(shown)) + 2 for shown in rows]
    picture = Figure(figsize=(9, 0.16 * sum(heights) + 0.4 * len(panels)), layout="constrained")
    FigureCanvasAgg(picture)
    for axes, request, shown in zip(np.atleast_1d(picture.subplots(len(panels), 1, gridspec_kw={"height_ratios": heights})), panels, rows):
        _panel(axes, request, shown)
    with replacing(Path(path)) as part:
        picture.savefig(part, format="png", dpi=110)


def _rows(request):
    """Numbers of the 128-byte rows that are touched, at most MOST_ROWS."""
    accesses = request[2]
    offsets = accesses["offset"].astype(np.int64)
    return np.unique(np.concatenate([offsets // ROW, (offsets + accesses["bytes"] - 1) // ROW]))[:MOST_ROWS]


def _panel(axes, request, shown):
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle
    line, element, accesses = request
    colours = colormaps["turbo"]
    lanes = _lanes_of_words(accesses)
    row_of = {int(row): i for i, row in enumerate(shown)}
    for word, (lane, several) in lanes.items():
        row, column = divmod(word, BANKS)
        if row in row_of:
            axes.add_patch(Rectangle((column, row_of[row]), 1, 1, color=colours(0.08 + 0.84 * lane / (LANES - 1)), linewidth=0))
            axes.text(column + 0.5, row_of[row] + 0.5, f"{lane}{'+' if several else ''}", ha="center", va="center", fontsize=5,
                      color="white" if lane < 5 or lane > 27 else "black")
    if line.memory == "shared":
        needed, least = passes(accesses)
        what = f"{needed} turns of the banks, {least} at best"
        for bank in _waiting_banks(lanes):
            axes.add_patch(Rectangle((bank, 0), 1, len(shown), fill=False, edgecolor=WAITING, linewidth=1.2))
        axes.set_yticks([])
    else:
        touched = sectors(accesses)
        what = f"{len(touched)} sectors of {SECTOR} bytes for {len(accesses)} lanes"
        for sector in touched * SECTOR:
            row, place = divmod(int(sector), ROW)
            if row in row_of:
                axes.add_patch(Rectangle((place / WORD, row_of[row]), SECTOR / WORD, 1, fill=False, edgecolor=FRAME, linewidth=1))
        axes.set_yticks(np.arange(len(shown)) + 0.5, [f"{line.memory}[{int(row) * ROW // element}]" for row in shown], fontsize=6)
    axes.set(xlim=(0, BANKS), ylim=(max(2, len(shown)), 0))
    axes.set_xticks(np.arange(0, BANKS, 8) if line.memory != "shared" else np.arange(BANKS) + 0.5, [] if line.memory != "shared" else range(BANKS), fontsize=6)
    axes.set_title(f"{line.kernel}, line {line.line}: {line.text}\n{line.kind} {line.memory}: {what}", fontsize=7, loc="left")


def _lanes_of_words(accesses):
    """{word: (lowest lane, whether there are more)}."""
    found = {}
    for offset, size, thread in zip(accesses["offset"].tolist(), accesses["bytes"].tolist(), accesses["thread"].tolist()):
        for word in range(offset // WORD, (offset + size - 1) // WORD + 1):
            lane = thread % LANES
            found[word] = (min(lane, found[word][0]), True) if word in found else (lane, False)
    return found


def _waiting_banks(lanes):
    """Banks of which several words are wanted."""
    counts = np.bincount([word % BANKS for word in lanes], minlength=BANKS)
    return np.flatnonzero(counts > max(1, counts.min()))
