"""What a module does, noted while it runs on images of which only the shape is real.

Every operation passes through `Function.apply`. While `record` listens there, it notes a Call for each: which operation, with which arguments, in which layer, and
which earlier calls made these arguments. Together the calls are the network as a list; tools/graph.py translates it.

What one run cannot show is an error: Python code that looks at the numbers of a result (`if x.sum() > 0`), for another image it might decide differently.
"""
import threading
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from ..autograd import Function, no_grad
from ..autograd.function import recording
from ..nn.module import Module
from ..tensor import Tensor
from .shapes import only_shapes, owner

IMAGE = -1  # the number of the "call" that made the input
LOOKS = ("item", "tolist", "numpy", "__bool__")  # how Python gets at numbers


class Untraceable(ValueError):
    """A module that cannot be written as a list of operations, and why."""


class Origin(NamedTuple):
    """Where an argument comes from."""

    call: int  # IMAGE, or the number of the call that made it
    output: int = 0  # as which of its results
    depends: bool = True  # on the image; otherwise on weights alone
    stale: bool = False  # it was changed in place meanwhile, through another view of its memory


class Call(NamedTuple):
    """One operation as it happened."""

    function: type  # the Function
    arguments: tuple
    origins: dict  # position of an argument -> its Origin; weights and constants have none
    shape: tuple  # of its (first) result
    dtype: np.dtype
    layer: str  # the path of the module that called it

    @property
    def depends(self):
        return any(origin.depends for origin in self.origins.values())


class Recording(NamedTuple):
    calls: list
    ends: list  # the Origins of the results
    structure: type | None  # of several results: tuple, or a named one


_one_at_a_time = threading.RLock()


def record(model, image):
    """The Recording of a module in its present mode (train or eval), for a tensor with the shape and dtype of the images."""
    recorder = Recorder(model, image)
    with no_grad(), only_shapes(image.device), recorder.listening():  # which leaves running statistics as they are
        results = model(image)
    several = isinstance(results, (tuple, list))
    ends = [recorder.origin(result) for result in (results if several else (results,))]
    if None in ends:
        raise Untraceable(f"{type(model).__name__} gives {type(results).__name__}{'s of something else' if several else ''}: "
                          "it must give a tensor, or a tuple of tensors, computed from the images")
    return Recording(recorder.calls, ends, type(results) if several else None)


class Recorder:
    def __init__(self, model, image):
        self.model = model
        self.calls = []
        self.made = {}  # id of an array -> (tensor, whose array keeps its id while it is here; its Origin; its version then)
        self.memory = set()  # ids of the arrays that own the memory of results
        self.paths = {id(module): path for path, module in model.named_modules()}
        self.layers = []  # the modules that are being called, outermost first
        self._note_result(image, Origin(IMAGE))

    def origin(self, value):
        """The Origin of an argument; None for what no call has made."""
        if not isinstance(value, Tensor):
            return None
        if id(value.array) in self.made:
            tensor, origin, version = self.made[id(value.array)]
            return origin._replace(stale=tensor.version[0] != version)
        if id(owner(value.array)) in self.memory:  # a view that no operation has made
            return Origin(IMAGE, stale=True)
        return None

    def _note_result(self, tensor, origin):
        self.made[id(tensor.array)] = tensor, origin, tensor.version[0]
        self.memory.add(id(owner(tensor.array)))

    def around(self, function, arguments, run):
        """run() an operation and note it."""
        origins = {i: origin for i, origin in enumerate(map(self.origin, arguments)) if origin is not None}
        for index in (part for argument in arguments if isinstance(argument, tuple) for part in argument if isinstance(part, np.ndarray)):
            self.look(Tensor(index))
        result = run()
        results = result if isinstance(result, tuple) else (result,)
        layer = next((self.paths[id(module)] for module in reversed(self.layers) if id(module) in self.paths), "")
        call = Call(function, arguments, origins, results[0].shape, results[0].dtype, layer)
        self.calls.append(call)
        for output, tensor in enumerate(results):
            self._note_result(tensor, Origin(len(self.calls) - 1, output, call.depends))
        return result

    def look(self, tensor):
        """Python wants to see numbers."""
        origin = self.origin(tensor)
        if origin is not None and origin.depends:
            raise Untraceable(f"{type(self.model).__name__}: Python code{self.where()} looks at the numbers of a result, of shape {tensor.shape}: what it does "
                              "with them may differ from image to image")

    def where(self):
        return f" in {describe(self.paths.get(id(self.layers[-1]), ''), self.layers[-1])}" if self.layers else ""

    @contextmanager
    def listening(self):
        """Within this block, and in this thread, this recorder hears of everything."""
        thread = threading.get_ident()
        apply, call, apart = Function.__dict__["apply"], Module.__call__, recording.apart
        looks = {name: getattr(Tensor, name) for name in LOOKS}

        def apply_and_note(cls, *arguments):
            run = lambda: apply.__func__(cls, *arguments)  # noqa: E731
            return self.around(cls, arguments, run) if threading.get_ident() == thread else run()

        def call_and_note(module, *inputs, **options):
            if threading.get_ident() != thread:
                return call(module, *inputs, **options)
            self.layers.append(module)
            result = call(module, *inputs, **options)
            self.layers.pop()
            return result

        def look_and_note(look):
            def noted(tensor, *arguments):
                if threading.get_ident() == thread:
                    self.look(tensor)
                return look(tensor, *arguments)
            return noted

        with _one_at_a_time:
            Function.apply, Module.__call__, recording.apart = classmethod(apply_and_note), call_and_note, True
            for name, look in looks.items():
                setattr(Tensor, name, look_and_note(look))
            try:
                yield
            finally:
                Function.apply, Module.__call__, recording.apart = apply, call, apart
                for name, look in looks.items():
                    setattr(Tensor, name, look)


def describe(path, module):
    """A layer for an error message."""
    return f"{path} ({type(module).__name__})" if path else type(module).__name__


def leading_to(ends, calls):
    """The numbers of the calls on whose results the calls numbered `ends` depend, and these themselves."""
    needed, waiting = set(), list(ends)
    while waiting:
        number = waiting.pop()
        if number != IMAGE and number not in needed:
            needed.add(number)
            waiting += [origin.call for origin in calls[number].origins.values()]
    return needed
