"""The backward pass: visit every operation after all that used its results, and hand each input its share.

By the chain rule, the gradient of a tensor is the sum over its uses. So: count the uses of every node (one walk down the graph), start at the outputs, and whenever
a node's last use has reported, run its backward and report to its inputs. No recursion: a chain of a million operations needs no deeper stack than a chain of one.
Among nodes that are ready the youngest goes first, which frees memory earliest and makes the order of additions, hence every bit of the result, the same each time.
"""
import heapq

from ..tensor import Tensor
from .function import Function, recording


def backward(tensors, grad_tensors=None, retain_graph=None, create_graph=False, inputs=None):
    """Accumulate the gradients of `tensors` (a tensor or a sequence) into the `.grad` of the leaves they depend on, or of `inputs` only, if given.

    grad_tensors: what to start from, one per tensor; may be None for tensors of one element (then 1). retain_graph: keep what was saved, so that a second backward
    can follow (default: the value of create_graph). create_graph: record the backward itself, so that gradients can be differentiated again.
    """
    roots = _roots("backward", tensors, grad_tensors)
    if inputs is not None:
        inputs = [inputs] if isinstance(inputs, Tensor) else list(dict.fromkeys(inputs))
        for wanted, gradient in zip(inputs, _run(roots, retain_graph, create_graph, inputs)):
            if gradient is not None:
                _accumulate(wanted, gradient[0], gradient[1], create_graph)
    else:
        _run(roots, retain_graph, create_graph, None)


def grad(outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False, allow_unused=False):
    """The gradients of `outputs` with respect to each of `inputs`, as a tuple; no `.grad` is touched.

    allow_unused: give None for an input that the outputs do not depend on; otherwise that is an error.
    """
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for i, wanted in enumerate(inputs):
        if not wanted.requires_grad:
            raise RuntimeError(f"grad: inputs[{i}] (shape {wanted.shape}) does not require grad")
    gradients = _run(_roots("grad", outputs, grad_outputs), retain_graph, create_graph, inputs)
    for i, gradient in enumerate(gradients):
        if gradient is None and not allow_unused:
            raise RuntimeError(f"grad: the outputs do not depend on inputs[{i}] (shape {inputs[i].shape}); allow_unused=True gives None for it")
    return tuple(gradient and gradient[0] for gradient in gradients)


def _roots(name, tensors, gradients):
    """[(tensor, its starting gradient)], checked."""
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if gradients is None or isinstance(gradients, Tensor):
        gradients = [gradients] * len(tensors) if gradients is None else [gradients]
    if len(gradients) != len(tensors):
        raise ValueError(f"{name}: {len(tensors)} outputs but {len(gradients)} gradients")
    roots = []
    for tensor, gradient in zip(tensors, gradients):
        if not tensor.requires_grad:
            raise RuntimeError(f"{name}: the tensor of shape {tensor.shape} does not require grad: nothing that it was computed from does, "
                               "or it was computed under no_grad()")
        if gradient is None:
            if tensor.numel() != 1:
                raise RuntimeError(f"{name}: a starting gradient is needed for an output of shape {tensor.shape} (only one of a single element starts from 1): "
                                   "reduce it, e.g. .sum(), or pass a tensor of its shape")
            gradient = Tensor(tensor.device.xp.ones(tensor.shape, tensor.dtype), tensor.device)
        if gradient.shape != tensor.shape or gradient.dtype != tensor.dtype:
            raise ValueError(f"{name}: the starting gradient is {gradient.shape} {gradient.dtype}, the output {tensor.shape} {tensor.dtype}; they must agree")
        roots.append((tensor, gradient))
    return roots


def _run(roots, retain_graph, create_graph, inputs):
    """The pass itself. inputs None: accumulate into leaves. Else: return [(gradient, owned) or None] for each input.

    A pending gradient is a pair (tensor, owned): owned means that nobody else can see its memory, so that it may be added to in place and handed out.
    """
    retain_graph = create_graph if retain_graph is None else retain_graph
    targets = None if inputs is None else {_place(wanted): [] for wanted in inputs}
    for i, wanted in enumerate(inputs or ()):
        targets[_place(wanted)].append(i)  # one tensor may be asked for several times
    uses, wanted_nodes = _count_uses([_place(tensor)[0] for tensor, _ in roots], targets)
    pending = {}  # node or leaf -> {output number: (gradient, owned)}
    found = None if inputs is None else [None] * len(inputs)
    ready = []
    before, recording.on = recording.on, create_graph
    try:
        for tensor, gradient in roots:
            target, output_nr = _place(tensor)
            _add(pending.setdefault(target, {}), output_nr, gradient, False, create_graph)
        for target in list(pending):
            if uses.get(target, 0) == 0:
                _finish(target, pending, ready, targets, found, create_graph)
        while ready:
            node = heapq.heappop(ready)[1]
            gradients = pending.pop(node)
            if node.hooks is not None:
                _through_hooks(node, gradients)
            if targets is not None:
                _capture(node, gradients, targets, found)
                if not any(edge is not None and edge[0] in wanted_nodes for edge in node.edges):
                    continue  # only asked for, not passed through
            if node.adds_to is not None and gradients and not create_graph:
                _lend(node, pending)
            results = _call(node, gradients)
            seen = [id(gradient.array) for gradient, _ in gradients.values()]
            for i, (edge, result) in enumerate(zip(node.edges, results)):
                if edge is None or edge[0] not in wanted_nodes:
                    continue
                target, output_nr, shape, dtype = edge
                if result is not None:
                    array = result.array
                    if array.shape != shape or array.dtype != dtype:
                        raise RuntimeError(f"the backward of {type(node).__name__} returned a gradient of {array.shape} {array.dtype} for argument {i}, "
                                           f"which is {shape} {dtype}")
                    # fresh memory: not passed through from the incoming gradient, not a view of anything, not given to two inputs
                    owned = node.is_ours and array.base is None and id(array) not in seen
                    seen.append(id(array))
                    if target in pending:
                        _add(pending[target], output_nr, result, owned, create_graph)
                    else:
                        pending[target] = {output_nr: (result, owned)}
                uses[target] -= 1
                if uses[target] == 0:
                    _finish(target, pending, ready, targets, found, create_graph)
            if not retain_graph and node._saved:
                node._saved = None
    finally:
        recording.on = before
    return found


def _place(tensor):
    """Where a tensor's gradient is gathered: at output k of the operation that made it, or at the leaf itself."""
    return (tensor, 0) if tensor.grad_fn is None else (tensor.grad_fn, tensor.output_nr)


def _count_uses(starts, targets):
    """({node or leaf: its uses by nodes that will run}, those that will run) for everything below `starts`.

    With targets, only what lies on a path to a target runs.
    """
    uses = dict.fromkeys(starts, 0)
    stack = [start for start in uses if isinstance(start, Function)]
    while stack:
        for edge in stack.pop().edges:
            if edge is not None:
                target = edge[0]
                if target in uses:
                    uses[target] += 1
                else:
                    uses[target] = 1
                    if isinstance(target, Function):
                        stack.append(target)
    if targets is None:
        return uses, uses
    places = {place for place, _ in targets}
    wanted = {place for place in places if isinstance(place, Tensor)}
    nodes = [node for node in uses if isinstance(node, Function)]
    for node in sorted(nodes, key=lambda node: node.sequence):  # inputs before those who use them
        if node in places or any(edge is not None and edge[0] in wanted for edge in node.edges):
            wanted.add(node)
    uses = dict.fromkeys(wanted, 0)
    for node in nodes:
        for edge in node.edges if node in wanted else ():
            if edge is not None and edge[0] in wanted:
                uses[edge[0]] += 1
    return uses, wanted


def _finish(target, pending, ready, targets, found, create_graph):
    """All uses of target have reported: a node is ready to run, a leaf has its gradient."""
    if isinstance(target, Function):
        pending.setdefault(target, {})  # empty: no gradient arrived, but those below wait for its report
        heapq.heappush(ready, (-target.sequence, target))
    elif target in pending:
        arrived = pending.pop(target)
        if target.hooks is not None:
            _through_hooks(target, arrived)
        gradient, owned = arrived[0]
        if targets is None:
            _accumulate(target, gradient, owned, create_graph)
        else:
            _note(found, targets.get((target, 0), ()), gradient, owned)


def _add(slots, output_nr, gradient, owned, create_graph):
    """Add a gradient to what has arrived before: in place only where the memory is the engine's own."""
    if output_nr not in slots:
        slots[output_nr] = (gradient, owned)
        return
    total, total_owned = slots[output_nr]
    if create_graph:
        slots[output_nr] = (total + gradient, False)
    elif total_owned:
        total.device.kernels.elementwise.add_(total.array, gradient.array)
    else:
        slots[output_nr] = (Tensor(total.device.kernels.elementwise.add(total.array, gradient.array), total.device), True)


def _through_hooks(target, arrived):
    """Let the tensors' hooks see the gradients of a node's outputs, or of a leaf, and replace them. Who has seen one may have kept it: it is not added to any more."""
    for output_nr, hooks in target.hooks.items():
        for hook in list(hooks.values()):
            if output_nr in arrived:
                gradient = arrived[output_nr][0]
                replaced = hook(gradient)
                arrived[output_nr] = (gradient if replaced is None else replaced, False)


def _capture(node, gradients, targets, found):
    """Keep the gradients that were asked for by autograd.grad."""
    for output_nr, (gradient, _) in gradients.items():
        _note(found, targets.get((node, output_nr), ()), gradient, False)


def _note(found, places, gradient, owned):
    """A gradient that was asked for, at its places in the answer."""
    for i in places:
        found[i] = (gradient, owned and len(places) == 1)


def _lend(node, pending):
    """For a node that can add to it, what has arrived for one of its inputs: no pass over memory is then needed to add up the two."""
    edge = node.edges[node.adds_to]
    if edge is not None and edge[0] in pending:
        arrived = pending[edge[0]].pop(edge[1], None)
        node.so_far = arrived and arrived[0]


def _call(node, gradients):
    """Run a node's backward; returns one gradient per argument of its forward, checked."""
    if not gradients:
        return [None] * len(node.edges)
    filled = [gradients[i][0] if i in gradients else Tensor(node.device.xp.zeros(shape, dtype), node.device) for i, (shape, dtype) in enumerate(node.outputs)]
    try:
        results = type(node).backward(node, *filled)
    except Exception as error:
        error.add_note(f"in the backward of {type(node).__name__}, whose outputs have the shapes {', '.join(str(shape) for shape, _ in node.outputs)}")
        raise
    finally:
        node.so_far = None
    results = results if isinstance(results, tuple) else (results,)
    if len(results) < len(node.edges) and any(edge is not None for edge in node.edges[len(results):]):
        raise RuntimeError(f"the backward of {type(node).__name__} returned {len(results)} gradients; its forward has {len(node.edges)} arguments")
    return results


def _accumulate(leaf, gradient, owned, create_graph):
    """leaf.grad += gradient, without ever sharing memory that somebody else may change."""
    if leaf.grad is None:
        leaf.grad = gradient if owned or create_graph else Tensor(gradient.device.kernels.elementwise.copy(gradient.array), gradient.device)
    elif create_graph or leaf.grad.requires_grad:
        leaf.grad = leaf.grad + gradient
    else:
        leaf.grad.device.kernels.elementwise.add_(leaf.grad.array, gradient.array)
        leaf.grad.version[0] += 1
