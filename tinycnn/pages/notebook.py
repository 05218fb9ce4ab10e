"""How tensors, modules, summaries and reports look in a notebook: the `_repr_html_` of each.

Colours are see-through, so that they suit light and dark notebooks. Everything that is not ours to write is escaped.
"""
import html

import numpy as np

MOST = 10  # rows and columns of a table; of more, the first and the last
MAPS = 4  # maps of images that are shown side by side
ABOVE, BELOW = "240, 160, 60", "91, 149, 234"  # red, green, blue


def tensor(x):
    """Shape, dtype, range and history; the numbers as a table, coloured by size: the last two axes, of images the first maps."""
    array = np.asarray(x.device.to_numpy(x.array))
    about = [f"<b>{html.escape(type(x).__name__)}</b> {_shape(array.shape)}", str(array.dtype)]
    if x.device != "cpu":
        about.append(f"on {x.device}")
    if x.grad_fn is not None:
        about.append(f"made by {html.escape(type(x.grad_fn).__name__)}")
    elif x.requires_grad:
        about.append("requires grad")
    if array.size and array.dtype != bool:
        about.append(f"from {_number(array.min())} to {_number(array.max())}, mean {_number(array.mean())}")
    if array.dtype.kind == "f" and array.size and not np.isfinite(array).all():
        about.append(f"<b>{np.count_nonzero(~np.isfinite(array))} not finite</b>")
    heading = f"<div>{', '.join(about)}</div>"
    if array.size == 0:
        return heading
    planes = array.reshape(-1, *array.shape[-2:]) if array.ndim > 1 else array.reshape(1, 1, -1)
    shown = min(len(planes), MAPS)
    most = np.abs(planes[:shown].astype(np.float64)).max(where=np.isfinite(planes[:shown]), initial=0)
    tables = [_table(plane, most, str(list(map(int, np.unravel_index(i, array.shape[:-2])))) if array.ndim > 2 else "") for i, plane in enumerate(planes[:shown])]
    more = f"<div>… {len(planes) - shown:,} more</div>" if len(planes) > shown else ""
    return f'{heading}<div style="display: flex; flex-wrap: wrap; gap: 1em">{"".join(tables)}</div>{more}'


def _table(plane, most, name):
    """One plane of numbers; names the index of the axes before."""
    rows, columns = (_shown(extent) for extent in plane.shape)
    lines = ["".join(_cell(None if r is None or c is None else plane[r, c], most) for c in columns) for r in rows]
    caption = f"<caption>{html.escape(name)}</caption>" if name else ""
    return f'<table style="border-collapse: collapse; font-variant-numeric: tabular-nums">{caption}{"".join(f"<tr>{line}</tr>" for line in lines)}</table>'


def _shown(extent):
    """The indices that are shown; None for those left out."""
    return list(range(extent)) if extent <= MOST else [*range(MOST - 2), None, extent - 1]


def _cell(number, most):
    style = "text-align: right; padding: 1px 5px"
    if number is None:
        return f'<td style="{style}">…</td>'
    value = float(number)
    if most and np.isfinite(value) and value:
        style += f"; background: rgba({ABOVE if value > 0 else BELOW}, {abs(value) / most * 0.7:.2f})"
    return f'<td style="{style}">{_number(number)}</td>'


def module(part, name=""):
    """A tree of what a module is made of, with numbers of parameters; it folds below the second level."""
    return f'<div style="font-family: monospace">{_module(part, name, 0)}</div>'


def _module(part, name, depth):
    own = sum(parameter.numel() for parameter in part.parameters())
    label = f"{html.escape(name)}: " if name else ""
    line = f"{label}<b>{html.escape(type(part).__name__)}</b>({html.escape(part.extra_repr())})" + (f" <i>{own:,} parameters</i>" if own else "")
    children = list(part.named_children())
    if not children:
        return f'<div style="margin-left: 1.4em">{line}</div>'
    inside = "".join(_module(child, child_name, depth + 1) for child_name, child in children)
    return f'<details style="margin-left: {1.4 if depth else 0}em"{" open" if depth < 1 else ""}><summary>{line}</summary>{inside}</details>'


def summary(result):
    """The table, and the arithmetic behind it folded away."""
    from ..tools.summary import by, bytes_, count
    heading = ("layer", "kind", "output", "parameters", "MACs", "sees", "memory")
    rows = [(layer.name, layer.kind, by(layer.output_shape), count(layer.params), count(layer.macs), by(layer.receptive_field), bytes_(layer.activation_bytes))
            for layer in result.layers]
    total = ("total", result.kind, "", f"{result.params:,}", f"{result.macs:,}", "", bytes_(result.activation_bytes))

    def line(cells, tag="td"):
        return "<tr>" + "".join(f'<{tag} style="text-align: {"left" if i < 2 else "right"}">{html.escape(cell)}</{tag}>' for i, cell in enumerate(cells)) + "</tr>"
    explained = f"<details><summary>with the numbers put in</summary><pre>{html.escape(result.explain())}</pre></details>"
    return f"<table>{line(heading, 'th')}{''.join(map(line, rows))}{line(total, 'th')}</table>{explained}"


def report(result):
    """The report of a gradient check, with its verdict in colour."""
    colour = {"right": "80, 170, 110", "wrong": "220, 80, 70"}.get(result.verdict, "170, 170, 170")
    return f'<div style="border-left: 5px solid rgb({colour}); padding-left: 1em"><pre>{html.escape(str(result))}</pre></div>'


def _number(value):
    """Four significant digits; integers and booleans as they are."""
    return str(value) if isinstance(value, (bool, np.bool_, int, np.integer)) else f"{float(value):.4g}"


def _shape(shape):
    return " × ".join(map(str, shape)) or "number"
