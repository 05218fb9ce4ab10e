"""Results as text: a table for the terminal, or one in Markdown for docs/."""
from .results import best_of


def table(results, markdown=False):
    """Everything: the machine, the rows task by task, the sums, and who was left out and why."""
    lines = [*heading(results), ""]
    current, fastest = None, max((row.exchange[1] for row in results.rows if row.exchange), default=0)
    for task, rows in results.tasks().items():
        level, group, *_ = task
        if (level, group) != current:
            current = level, group
            lines += [f"{'## ' if markdown else ''}{title(level, group)}", ""]
        lines += block(rows, markdown, fastest)
    return "\n".join([*lines, *totals(results, markdown), *left_out(results, markdown)])


def left_out(results, markdown=False):
    """Who does not take part, and why."""
    return ["", "Left out:", *(f"{'-' if markdown else ' '} {name}: {why}" for name, why in results.skipped.items())] if results.skipped else []


def title(level, group):
    return {"conv": f"Convolutions of {group}", "operation": "Operations", "layer": f"Layers of {group}", "inference": f"Inference, {group}",
            "training": f"A step of training, {group}", "memory": f"Memory, {group}", "startup": f"Start-up, {group}"}[level]


def heading(results):
    """When, on what, how."""
    machine = results.environment
    libraries = ", ".join(f"{name} {version}" for name, version in machine.get("libraries", {}).items())
    versions = dict.fromkeys(f"{name.split()[0]} {details.get('version') or ''}".strip() for name, details in results.contestants.items())
    lines = [f"{machine.get('date', '')}  {machine.get('processor', '')}, {machine.get('cores', '?')} cores, {machine.get('system', '')}",
             f"{libraries}; threads by {machine.get('threading_layer', '?')}; malloc: {machine.get('malloc', '?')}",
             f"contestants: {', '.join(versions)}", *peaks(results)]
    if results.settings:
        lines.append("median of {rounds} rounds of {seconds:g} s each, alternating with pauses of {pause:g} s; {cache} cache".format(**results.settings))
    lines.append("x: time of tinycnn over this one's (below 1: tinycnn is faster); %: of the roofline; error in sigma against float64")
    return lines


def peaks(results):
    """The most that the machine can do."""
    lines = []
    if gpu := results.environment.get("gpu"):
        lines.append(f"GPU: {gpu['device']}; " + ", ".join(f"{name} {value}" for name, value in gpu.items() if name not in ("device", "clocks_before", "simulated")))
    for peak in results.peaks:
        if "math" in peak:
            promised = ", ".join(f"{value:g} {name.replace('_', ' ')}" for name, value in peak["by_properties"].items())
            lines.append(f"{peak['math']}: peak {peak['gflops']:g} GFLOP/s, {peak['gbps']:g} GB/s copying, measured by {peak['by']}"
                         + (f"; by the device's properties {promised}" if promised else ""))
            continue
        others = f" (while other processes took {peak['disturbed']:.0%} of the machine)" if peak.get("disturbed", 0) > results.settings.get("most_disturbed", 0) else ""
        lines.append(f"{peak['threads']} thread{'s' * (peak['threads'] > 1)}: peak {peak['gflops']:g} GFLOP/s in registers, {peak['gbps']:g} GB/s copying{others}")
    return lines


PERCENT = "% of it"  # only in tables of a GPU: tinycnn's speed in percent of this one's
COLUMNS = ("", "median", "quartiles", "x", "quartiles", "GFLOP/s", "GB/s", "%", "error")


FAR = 0.5  # of the fastest exchange of a run: below it the cores were in different places


def far_apart(rows, fastest):
    """What is to be said if cores exchanged data more slowly than at other times; else nothing."""
    low, high = min((row.exchange[0] for row in rows if row.exchange), default=0), max((row.exchange[1] for row in rows if row.exchange), default=0)
    if low >= FAR * fastest:
        return []
    when = "all the time" if high < FAR * fastest else "some of the time"
    return [f"cores far apart {when}: they exchanged {number(low)} to {number(high)} GB/s, at most {number(fastest)} in this run", ""]


def block(rows, markdown, fastest=0):
    """The rows of one task. fastest: GB/s at which cores exchanged data at best."""
    head = rows[0]
    repeated = f" (x{head.count})" if head.count > 1 else ""
    bound = f", bound by {head.bound}" if head.bound else ""
    note = f" ({head.note})" if head.note else ""
    size = f", images of {head.size}x{head.size}" if head.size else ""
    name = f"{head.case}{repeated}, {head.what}, batch {head.batch}{note}{size}, {where(head.threads, head.math)}{bound}"
    columns = (*COLUMNS[:5], PERCENT, *COLUMNS[5:]) if head.math else COLUMNS
    cells = [row_cells(row) for row in rows]
    if markdown:
        return [f"**{name}**", "", "| " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) - 1), *("| " + " | ".join(line) + " |" for line in cells), "",
                *far_apart(rows, fastest)]
    widths = [max(len(line[i]) for line in [columns, *cells] if len(line) == len(columns)) for i in range(len(columns))]
    widths[0] = max(widths[0], max(len(line[0]) for line in cells))
    lines = [name, "  " + aligned(columns, widths)]
    return [*lines, *("  " + aligned(line, widths) for line in cells), "", *("  " * bool(line) + line for line in far_apart(rows, fastest))]


def where(threads, math):
    """On what everybody ran."""
    return f"on the GPU, {math}" if math else f"{threads} thread{'s' * (threads > 1)}"


def aligned(cells, widths):
    if len(cells) == 2:  # a refused row
        return f"{cells[0]:{widths[0]}}  {cells[1]}"
    return "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(cells, widths))).rstrip()


def row_cells(row):
    """What stands in a row; a refused one has its reason in place of figures."""
    if row.refused:
        return (row.contestant, f"refused: {row.refused}")
    if row.value is None:
        return (row.contestant, "not measured")
    default = f" (default malloc {number(row.default_malloc)})" if row.default_malloc is not None else ""
    between, ratio_between = ("-".join(map(number, quartiles)) for quartiles in (row.quartiles, row.ratio_quartiles))
    percent = (f"{100 / row.ratio:.0f}" if row.ratio else "",) if row.math else ()
    name = row.contestant + (f" ({row.choice.partition(',')[0]})" if row.choice else "")
    return (name, f"{number(row.value)} {row.unit}{default}", between, number(row.ratio), ratio_between, *percent,
            number(row.gflops), number(row.gbps), "" if row.roofline is None else f"{row.roofline:.0f}", "" if row.error is None else f"{row.error:.1e}")


def number(value):
    """Three digits."""
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def sums(results):
    """{(level, group, what, batch, threads, math): {library: [ours, theirs, tasks]}}: milliseconds of all tasks of a group where both count, each as often as it occurs.

    Of a library's settings the fastest counts, task by task; of tinycnn what a user gets.
    """
    found = {}
    for (level, group, _, what, batch, threads, _, _, math), rows in results.tasks().items():
        ours = next((row for row in rows if row.contestant == "tinycnn" and row.counts), None)
        if ours is None or level not in ("conv", "layer"):
            continue
        totals = found.setdefault((level, group, what, batch, threads, math), {})
        rivals = {library: row for library, row in best_of(rows).items() if library != "tinycnn"}
        if rivals:
            rivals["the fastest of them"] = min(rivals.values(), key=lambda row: row.value)
        for library, row in rivals.items():
            total = totals.setdefault(library, [0.0, 0.0, 0])
            total[0] += ours.count * ours.value
            total[1] += row.count * row.value
            total[2] += 1
    return found


def totals(results, markdown):
    """The sums as text."""
    found = {key: libraries for key, libraries in sums(results).items() if any(tasks > 1 for _, _, tasks in libraries.values())}
    if not found:
        return []
    lines = [f"{'## ' if markdown else ''}Sums (each layer as often as it occurs; where both count)", ""]
    for (_, group, what, batch, threads, math), libraries in found.items():
        for library, (ours, theirs, tasks) in libraries.items():
            on = where(threads, math) if math else f"{threads} threads"
            text = f"{group}, {what}, batch {batch}, {on}: tinycnn {number(ours)} ms, {library} {number(theirs)} ms: {ours / theirs:.2f}  ({tasks} layers)"
            lines.append(f"- {text}" if markdown else f"  {text}")
    return lines
