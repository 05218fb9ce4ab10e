"""Modules that hold modules: in a row (Sequential), in a list, in a dictionary. The names of their parts are positions or keys."""
from .module import Module


class ModuleList(Module):
    """A list of modules whose parameters are found. It has no forward: the owner decides how the parts are used."""

    def __init__(self, modules=None):
        super().__init__()
        self.extend(() if modules is None else modules)

    def _set(self, modules):
        """The parts anew, named by their positions."""
        self._modules.clear()
        for i, module in enumerate(modules):
            self.add_module(str(i), module)

    def _index(self, index):
        if not -len(self) <= index < len(self):
            raise IndexError(f"{type(self).__name__}: index {index} is out of range for {len(self)} modules")
        return index % len(self)

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return iter(self._modules.values())

    def __getitem__(self, index):
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return list(self)[self._index(index)]

    def __setitem__(self, index, module):
        setattr(self, list(self._modules)[self._index(index)], module)

    def __delitem__(self, index):
        names = list(self._modules)
        numbered = names == [str(i) for i in range(len(names))]
        for name in names[index] if isinstance(index, slice) else [names[self._index(index)]]:
            del self._modules[name]
        if numbered:
            self._set(list(self))

    def append(self, module):
        """One more at the end."""
        position = len(self)
        while str(position) in self._modules:  # a slice of a Sequential keeps the names that its parts had
            position += 1
        self.add_module(str(position), module)
        return self

    def extend(self, modules):
        """Several more at the end."""
        for module in modules:
            self.append(module)
        return self

    def insert(self, index, module):
        """One more before position `index`."""
        modules = list(self)
        modules.insert(index, module)
        self._set(modules)


class Sequential(ModuleList):
    """Modules one after another, each fed what the one before gave: Sequential(a, b)(x) = b(a(x)).

    Built from modules, or from one dictionary that names them. A slice of it is a Sequential too, with the same modules. In training a layer that can do the work of
    the ReLU behind it as well (Conv2d, BatchNorm2d) does, with the same result in less time.
    """

    def __init__(self, *modules):
        Module.__init__(self)
        if len(modules) == 1 and isinstance(modules[0], dict):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            self.extend(modules)

    def forward(self, x):
        modules, i = list(self), 0
        while i < len(modules):
            takes_over = getattr(modules[i], "takes_over", None)
            pair = takes_over is not None and i + 1 < len(modules) and takes_over(modules[i + 1])
            x = modules[i].forward_relu(x) if pair else modules[i](x)
            i += 2 if pair else 1
        return x

    def __getitem__(self, index):
        if isinstance(index, slice):
            return type(self)(dict(list(self._modules.items())[index]))
        return super().__getitem__(index)


class ModuleDict(Module):
    """A dictionary of modules whose parameters are found. It has no forward: the owner decides how the parts are used."""

    def __init__(self, modules=None):
        super().__init__()
        self.update({} if modules is None else modules)

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return iter(self._modules)

    def __contains__(self, key):
        return key in self._modules

    def __getitem__(self, key):
        if key not in self._modules:
            raise KeyError(f"ModuleDict: no module {key!r}; there are {', '.join(map(repr, self._modules)) or 'none'}")
        return self._modules[key]

    def __setitem__(self, key, module):
        self.add_module(key, module)

    def __delitem__(self, key):
        del self._modules[key]

    def keys(self):
        return self._modules.keys()

    def values(self):
        return self._modules.values()

    def items(self):
        return self._modules.items()

    def update(self, modules):
        """Add the modules of a dictionary, or of (key, module) pairs."""
        for key, module in dict(modules).items():
            self[key] = module

    def pop(self, key):
        """Remove a module and return it."""
        module = self[key]
        del self[key]
        return module

    def clear(self):
        """Remove all modules."""
        self._modules.clear()
