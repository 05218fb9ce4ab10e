"""The recorded graph of a tensor as a page: boxes in boxes, as modules are in modules, each folded until it is opened.

The boxes of a module stand in rows: each below those whose results it takes, which is all the layout that a graph of layers needs. The arrows are drawn by the page
(web/graph.js), between what is visible at the moment.
"""
import html
import json

from .page import filled, script, style


def page(graph):
    """The HTML of a RecordedGraph."""
    edges = [[source, number] for number, node in enumerate(graph.nodes) for source in node.inputs]
    total = sum(size for node in graph.nodes for _, size in node.saved or ())
    parts = {"title": f"{len(graph.nodes)} recorded operations", "about": f"What they keep for the backward pass: {_size(total)} (what two of them share counts twice).",
             "style": style("style.css", "graph.css"), "script": script("graph"), "edges": json.dumps(edges),
             "graph": _box(graph, (), list(range(len(graph.nodes))), edges)}
    return filled("graph.html", parts)


def framed(graph):
    """The page in a frame, for notebooks."""
    return f'<iframe srcdoc="{html.escape(page(graph))}" style="width: 100%; height: 40rem; border: 0" title="graph of operations"></iframe>'


def _box(graph, path, members, edges):
    """The rows of one module's direct parts: its own operations, and the modules in it. members: numbers of all nodes below it, in order."""
    part_of = {number: graph.nodes[number].path[:len(path) + 1] if len(graph.nodes[number].path) > len(path) else number for number in members}
    parts = {}
    for number in members:
        parts.setdefault(part_of[number], []).append(number)
    rows = {}
    depth = dict.fromkeys(parts, 0)
    order = {part: i for i, part in enumerate(parts)}
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        first, second = part_of.get(source), part_of.get(target)
        if first is not None and second is not None and order[first] < order[second]:  # else the module is used again further on
            depth[second] = max(depth[second], depth[first] + 1)
    for part in parts:
        rows.setdefault(depth[part], []).append(part)
    return "".join(f'<div class="row">{"".join(_part(graph, part, parts[part], edges) for part in rows[row])}</div>' for row in sorted(rows))


def _part(graph, part, members, edges):
    if isinstance(part, int):
        return _operation(graph.nodes[part], part)
    if len(members) == 1:
        return _operation(graph.nodes[members[0]], members[0], ".".join(graph.nodes[members[0]].path[len(part) - 1:]))
    last = graph.nodes[members[-1]]
    norm = f", |gradient| {last.grad_norm:.3g}" if last.grad_norm is not None else ""
    return (f'<details class="module" data-members="{members[0]} {members[-1]}"><summary><b>{html.escape(part[-1])}</b> {html.escape(graph.kinds[part])} '
            f"<small>{len(members)} operations → {_shape(last.shapes[0])}{norm}</small></summary>{_box(graph, part, members, edges)}</details>")


def _operation(node, number, name=""):
    lines = [f"{leaf.name} {_shape(leaf.shape)}" + (f", |grad| {leaf.grad_norm:.3g}" if leaf.grad_norm is not None else "") for leaf in node.parameters]
    if node.saved is None:
        lines.append("what it saved is freed")
    elif node.saved:
        lines.append(f"saved {', '.join(_shape(shape) for shape, _ in node.saved)}: {_size(sum(size for _, size in node.saved))}")
    if node.grad_norm is not None:
        lines.append(f"|gradient| {node.grad_norm:.3g}")
    heading = f"<b>{html.escape(name)}</b> {html.escape(node.op)}" if name else f"<b>{html.escape(node.op)}</b>"
    return f'<div class="operation" id="n{number}">{heading} {_shape(node.shapes[0])}{"".join(f"<small>{html.escape(line)}</small>" for line in lines)}</div>'


def _shape(shape):
    return " × ".join(map(str, shape)) or "one number"


def _size(number):
    """In the largest unit that leaves at least one."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.3g} {unit}"
        number /= 1024
    return f"{number:.3g} GiB"
