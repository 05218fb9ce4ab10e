"""A parameter: a tensor that a module owns and an optimiser changes."""
from ..tensor import Tensor, empty


class Parameter(Tensor):
    """A leaf tensor that requires gradients. Assigned to an attribute of a Module, it is registered there under that name.

    Shares the memory of `data`, as in PyTorch.
    """

    __slots__ = ()

    def __init__(self, data=None, requires_grad=True):
        if data is None:
            data = empty(0)
        if not isinstance(data, Tensor):
            raise TypeError(f"Parameter: data must be a Tensor, got {type(data).__name__}; tinycnn.tensor(...) makes one")
        super().__init__(data.array, data.device)
        self.version = data.version
        self.requires_grad_(requires_grad)

    def __repr__(self):
        return "Parameter containing:\n" + super().__repr__()
