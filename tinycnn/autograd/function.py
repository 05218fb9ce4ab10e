"""A differentiable operation, and the node that it leaves in the graph.

An operation is a class with a forward and a backward that stand next to each other:

    class Multiply(Function):
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return ctx.kernels.elementwise.mul(a.array, b.array)

        def backward(ctx, dy):
            a, b = ctx.saved_tensors
            return dy * b, dy * a

    y = Multiply.apply(a, b)

`forward` gets the arguments of `apply` while nothing is recorded, and returns arrays or tensors; `backward` gets one gradient tensor per output and returns one per
argument (None where there is none). It is written with the same operations on tensors, so when asked to record (create_graph) it differentiates itself.
The instance that passes between them as `ctx` *is* the node of the graph: its edges lead to the operations that made the inputs.
"""
import itertools
import threading
from contextlib import ContextDecorator

from ..tensor import Tensor


class _Recording(threading.local):
    on = True
    branches = None  # who is told which way operations went, if anybody wants to know (branches.py)
    apart = False  # whether layers run one by one, since somebody notes what each does (tools/trace.py)

    def __init__(self):
        self.modules = []  # that are being called, outermost first


recording = _Recording()  # per thread: whether operations leave nodes behind


def is_grad_enabled():
    return recording.on


class set_grad_enabled:
    """Switch recording on or off, at once and until the end of the `with` block; as a decorator, while the function runs."""

    def __init__(self, mode):
        self.mode = bool(mode)
        self.before = recording.on
        recording.on = self.mode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        recording.on = self.before

    def __call__(self, function):
        recording.on = self.before
        return (enable_grad if self.mode else no_grad)()(function)


class _Switch(ContextDecorator):
    """`with no_grad():` as well as `@no_grad()`; may be nested and reused."""

    mode = None

    def __init__(self):
        self.before = []

    def __enter__(self):
        self.before.append(recording.on)
        recording.on = self.mode
        return self

    def __exit__(self, *_):
        recording.on = self.before.pop()

    def _recreate_cm(self):
        return type(self)()  # each call of a decorated function has its own stack


class no_grad(_Switch):
    """Within this block nothing is recorded: results do not require gradients."""

    mode = False


class enable_grad(_Switch):
    """Within this block operations are recorded again."""

    mode = True


_sequence = itertools.count()


class Function:
    """Base of every differentiable operation; see the top of this file. Names and meaning are those of torch.autograd.Function."""

    is_view = False  # outputs may look at the first input's memory, and then share its version counter
    is_ours = False  # written for this engine: what its backward returns is fresh memory, or what came in, or a view
    adds_to = None  # the number of the input, if any, whose gradient so far (so_far, a tensor or None) the backward adds to the one that it returns
    so_far = None
    hooks = None  # {output number: {key: hook}}, once there are any
    branch = None  # of operations that take sides: which each element took, see branches.py
    branch_kind = "side"
    _saved = ()
    _dirty = ()
    _not_differentiable = ()

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        cls.is_ours = cls.__module__.startswith("tinycnn.")

    # ---- what forward and backward may use

    def save_for_backward(ctx, *tensors):
        """Keep tensors (inputs, outputs, intermediates, None) for the backward pass. Whatever holds memory must be kept this way: it is freed as soon as used."""
        ctx._saved = tensors

    @property
    def saved_tensors(ctx):
        """What was saved, checked to be unchanged."""
        if ctx._saved is None:
            raise RuntimeError(f"backward through {ctx} a second time: what it saved was freed by the first; use backward(retain_graph=True) there")
        return [None if saved is None else saved.unpack(ctx) for saved in ctx._saved]

    def mark_dirty(ctx, *tensors):
        """Say, before doing it, that forward changes these inputs in place (and returns them)."""
        for tensor in tensors if any(ctx.needs_input_grad) else ():
            if tensor.grad_fn is None and tensor.requires_grad:
                raise RuntimeError("in-place change of a leaf that requires grad; do it under no_grad(), or on a clone()")
            if tensor.seen_version is not None:
                raise RuntimeError(f"in-place change of a view of a recorded tensor (shape {tensor.shape}, made by {tensor.grad_fn}): the history of the tensor it "
                                   "looks at would be wrong. Use the out-of-place operation (v = v * 2 for v *= 2, relu(v) for relu_(v), layers with "
                                   "inplace=False), or change the tensor itself (y[0] = value)")
        ctx._dirty = tensors

    def mark_non_differentiable(ctx, *tensors):
        """Say that these outputs have no gradient. (Integer and boolean outputs never do.)"""
        ctx._not_differentiable = tensors

    # ---- forward, backward: written by each operation

    def forward(ctx, *args):
        raise NotImplementedError(f"{type(ctx).__name__} has no forward")

    def backward(ctx, *gradients):
        raise NotImplementedError(f"{type(ctx).__name__} has no backward: it cannot be differentiated")

    # ---- running it

    @classmethod
    def apply(cls, *args):
        """Compute the operation and, if any input requires a gradient, record it."""
        ctx = cls()
        was_recording, device, needs = recording.on, None, []
        for arg in args:
            if not isinstance(arg, Tensor):
                needs.append(False)
                continue
            needs.append(was_recording and arg.requires_grad)
            if arg.device is not device:
                if device is not None:
                    raise ValueError(f"{cls.__name__}: tensors on different devices, {device} and {arg.device}; move them with .to(device)")
                device = arg.device
        if device is None:
            raise TypeError(f"{cls.__name__}: none of the arguments is a tensor: {', '.join(type(arg).__name__ for arg in args)}")
        ctx.needs_input_grad = needs
        recorded = True in needs
        if recorded:  # before the operation: one that changes its first input in place may be given a view of it, too
            ctx.edges = [_edge(arg, ctx) if needed else None for arg, needed in zip(args, needs)]
        ctx.kernels = device.kernels
        recording.on = False
        try:
            result = cls.forward(ctx, *args)
        except Exception as error:
            error.add_note(f"in the forward of {cls.__name__}({', '.join(_describe(arg) for arg in args)})")
            raise
        finally:
            recording.on = was_recording
        several = isinstance(result, tuple)
        outputs = [_wrap(out, args, ctx) if isinstance(out, Tensor) else Tensor(out, device) for out in (result if several else (result,))]
        if cls.branch is not None and recording.branches is not None:
            recording.branches(cls, args, outputs)
        for tensor in ctx._dirty:
            tensor.version[0] += 1
        if cls.is_view:
            _share_version(outputs, args[0])
        if recorded:
            _record(ctx, outputs)
        return tuple(outputs) if several else outputs[0]

    def __repr__(self):
        return f"<{type(self).__name__}>"

    @property
    def next_functions(self):
        """(operation, output number) for each argument that needs a gradient; a leaf tensor stands for itself. None for the others."""
        return tuple(edge and edge[:2] for edge in self.edges)


class Saved:
    """A tensor put away for the backward pass, with the version that its memory had."""

    __slots__ = ("seen", "tensor")

    def __init__(self, tensor):
        self.tensor, self.seen = tensor, tensor.version[0]

    def unpack(self, node):
        tensor = self.tensor
        if tensor.version[0] != self.seen:
            raise RuntimeError(f"{node} saved a tensor of shape {tensor.shape} for its backward, and it was changed in place since "
                               f"(version {tensor.version[0]}, expected {self.seen}): use the out-of-place operation, or clone() before changing it")
        return tensor


class SavedOutput(Saved):
    """The same of an output, kept without its history: the output owns the node, so a node that owned the output would be a cycle, and large arrays would wait for
    the garbage collector."""

    __slots__ = ("output_nr",)

    def __init__(self, tensor, output_nr):
        super().__init__(tensor.detach())
        self.output_nr = output_nr

    def unpack(self, node):
        output = super().unpack(node).detach()
        output.requires_grad, output.grad_fn, output.output_nr = True, node, self.output_nr
        return output


def _wrap(out, args, ctx):
    """A tensor that forward returned, as an output of its own."""
    for arg in args:
        if out is arg and not any(out is dirty for dirty in ctx._dirty):
            return out.detach()  # an input returned as it came: a new tensor on the same memory
    return out


def _share_version(outputs, source):
    for out in outputs:
        if source.device.xp.may_share_memory(out.array, source.array):
            out.version = source.version
            out.seen_version = source.version[0]


def _record(ctx, outputs):
    """Make ctx a node: what it saved in a form that creates no cycle, and itself as the outputs' origin."""
    ctx.sequence = next(_sequence)
    ctx.device = outputs[0].device
    modules = recording.modules
    ctx.made_in = (modules[0], modules[-1]) if modules else None  # the outermost and the innermost: for Tensor.graph()
    ctx.outputs = [(out.array.shape, out.array.dtype) for out in outputs]
    ctx._saved = [None if tensor is None else _put_away(tensor, outputs) for tensor in ctx._saved]
    constant = [id(out) for out in ctx._not_differentiable]
    for i, out in enumerate(outputs):
        if out.array.dtype.kind == "f" and id(out) not in constant:
            out.requires_grad, out.grad_fn, out.output_nr = True, ctx, i
    ctx._dirty = ctx._not_differentiable = ()


def _edge(tensor, ctx):
    """(node or leaf, output number, shape, dtype) of an input."""
    origin, array = tensor.grad_fn, tensor.array
    if origin is None:
        return tensor, 0, array.shape, array.dtype
    if tensor.seen_version is not None and tensor.seen_version != tensor.version[0]:
        raise RuntimeError(f"{type(ctx).__name__}: an input of shape {tensor.shape} is a view made by {origin}, and the tensor it looks at was changed "
                           "in place since: take the view again after the change")
    return origin, tensor.output_nr, array.shape, array.dtype


def _put_away(tensor, outputs):
    for i, out in enumerate(outputs):
        if tensor is out:
            return SavedOutput(tensor, i)
    return Saved(tensor)


def _describe(arg):
    """An argument for an error message."""
    return f"tensor{arg.shape} {arg.dtype}" if isinstance(arg, Tensor) else repr(arg) if not hasattr(arg, "shape") else f"array{arg.shape}"
