"""Module: a function with state, and a tree of such functions.

A module keeps three dictionaries, filled by plain attribute assignment:

    _parameters     what an optimiser changes          self.weight = Parameter(...)
    _buffers        state that is not trained          self.register_buffer("running_mean", ...)
    _modules        the modules it is built from       self.conv = Conv2d(...)

Everything else is a walk over the tree that they span. The name of a parameter is the path to it ("features.0.weight"), and `state_dict` is the flat
dictionary of all paths (state.py). Hooks see what goes in and out of a module (hooks.py).
"""
import numpy as np

from ..autograd.function import recording
from ..device import Device
from ..device import device as find_device
from ..tensor import Handle, Tensor, float32, float64
from . import hooks, state
from .parameter import Parameter


class Module:
    """The base of every layer and network. A subclass calls super().__init__(), assigns its parts, and defines forward(...)."""

    training = True

    def __init__(self):
        for name in ("_parameters", "_buffers", "_modules", "_forward_pre_hooks", "_forward_hooks", "_backward_hooks"):
            object.__setattr__(self, name, {})  # ours would look into these very dictionaries
        object.__setattr__(self, "_non_persistent", set())

    def forward(self, *inputs):
        """What the module computes."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward(...)")

    def takes_over(self, following):
        """Whether this layer has a forward_relu that does the work of the layer `following`, too."""
        return False

    def __call__(self, *inputs, **options):
        if "_modules" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: its __init__ does not call super().__init__()")
        recording.modules.append(self)
        try:
            if self._forward_pre_hooks or self._forward_hooks or self._backward_hooks:
                return hooks.call(self, inputs, options)
            return self.forward(*inputs, **options)
        finally:
            recording.modules.pop()

    # ---- attributes: parameters, buffers and modules live in their dictionaries, the rest in the object

    def __setattr__(self, name, value):
        if "_modules" not in self.__dict__:
            if isinstance(value, (Parameter, Module)):
                raise AttributeError(f"{type(self).__name__}.{name}: call super().__init__() before assigning parameters and modules")
            return object.__setattr__(self, name, value)
        current = next((entries for entries in (self._parameters, self._buffers, self._modules) if name in entries), None)
        home = self._parameters if isinstance(value, Parameter) else self._modules if isinstance(value, Module) else current
        if home is None:
            return object.__setattr__(self, name, value)
        if home is current and value is not None:
            kind = Parameter if home is self._parameters else Module if home is self._modules else Tensor
            if not isinstance(value, kind):
                raise TypeError(f"{type(self).__name__}.{name} holds a {kind.__name__}: it cannot become a {type(value).__name__} (del it first)")
        if home is not current:  # a name means one thing
            self.__dict__.pop(name, None)
            if current is not None:
                del current[name]
                self._non_persistent.discard(name)
        home[name] = value

    def __getattr__(self, name):  # reached only where ordinary look-up has failed
        own = self.__dict__
        for registry in ("_parameters", "_buffers", "_modules"):
            if registry in own and name in own[registry]:
                return own[registry][name]
        hint = "" if "_modules" in own else " (its __init__ has not called super().__init__())"
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    def __delattr__(self, name):
        for entries in (self._parameters, self._buffers, self._modules):
            if name in entries:
                del entries[name]
                self._non_persistent.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self):
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def register_parameter(self, name, param):
        """The same as self.name = param; None reserves the name for a parameter that this module does without."""
        self._register("register_parameter", self._parameters, name, param, Parameter)

    def register_buffer(self, name, tensor, persistent=True):
        """State that is not trained. persistent=False leaves it out of the state_dict."""
        self._register("register_buffer", self._buffers, name, tensor, Tensor)
        (self._non_persistent.discard if persistent else self._non_persistent.add)(name)

    def register_module(self, name, module):
        """The same as self.name = module, for names that are computed."""
        self._register("register_module", self._modules, name, module, Module)

    add_module = register_module

    def _register(self, caller, entries, name, value, kind):
        if "_modules" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before {caller}")
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"{caller}: the name must be a non-empty string without a dot, got {name!r}")
        if name not in entries and hasattr(self, name):
            raise KeyError(f"{caller}: {type(self).__name__} already has an attribute {name!r}")
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"{caller}: {name!r} must be a {kind.__name__} or None, got {type(value).__name__}")
        entries[name] = value

    # ---- walks over the tree

    def named_modules(self, prefix="", remove_duplicate=True, _seen=None):
        """(path, module) of this module and all below it, parents first; a module used in several places once."""
        seen = set() if _seen is None else _seen
        if remove_duplicate and self in seen:
            return
        seen.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(_join(prefix, name), remove_duplicate, seen)

    def modules(self):
        """This module and all below it, each once."""
        for _, module in self.named_modules():
            yield module

    def named_children(self):
        """(name, module) of the direct parts, each once."""
        seen = set()
        for name, child in self._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self):
        """The direct parts, each once."""
        for _, child in self.named_children():
            yield child

    def _named_tensors(self, registry, prefix, recurse, remove_duplicate):
        seen = set()
        for path, module in self.named_modules(prefix, remove_duplicate) if recurse else [(prefix, self)]:
            for name, tensor in getattr(module, registry).items():
                if tensor is not None and not (remove_duplicate and id(tensor) in seen):
                    seen.add(id(tensor))
                    yield _join(path, name), tensor

    def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
        """(path, parameter) of all parameters; one that is shared comes once, under its first path."""
        return self._named_tensors("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse=True):
        """All parameters, each once: what an optimiser is given."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(self, prefix="", recurse=True, remove_duplicate=True):
        """(path, buffer) of all buffers, each once."""
        return self._named_tensors("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse=True):
        """All buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target):
        """The module at a path, such as "layer1.0.conv2"; "" is this module."""
        module = self
        for name in target.split(".") if target else ():
            if name not in module._modules:
                raise AttributeError(f"get_submodule: {type(module).__name__} has no module {name!r} (of the path {target!r}); "
                                     f"it has {', '.join(map(repr, module._modules)) or 'none'}")
            module = module._modules[name]
        return module

    def get_parameter(self, target):
        """The parameter at a path, such as "layer1.0.conv2.weight"."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if module._parameters.get(name) is None:
            raise AttributeError(f"get_parameter: {type(module).__name__} has no parameter {name!r} (of the path {target!r})")
        return module._parameters[name]

    # ---- what is done to the whole tree

    def apply(self, fn):
        """Call fn(module) for every module, parts before the whole."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self, mode=True):
        """Switch to training behaviour (dropout drops, batch normalisation uses the batch), or with mode=False to evaluation."""
        if not isinstance(mode, bool):
            raise ValueError(f"train: mode must be True or False, got {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self):
        """Switch to evaluation behaviour."""
        return self.train(False)

    def requires_grad_(self, requires_grad=True):
        """Train all parameters, or with False freeze them."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none=True):
        """Forget the parameters' gradients; set_to_none=False fills them with zeros instead."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad = None if set_to_none else parameter.grad.detach().zero_()

    def to(self, *args, dtype=None, device=None):
        """Change the floating-point dtype, and the device, of all parameters and buffers (in this module: nothing is copied that stays the same)."""
        for arg in args:
            if isinstance(arg, Tensor):
                dtype, device = arg.dtype, arg.device
            elif isinstance(arg, Device) or (isinstance(arg, str) and arg not in np.sctypeDict):
                device = arg
            else:
                dtype = np.dtype(arg)
        if dtype is not None and np.dtype(dtype).kind != "f":
            raise TypeError(f"{type(self).__name__}.to: dtype is {np.dtype(dtype)}; parameters can only be floating-point numbers")
        if device is not None:
            device = find_device(device)
        for tensor in [*self.parameters(), *self.buffers()]:
            _move(tensor, dtype, device)
            if tensor.grad is not None:
                _move(tensor.grad, dtype, device)
        return self

    def float(self):
        """All parameters and buffers in float32 (integers stay)."""
        return self.to(float32)

    def double(self):
        """All parameters and buffers in float64 (integers stay)."""
        return self.to(float64)

    def cuda(self):
        """All parameters and buffers on the GPU (or its simulation)."""
        return self.to("cuda")

    def cpu(self):
        """All parameters and buffers on the CPU."""
        return self.to("cpu")

    # ---- saving and loading

    def state_dict(self, *, prefix="", keep_vars=False):
        """{path: tensor} of all parameters and persistent buffers. The tensors share memory with the module; copy what must not change."""
        return state.state_dict(self, prefix, keep_vars)

    def load_state_dict(self, state_dict, strict=True):
        """Copy the values of a {path: tensor or array} into this module; see state.load."""
        return state.load(self, state_dict, strict)

    # ---- hooks: see hooks.py for when each is called

    def register_forward_pre_hook(self, hook):
        """hook(module, inputs) is called before forward; what it returns, if anything, replaces the inputs. Returns a handle with remove()."""
        return Handle(self._forward_pre_hooks, hook)

    def register_forward_hook(self, hook):
        """hook(module, inputs, output) is called after forward; what it returns, if anything, replaces the output. Returns a handle with remove()."""
        return Handle(self._forward_hooks, hook)

    def register_full_backward_hook(self, hook):
        """hook(module, grad_input, grad_output) is called when the gradients of the inputs are known; what it returns, if anything, replaces grad_input."""
        return Handle(self._backward_hooks, hook)

    # ---- how it prints

    def extra_repr(self):
        """What stands between the parentheses of a layer's repr."""
        return ""

    def __repr__(self):
        parts = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self._modules.items()]
        extra = self.extra_repr()
        lines = ([extra] if extra else []) + parts
        inside = extra if not parts else "\n  " + "\n  ".join(lines) + "\n"
        return f"{type(self).__name__}({inside})"

    def _repr_html_(self):
        from ..pages import notebook
        return notebook.module(self)


def _join(prefix, name):
    return f"{prefix}.{name}" if prefix else name


def _move(tensor, dtype, device):
    """Give a tensor other memory, without making it another tensor: optimisers hold on to parameters."""
    moved = tensor.detach().to(dtype=dtype if tensor.is_floating else None, device=device)
    tensor.array, tensor.device = moved.array, moved.device
