"""The kernel library: arrays in, arrays out. Nothing here knows of tensors or gradients; a backward kernel is just another kernel.

One folder per operation, and in each folder the same operation several times:

    reference.py    NumPy, short and obvious: the specification. Any floating dtype.
    cpu.py          Numba, parallel, tested against the reference.
    cuda.py, *.cu   CUDA C++ and how it is launched (kernels/cuda), tested against the reference.

All implementations of an operation have the same functions with the same arguments, so a backend is nothing but a table that says which module
implements which operation. `backend("cpu").conv.forward(x, w, bias, geometry)` imports kernels/conv/cpu.py on first use (Numba is slow to import
and slow to compile, so nothing is touched before it is needed).

A new operation is a new folder and one line in the table; a new backend is new files and one column.
"""
from importlib import import_module

#            operation     reference               cpu                  cuda
OPERATIONS = {
    "elementwise": ("elementwise.reference", "elementwise.cpu", "elementwise.cuda"),
    "reduce": ("reduce.reference", "reduce.cpu", "reduce.cuda"),
    "index": ("index.reference", "index.cpu", "index.cuda"),
    "matmul": ("matmul.reference", "matmul.cpu", "matmul.cuda"),
    "conv": ("conv.reference", "conv.cpu", "conv.cuda"),
    "unfold": ("unfold.reference", "unfold.cpu", "unfold.cuda"),
    "pool": ("pool.reference", "pool.cpu", "pool.cuda"),
    "lrn": ("lrn.reference", "lrn.cpu", "lrn.cuda"),
    "norm": ("norm.reference", "norm.cpu", "norm.cuda"),
    "activation": ("activation.reference", "activation.cpu", "activation.cuda"),
    "dropout": ("dropout.reference", "dropout.cpu", "dropout.cuda"),
    "softmax": ("softmax.reference", "softmax.cpu", "softmax.cuda"),
    "cross_entropy": ("cross_entropy.reference", "cross_entropy.cpu", "cross_entropy.cuda"),
    "pad": ("pad.reference", "pad.cpu", "pad.cuda"),
    "optim": ("optim.reference", "optim.cpu", "optim.cuda"),
}
BACKENDS = ("reference", "cpu", "cuda")


class Backend:
    """The kernels of one backend, by operation: an attribute is a module, imported when first asked for."""

    def __init__(self, name):
        if name not in BACKENDS:
            raise ValueError(f"unknown kernel backend {name!r}: there are {', '.join(BACKENDS)}")
        self.name = name

    def __getattr__(self, operation):
        if operation not in OPERATIONS:
            raise AttributeError(f"no kernel operation {operation!r}: there are {', '.join(OPERATIONS)}")
        name = OPERATIONS[operation][BACKENDS.index(self.name)]
        if name is None:
            raise NotImplementedError(f"the operation {operation!r} has no kernels for {self.name!r} yet")
        module = import_module(f"{__name__}.{name}")
        setattr(self, operation, module)  # so that the next look-up costs nothing
        return module

    def __repr__(self):
        return f"<kernel backend {self.name}>"


_backends = {}


def backend(name):
    """The backend called `name`, always the same object."""
    if name not in _backends:
        _backends[name] = Backend(name)
    return _backends[name]
