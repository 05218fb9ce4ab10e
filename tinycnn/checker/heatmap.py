"""Where a gradient is wrong, as a picture made of letters."""
import numpy as np

SHADES = ".:-=+*#%@"  # . is right; from : on each is about twice as wrong as the last
MOST_COLUMNS, MOST_ROWS, MOST_PLANES = 60, 24, 4


def heat_map(error, name):
    """Lines that show the relative error over a tensor: the last two axes as a picture, a picture for each index of the others (the worst few)."""
    planes = error.reshape(-1, *error.shape[-2:]) if error.ndim > 1 else error.reshape(1, 1, -1)
    largest = np.array([np.max(np.where(np.isnan(plane), 0, plane), initial=0) for plane in planes])
    shown = sorted(np.argsort(-largest, kind="stable")[:MOST_PLANES])
    top = largest.max() if largest.size else 0
    yield (f"error over {name} {error.shape}: . right, : to @ wrong (@: {top:.2g} of the gradient's size), blank: not looked at")
    for number in shown:
        index = np.unravel_index(number, error.shape[:-2]) if error.ndim > 2 else ()
        if index:
            yield f"  [{', '.join(map(str, index))}]"
        yield from (f"    {line}" for line in picture(planes[number], top))
    if len(planes) > len(shown):
        others = np.delete(largest, shown)
        yield f"  ... {len(others)} more planes, {np.count_nonzero(others)} of them with errors"


def picture(plane, top):
    """One plane, at most MOST_ROWS x MOST_COLUMNS letters."""
    rows, columns = plane.shape
    for row in plane[:MOST_ROWS]:
        yield "".join(shade(value, top) for value in row[:MOST_COLUMNS]) + ("..." if columns > MOST_COLUMNS else "")
    if rows > MOST_ROWS:
        yield f"... {rows - MOST_ROWS} more rows"


def shade(value, top):
    if np.isnan(value):
        return " "
    if value == 0:
        return SHADES[0]
    if not np.isfinite(value) or value >= top:
        return SHADES[-1]
    return SHADES[int(max(1, len(SHADES) - 1 + np.log2(value / top)))]
