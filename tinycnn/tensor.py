"""The tensor: an array that remembers how it was computed.

    array                   the numbers, of the device's array module (NumPy on the CPU); any strides, so a tensor may be a view of another
    requires_grad           whether gradients flow to it
    grad_fn, output_nr      the operation that made it, and as which of its outputs (None for a leaf, which nobody made)
    grad                    for a leaf, where `backward` accumulates

What can be done with tensors is defined in tinycnn/ops, which adds its functions to this class as methods: here is only what a tensor *is*.

Every array carries a version counter, shared by all tensors that look at the same memory. In-place operations advance it; what was saved for the backward pass
remembers the version it saw, so that a stale value is an error and never a wrong gradient.
"""
import numpy as np

from .device import cpu
from .device import device as find_device

float16, float32, float64 = np.dtype("float16"), np.dtype("float32"), np.dtype("float64")
uint8, int8, int16, int32, int64 = (np.dtype(name) for name in ("uint8", "int8", "int16", "int32", "int64"))
bool_ = np.dtype("bool")

contiguous_format, channels_last, preserve_format = "contiguous_format", "channels_last", "preserve_format"


class Tensor:
    """A multi-dimensional array with automatic differentiation. Made by `tinycnn.tensor`, `zeros`, `randn`, ... or by operations on other tensors."""

    __slots__ = ("__dict__", "__weakref__", "array", "device", "grad", "grad_fn", "hooks", "output_nr", "requires_grad", "seen_version", "version")
    __array_ufunc__ = None  # ndarray + Tensor is ours to answer
    __hash__ = object.__hash__  # == compares elements, so identity is what hashing can mean

    def __init__(self, array, device=cpu, requires_grad=False):
        if type(array) is not np.ndarray:
            if isinstance(array, np.generic):
                array = np.asarray(array)  # NumPy turns 0-d results into scalars, which have no memory to share
            elif isinstance(array, (list, tuple)):
                array = np.asarray(array, float32)  # torch.Tensor([1, 2]), as old programs have it
        self.array = array
        self.device = device
        self.requires_grad = requires_grad
        self.grad = None
        self.grad_fn = None
        self.output_nr = 0
        self.hooks = None
        self.version = [0]  # a list so that views can share it
        self.seen_version = None  # for a view with history: the version at which that history was right

    # ---- what it is

    @property
    def shape(self):
        return self.array.shape

    @property
    def dtype(self):
        return self.array.dtype

    @property
    def ndim(self):
        return self.array.ndim

    @property
    def is_leaf(self):
        """Not computed by a recorded operation: only leaves accumulate `.grad`."""
        return self.grad_fn is None

    @property
    def is_floating(self):
        return self.array.dtype.kind == "f"

    def size(self, dim=None):
        return self.shape if dim is None else self.shape[dim]

    def dim(self):
        return self.array.ndim

    def numel(self):
        return self.array.size

    def element_size(self):
        return self.array.itemsize

    def stride(self, dim=None):
        """Strides in elements, as PyTorch counts them."""
        strides = tuple(bytes_ // self.array.itemsize for bytes_ in self.array.strides)
        return strides if dim is None else strides[dim]

    def is_contiguous(self, memory_format=contiguous_format):
        """Whether memory order is the logical order (N, C, H, W), or with memory_format=channels_last (N, H, W, C)."""
        if memory_format == channels_last:
            return self.ndim == 4 and self.array.transpose(0, 2, 3, 1).flags.c_contiguous
        return self.array.flags.c_contiguous

    def is_floating_point(self):
        return self.is_floating

    def __len__(self):
        if self.ndim == 0:
            raise TypeError("len() of a 0-dimensional tensor")
        return self.shape[0]

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __bool__(self):
        if self.array.size != 1:
            raise ValueError(f"the truth value of a tensor of shape {self.shape} is ambiguous: use .any() or .all()")
        return bool(self.item())

    def __repr__(self):
        numbers = np.array2string(self.device.to_numpy(self.array), separator=", ", precision=4, prefix="tensor(", threshold=1000)
        notes = "" if self.dtype in (float32, int64, bool_) else f", dtype={self.dtype}"
        notes += "" if self.device is cpu else f", device='{self.device}'"
        if self.grad_fn is not None:
            notes += f", grad_fn=<{type(self.grad_fn).__name__}>"
        elif self.requires_grad:
            notes += ", requires_grad=True"
        return f"tensor({numbers}{notes})"

    def _repr_html_(self):
        from .pages import notebook
        return notebook.tensor(self)

    def __format__(self, spec):
        return format(self.item(), spec) if self.ndim == 0 else object.__format__(self, spec)

    # ---- to and from the outside, without copying

    def numpy(self):
        """The numbers as a NumPy array that shares this tensor's memory."""
        if self.requires_grad:
            raise RuntimeError("numpy() on a tensor that requires grad: what NumPy does to it cannot be recorded; use .detach().numpy()")
        if self.device is not cpu:
            raise TypeError(f"numpy() on a tensor on {self.device}: NumPy cannot look into its memory; use .cpu().numpy()")
        return self.array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self, **options):
        return self.numpy().__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def item(self):
        """The only element, as a Python number."""
        if self.array.size != 1:
            raise ValueError(f"item() needs exactly one element; this tensor has shape {self.shape}")
        return self.array.item()

    def tolist(self):
        return self.array.tolist()

    def __int__(self):
        return int(self.item())

    def __float__(self):
        return float(self.item())

    def __index__(self):
        if self.array.dtype.kind not in "iu":
            raise TypeError(f"only integer tensors can be used as an index, this one is {self.dtype}")
        return self.item()

    # ---- its place in the graph

    def graph(self, gradient=None):
        """The recorded operations that lead to this tensor, to look at: a page that folds by module, or in a notebook a drawing. See tools/recorded.py."""
        from .tools.recorded import recorded
        return recorded(self, gradient)

    def detach(self):
        """The same memory outside the graph."""
        alias = Tensor(self.array, self.device)
        alias.version = self.version
        return alias

    @property
    def data(self):
        """The same memory outside the graph, and outside the version check: for those who know what they change."""
        return Tensor(self.array, self.device)

    @data.setter
    def data(self, value):
        if tuple(value.shape) != self.shape:
            raise ValueError(f"data: shape {tuple(value.shape)} cannot replace {self.shape}")
        self.array = value.array

    def requires_grad_(self, requires_grad=True):
        """Start (or stop) asking for gradients of this leaf."""
        if self.grad_fn is not None and not requires_grad:
            raise RuntimeError(f"requires_grad_(False) on the result of {type(self.grad_fn).__name__}: only a leaf can change it; use .detach()")
        if requires_grad and not self.is_floating:
            raise RuntimeError(f"only floating-point tensors can require gradients, this one is {self.dtype}")
        self.requires_grad = requires_grad
        return self

    def backward(self, gradient=None, retain_graph=None, create_graph=False, inputs=None):
        """Accumulate d(self)/d(leaf), times `gradient` (1 for a scalar), into the `.grad` of every leaf that self was computed from."""
        from .autograd import backward
        backward(self, gradient, retain_graph, create_graph, inputs)

    def register_hook(self, hook):
        """Call hook(gradient) when this tensor's gradient is complete; a returned tensor replaces it. Returns a handle with `remove()`."""
        if not self.requires_grad:
            raise RuntimeError("register_hook on a tensor that does not require grad: no gradient will ever arrive")
        return Handle(self._hooks(), hook)

    def _hooks(self):
        """This tensor's hooks, {key: hook}."""
        owner = self if self.grad_fn is None else self.grad_fn
        if owner.hooks is None:
            owner.hooks = {}
        return owner.hooks.setdefault(self.output_nr, {})

    def retain_grad(self):
        """Keep `.grad` for this tensor although it is not a leaf."""
        def keep(gradient):
            self.grad = gradient.detach().clone() if self.grad is None else self.grad + gradient
        if self.grad_fn is not None:
            self._hooks()["retain_grad", id(self)] = keep  # asked for twice, it is kept once

    def zero_grad(self):
        self.grad = None

    def __deepcopy__(self, memo):
        if self.grad_fn is not None:
            raise RuntimeError("deepcopy of a tensor that was computed by a recorded operation: only leaves can be copied; use .detach()")
        copy = type(self).__new__(type(self))
        Tensor.__init__(copy, self.array.copy(), self.device, self.requires_grad)
        copy.grad = None if self.grad is None else self.grad.__deepcopy__(memo)
        memo[id(self)] = copy
        return copy

    def __reduce__(self):
        return _rebuild, (type(self), self.device.to_numpy(self.array), self.requires_grad)


def _rebuild(cls, array, requires_grad):
    """For pickle: a tensor travels as its numbers."""
    self = cls.__new__(cls)
    Tensor.__init__(self, array, cpu, requires_grad)
    return self


class Handle:
    """Removes the hook it was returned for: by remove(), or at the end of a `with` block."""

    _count = 0

    def __init__(self, hooks, hook):
        Handle._count += 1
        self.hooks, self.key = hooks, Handle._count
        hooks[self.key] = hook

    def remove(self):
        self.hooks.pop(self.key, None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


# ---- making tensors

def tensor(data, dtype=None, device="cpu", requires_grad=False):
    """A new tensor with a copy of `data` (numbers, nested lists, arrays). Python floats become float32, Python ints int64; arrays keep their dtype."""
    if isinstance(data, Tensor):
        data = data.device.to_numpy(data.array)
    array = np.array(data, dtype=dtype)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)  # files hold big-endian numbers
    _check_elements("tensor", array.dtype)
    if dtype is None and array.dtype == float64 and not isinstance(data, (np.ndarray, np.generic)):
        array = array.astype(float32)
    return _on(device, array).requires_grad_(requires_grad)


def _on(device, array):
    """A tensor on a device with the elements of a NumPy array."""
    where = find_device(device)
    return Tensor(where.xp.asarray(array), where)


def as_tensor(data, dtype=None, device=None):
    """`data` as a tensor, without copying where it is a tensor or an array of the right dtype on that device already. Without `device`: a tensor's own, else the CPU."""
    if isinstance(data, Tensor):
        return data.to(dtype=dtype, device=device)
    if isinstance(data, np.ndarray) and (dtype is None or data.dtype == dtype) and (device is None or find_device(device) is cpu):
        return from_numpy(data)
    return tensor(data, dtype, device or cpu)


def from_numpy(array):
    """A tensor that shares the memory of a NumPy array."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected a NumPy array, got {type(array).__name__}")
    _check_elements("from_numpy", array.dtype)
    return Tensor(array)


def _check_elements(name, dtype):
    """TypeError unless a tensor can hold elements of this type."""
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise TypeError(f"{name}: cannot hold elements of type {dtype}; only numbers and booleans of at most 64 bits")
    if not dtype.isnative:
        raise TypeError(f"{name}: the bytes of {dtype} are in the order of another machine; tinycnn.tensor(...) makes a copy in that of this one")


def from_dlpack(source):
    """A tensor that shares the memory of any CPU object that speaks DLPack (NumPy, PyTorch, JAX, ...)."""
    return Tensor(np.from_dlpack(source))


def full(size, fill_value, dtype=None, device="cpu", requires_grad=False):
    """A tensor of shape `size` where every element is fill_value."""
    if dtype is None:
        dtype = {"b": bool_, "i": int64, "u": int64}.get(np.asarray(fill_value).dtype.kind, float32)
    where = find_device(device)
    return Tensor(where.xp.full(_size(size), fill_value, dtype), where).requires_grad_(requires_grad)


def zeros(*size, dtype=float32, device="cpu", requires_grad=False):
    """A tensor of zeros."""
    where = find_device(device)
    return Tensor(where.xp.zeros(_size(size), dtype), where).requires_grad_(requires_grad)


def ones(*size, dtype=float32, device="cpu", requires_grad=False):
    """A tensor of ones."""
    return full(size, 1, dtype, device, requires_grad)


def empty(*size, dtype=float32, device="cpu", requires_grad=False):
    """A tensor whose elements are not set: whatever the memory held."""
    where = find_device(device)
    return Tensor(where.xp.empty(_size(size), dtype), where).requires_grad_(requires_grad)


def zeros_like(other, dtype=None, requires_grad=False):
    return zeros(other.shape, dtype=dtype or other.dtype, device=other.device, requires_grad=requires_grad)


def ones_like(other, dtype=None, requires_grad=False):
    return ones(other.shape, dtype=dtype or other.dtype, device=other.device, requires_grad=requires_grad)


def empty_like(other, dtype=None, requires_grad=False):
    return empty(other.shape, dtype=dtype or other.dtype, device=other.device, requires_grad=requires_grad)


def full_like(other, fill_value, dtype=None, requires_grad=False):
    return full(other.shape, fill_value, dtype or other.dtype, other.device, requires_grad)


def arange(start, end=None, step=1, dtype=None, device="cpu"):
    """start, start + step, ... up to but without end; arange(n) counts 0 ... n-1."""
    start, end = (0, start) if end is None else (start, end)
    if dtype is None:
        dtype = int64 if all(isinstance(value, (int, np.integer)) for value in (start, end, step)) else float32
    return _on(device, np.arange(start, end, step, dtype))


def linspace(start, end, steps, dtype=float32, device="cpu"):
    """`steps` numbers from start to end, both included."""
    return _on(device, np.linspace(start, end, steps, dtype=dtype))


def eye(n, m=None, dtype=float32, device="cpu"):
    """The n x m identity matrix."""
    return _on(device, np.eye(n, m, dtype=dtype))


def _size(size):
    """zeros(2, 3) and zeros((2, 3)) mean the same."""
    if isinstance(size, (int, np.integer)):
        size = (size,)
    if len(size) == 1 and not isinstance(size[0], (int, np.integer)):
        size = size[0]
    size = tuple(int(extent) for extent in size)
    if min(size, default=0) < 0:
        raise ValueError(f"a tensor cannot have the shape {size}: no extent may be negative")
    return size
