"""The recorded graph of a tensor, to be looked at: operations with shapes, what each has saved, and the norms of the gradients that pass.

Every operation knows in which module it was called, so the graph folds by module: pages/graph.py draws it, and ResNet-50 is a dozen boxes until one is opened.
"""
from typing import NamedTuple

import numpy as np

from ..autograd import grad
from ..nn.parameter import Parameter
from ..tensor import Tensor


class Leaf(NamedTuple):
    """A tensor that no operation made."""

    name: str
    shape: tuple
    grad_norm: float | None  # of its .grad, where there is one


class Node(NamedTuple):
    """One operation, or an input that requires gradients (op "input")."""

    op: str
    path: tuple  # names of the modules in which it was called, outermost first: ("layer1", "0", "conv1")
    shapes: tuple  # of its outputs
    inputs: tuple  # numbers of the nodes whose outputs it takes
    parameters: tuple  # Leaf of each parameter that it takes
    saved: tuple | None  # (shape, bytes) of what it keeps for the backward; None where that has been freed
    grad_norm: float | None  # of the gradient of its first output


class RecordedGraph:
    """nodes, in the order in which they ran. `save(path)` writes a page, `str()` gives an outline, a notebook draws it."""

    def __init__(self, nodes, kinds):
        self.nodes, self.kinds = nodes, kinds  # kinds: {path: name of the module's class}

    def to_html(self):
        """The page as text."""
        from ..pages.graph import page
        return page(self)

    def save(self, path="graph.html"):
        """Write the page; returns its path."""
        from ..pages.page import put
        return put(path, self.to_html())

    def _repr_html_(self):
        from ..pages.graph import framed
        return framed(self)

    def __repr__(self):
        lines, open_modules = [], ()
        for node in self.nodes:
            shared = sum(1 for _ in _common(open_modules, node.path))
            lines += [f"{'  ' * depth}{node.path[depth]}: {self.kinds[node.path[:depth + 1]]}" for depth in range(shared, len(node.path))]
            open_modules = node.path
            about = [f"saves {bytes_ / 2**20:.3g} MiB" for bytes_ in [sum(size for _, size in node.saved or ())] if bytes_]
            about += [f"|gradient| {node.grad_norm:.3g}"] if node.grad_norm is not None else []
            lines.append("  " * len(node.path) + " ".join([node.op, *map(str, node.shapes), *(f"{leaf.name} {leaf.shape}" for leaf in node.parameters), *about]))
        return "\n".join(lines)


def recorded(tensor, gradient=None):
    """The RecordedGraph of a tensor.

    gradient: what to start a backward pass from for the norms of gradients (it keeps the graph, changes no .grad, calls no hooks of tensors); by default 1 for a tensor
    of one element. For others, and where the graph has been freed, there are no norms.
    """
    if tensor.grad_fn is None:
        raise ValueError("graph: this tensor was made by no recorded operation: let its inputs or parameters require gradients, and do not compute it under no_grad()")
    functions, inputs = _reachable(tensor.grad_fn)
    order = {place: number for number, place in enumerate([*inputs, *functions])}
    paths = _Paths()
    norms = _norms(tensor, gradient, functions)
    nodes = [Node("input", (), (leaf.shape,), (), (), (), _norm(leaf.grad)) for leaf in inputs]
    for function in functions:
        path = paths.of(function.made_in)
        places = [edge[0] for edge in function.edges if edge is not None]
        parameters = tuple(Leaf(paths.parameter(function.made_in, leaf), leaf.shape, _norm(leaf.grad)) for leaf in places if isinstance(leaf, Parameter))
        saved = None if function._saved is None else tuple((one.tensor.shape, one.tensor.array.nbytes) for one in function._saved if one is not None)
        before = tuple(order[place] for place in places if place in order)
        nodes.append(Node(type(function).__name__, path, tuple(shape for shape, _ in function.outputs), before, parameters, saved, norms.get(function)))
    return RecordedGraph(nodes, paths.kinds)


def _reachable(start):
    """(operations in the order in which they ran, leaves that are no parameters)"""
    seen, waiting = {start}, [start]
    while waiting:
        for edge in getattr(waiting.pop(), "edges", ()):
            if edge is not None and edge[0] not in seen:
                seen.add(edge[0])
                waiting.append(edge[0])
    functions = sorted((place for place in seen if not isinstance(place, Tensor)), key=lambda function: function.sequence)
    return functions, [place for place in seen if isinstance(place, Tensor) and not isinstance(place, Parameter)]


def _norms(tensor, gradient, functions):
    """{operation: norm of the gradient of its first output}"""
    if any(function._saved is None for function in functions) or (gradient is None and tensor.numel() != 1):
        return {}
    ends = []
    for function in functions:  # a tensor that stands for the operation's first output: autograd.grad looks at nothing else
        shape, dtype = function.outputs[0]
        end = Tensor(np.broadcast_to(np.zeros((), dtype), shape), function.device)
        end.requires_grad, end.grad_fn = True, function
        ends.append(end)
    hooks = [function.hooks for function in functions]  # not called: that of retain_grad would add to a .grad
    for function in functions:
        function.hooks = None
    try:
        found = grad(tensor, ends, gradient, retain_graph=True, allow_unused=True)
    finally:
        for function, hook in zip(functions, hooks):
            function.hooks = hook
    return {function: _norm(one) for function, one in zip(functions, found)}


def _norm(gradient):
    return None if gradient is None else float(np.linalg.norm(np.asarray(gradient.device.to_numpy(gradient.array), np.float64)))


class _Paths:
    """The paths of modules below the outermost one that was called. kinds: {path: name of the class}."""

    def __init__(self):
        self.roots, self.kinds = {}, {}

    def of(self, made_in):
        if made_in is None:
            return ()
        root, module = made_in
        names = self._names(root)
        path = tuple(part for part in names.get(id(module), "").split(".") if part)
        for depth in range(1, len(path) + 1):
            self.kinds[path[:depth]] = type(root.get_submodule(".".join(path[:depth]))).__name__
        return path

    def parameter(self, made_in, leaf):
        """A parameter's name, without the module's path where it is that module's own."""
        return "parameter" if made_in is None else self._names(made_in[0]).get(id(leaf), "parameter").rpartition(".")[2]

    def _names(self, root):
        if id(root) not in self.roots:
            self.roots[id(root)] = {id(part): name for name, part in [*root.named_modules(), *root.named_parameters()]}
        return self.roots[id(root)]


def _common(first, second):
    for one, other in zip(first, second):
        if one != other:
            return
        yield one
