"""What is checked, seen as a function of float64 arrays: of this engine, or anybody's with a backward of its own.

A subject has

    arrays, names           the inputs whose gradients are checked: where they stand, and what they are called
    evaluate(arrays)        an Outcome: the outputs there, and which way each branch went if that can be seen
    pullback(arrays)        a function: gradients of the outputs -> gradients of the inputs, by the backward that is checked
    notes                   what was done to the inputs, for the report

Every evaluation starts from the same random numbers (draws.py).
"""
import copy
import inspect
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np

from ..autograd import enable_grad, grad, no_grad
from ..autograd.branches import record
from ..nn import Module
from ..tensor import Tensor, tensor
from .draws import Draws

WHY_FLOAT64 = "in float32 rounding alone makes a finite difference wrong in the third digit"


class Outcome(NamedTuple):
    """Outputs as a list of arrays; branches as a list of Branch, or None where nobody can see them."""

    outputs: list
    branches: list | None


def make(fn, inputs, backward=None, cache=False, names=None):
    """The Subject of these arguments of gradcheck."""
    if not callable(fn):
        raise TypeError(f"gradcheck: the first argument must be a function or a module, got {type(fn).__name__}")
    inputs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    subject = _make(fn, inputs, backward, cache, names)
    subject.source = fn, inputs, backward, cache, names
    return subject


def again(subject, change):
    """The Subject with other inputs, change(array) for each array; None where the function does not take them."""
    fn, inputs, backward, cache, names = subject.source
    try:
        return make(fn, tuple(changed(value, change) for value in inputs), backward, cache, names)
    except Exception:  # somebody else's function: whatever it says to inputs that it was not made for
        return None


def changed(value, change):
    if isinstance(value, Tensor):
        return tensor(change(to_numpy(value.array, None)), device=value.device)
    return change(value) if isinstance(value, np.ndarray) else value


def _make(fn, inputs, backward, cache, names):
    if backward is None:
        if cache:
            raise ValueError("gradcheck: cache=True says that forward returns (outputs, cache) for a backward(dy, cache); give that backward as well")
        return EngineSubject(fn, inputs, names)
    if isinstance(fn, Module) or any(isinstance(value, Tensor) for value in inputs):
        raise TypeError("gradcheck: with a backward of your own, forward and backward take and return NumPy or CuPy arrays; for tensors and modules of this engine "
                        "leave out `backward`")
    return ForeignSubject(fn, backward, inputs, cache, names)


class Subject:
    """What both kinds share."""

    evaluations = backwards = 0  # how often the function, and its backward, were called


class EngineSubject(Subject):
    """A function of tensors, or a module with its parameters, whose backward is the recorded graph's."""

    sees_branches = True

    def __init__(self, fn, inputs, names=None):
        self.notes = []
        self.inputs = [tensor(value) if is_floating_array(value) else value for value in inputs]
        tensors = [i for i, value in enumerate(self.inputs) if isinstance(value, Tensor) and value.is_floating]
        asked = [i for i in tensors if self.inputs[i].requires_grad]
        self.places = asked or tensors
        self.fn, self.parameters = fn, []
        if isinstance(fn, Module):
            self.fn = copy.deepcopy(fn).double()  # the caller's weights and running statistics stay as they are
            self.parameters = [(name, parameter) for name, parameter in self.fn.named_parameters() if parameter.requires_grad]
            if any(parameter.dtype != np.float64 for parameter in fn.parameters()):
                self.notes.append(f"checked on a float64 copy of the module: {WHY_FLOAT64}")
        if not self.places and not self.parameters:
            raise ValueError("gradcheck: none of the inputs is a floating-point tensor, so there is nothing to check")
        given = names or argument_names(self.fn.forward if isinstance(fn, Module) else fn, len(self.inputs))
        converted = [i for i in tensors if self.inputs[i].dtype != np.float64]
        if converted:
            self.notes.append(f"{', '.join(given[i] for i in converted)}: given as {self.inputs[converted[0]].dtype}, checked as float64: {WHY_FLOAT64}")
            self.inputs = [value.detach().double() if i in converted else value for i, value in enumerate(self.inputs)]
        self.arrays = [to_numpy(self.inputs[i].array) for i in self.places] + [to_numpy(parameter.array) for _, parameter in self.parameters]
        self.names = [given[i] for i in self.places] + [name for name, _ in self.parameters]
        self.draws = Draws(inputs)
        with enable_grad():
            results = self._call(self.arrays, True)[0]
        self.draws.idle = not self.draws.moved()
        self.kept = [i for i, y in enumerate(results) if isinstance(y, Tensor) and y.requires_grad]
        if not self.kept:
            raise ValueError("gradcheck: no output depends differentiably on the inputs, so there is nothing to check")
        self.computes_in = np.result_type(*(results[i].dtype for i in self.kept))

    def _call(self, arrays, recorded):
        """(all results as a list, the leaves)"""
        self.draws.restore()
        args, leaves = list(self.inputs), []
        for place, array in zip(self.places, arrays):
            leaf = tensor(np.array(array), device=self.inputs[place].device).requires_grad_(recorded)
            args[place] = leaf.clone() if recorded else leaf  # not the leaf itself: the function may change its input in place
            leaves.append(leaf)
        for (_, parameter), array in zip(self.parameters, arrays[len(self.places):]):
            parameter.array = parameter.device.xp.asarray(np.array(array))
            parameter.version[0] += 1
            leaves.append(parameter)
        try:
            result = self.fn(*args)
        except TypeError as error:
            if "float32 with float64" in str(error):
                error.add_note(f"gradcheck works in float64 ({WHY_FLOAT64}): make what the function itself brings along float64 as well (.double())")
            raise
        return list(result) if isinstance(result, (tuple, list)) else [result], leaves

    def evaluate(self, arrays, watched=True):
        self.evaluations += 1
        with no_grad(), record() if watched else nullcontext() as branches:
            results, _ = self._call(arrays, False)
        return Outcome([to_numpy(results[i].array) for i in self.kept], branches)

    def pullback(self, arrays):
        with enable_grad():
            results, leaves = self._call(arrays, True)
        outputs = [results[i] for i in self.kept]

        def pull(cotangents):
            self.backwards += 1
            starts = [tensor(np.array(u), dtype=y.dtype, device=y.device) for u, y in zip(cotangents, outputs)]
            found = grad(outputs, leaves, starts, retain_graph=True, allow_unused=True)
            return [np.zeros(leaf.shape) if dx is None else to_numpy(dx.array) for leaf, dx in zip(leaves, found)]
        return pull


class ForeignSubject(Subject):
    """forward(*inputs) -> outputs, with backward(dy, *inputs) -> gradients; or forward -> (outputs, cache), with backward(dy, cache)."""

    sees_branches = False

    def __init__(self, forward, backward, inputs, cache=False, names=None):
        self.forward, self.backward, self.cache, self.inputs, self.notes = forward, backward, cache, inputs, []
        self.places = [i for i, value in enumerate(inputs) if is_floating_array(value)]
        if not self.places:
            raise ValueError("gradcheck: none of the inputs is an array of floating-point numbers, so there is nothing to check")
        given = names or argument_names(forward, len(inputs))
        self.names = [given[i] for i in self.places]
        converted = [given[i] for i in self.places if inputs[i].dtype != np.float64]
        if converted:
            self.notes.append(f"{', '.join(converted)}: given as {inputs[self.places[0]].dtype}, checked as float64: {WHY_FLOAT64}")
        self.arrays = [to_numpy(inputs[i]) for i in self.places]
        self.draws = Draws(inputs)
        self.single = True  # one output, not a tuple of them
        outputs = self._outputs(self._run(self.arrays)[0])
        self.draws.idle = not self.draws.moved()
        self.computes_in = np.result_type(*outputs)
        self.kept = range(len(outputs))
        if self.computes_in.kind not in "fc":
            raise TypeError(f"gradcheck: forward returned {self.computes_in}; it must return floating-point numbers")
        if self.computes_in.itemsize < 8:
            self.notes.append(f"forward returns {self.computes_in} even for float64 inputs, so only about {int(-np.log10(np.finfo(self.computes_in).eps) / 2)} digits "
                              "of its gradient can be checked: let it compute in the dtype of its inputs")

    def _arguments(self, arrays):
        args = list(self.inputs)
        for place, array in zip(self.places, arrays):
            args[place] = like(array, self.inputs[place])
        return args

    def _run(self, arrays):
        """(result, cache or None, arguments)"""
        self.draws.restore()
        args = self._arguments(arrays)
        result = self.forward(*args)
        if not self.cache:
            return result, None, args
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(f"gradcheck: with cache=True forward must return (outputs, cache), it returned {type(result).__name__}")
        return *result, args

    def _outputs(self, result):
        self.single = not isinstance(result, (tuple, list))
        return [np.asarray(to_numpy(y, None)) for y in ((result,) if self.single else result)]

    def evaluate(self, arrays, watched=True):
        self.evaluations += 1
        outputs = self._outputs(self._run(arrays)[0])
        return Outcome([y if y.dtype.kind == "c" else y.astype(np.float64) for y in outputs], None)

    def pullback(self, arrays):
        result, cache, args = self._run(arrays)
        outputs = [result] if self.single else list(result)

        def pull(cotangents):
            self.backwards += 1
            starts = [like(u.reshape(np.shape(y)), y) for u, y in zip(cotangents, outputs)]
            dy, pull.starts = starts[0] if self.single else tuple(starts), starts
            return self._gradients(self.backward(dy, cache) if self.cache else self.backward(dy, *args))
        pull.arguments, pull.starts = args, []  # so that one can see whether the backward changes them
        return pull

    def _gradients(self, result):
        """One array, or None, for each checked input."""
        found = list(result) if isinstance(result, (tuple, list)) else [result]
        if len(found) == len(self.inputs) and len(found) != len(self.places):
            found = [found[i] for i in self.places]
        if len(found) != len(self.places):
            raise TypeError(f"gradcheck: backward returned {len(found)} gradients; there are {len(self.places)} floating-point inputs ({', '.join(self.names)}), and "
                            "each needs one (None: not computed)")
        return [None if dx is None else np.asarray(to_numpy(dx, None)) for dx in found]


def is_floating_array(value):
    """Whether it is a NumPy or CuPy array of floating-point numbers."""
    return hasattr(value, "dtype") and hasattr(value, "shape") and not isinstance(value, (Tensor, np.generic)) and np.dtype(value.dtype).kind == "f"


def to_numpy(array, dtype=np.float64):
    """A copy in NumPy, of a NumPy or CuPy array."""
    array = array.get() if hasattr(array, "__cuda_array_interface__") else array
    return np.array(array, dtype)


def like(array, example):
    """A copy of the array where `example` lives: on the GPU for a CuPy array, a plain number where forward returns plain numbers."""
    if hasattr(example, "__cuda_array_interface__"):
        import cupy
        return cupy.asarray(array)
    return np.array(array) if isinstance(example, np.ndarray) else np.asarray(array)[()]


def argument_names(fn, count):
    """What the arguments are called in the source; "input 0" and so on where that cannot be seen."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    return names + [f"input {i}" for i in range(len(names), count)]


class SecondOrder(EngineSubject):
    """The gradients of an engine's function as a function themselves: of its inputs and of dy, the gradient that the first backward starts from."""

    def __init__(self, fn, inputs, names=None):
        self.first = None
        super().__init__(fn, inputs, names)
        self.first, rng = self.kept, np.random.default_rng(0)
        outputs = EngineSubject.evaluate(self, self.arrays, watched=False).outputs
        self.names = self.names + ["dy" if len(outputs) == 1 else f"dy {i}" for i in range(len(outputs))]
        self.arrays = self.arrays + [rng.standard_normal(y.shape) for y in outputs]
        with enable_grad():
            self.kept = range(len(self._gradients(self.arrays)[0]))
        if not self.kept:
            raise ValueError("gradcheck: the gradients do not depend differentiably on the inputs or on dy, so there is no second order to check: the backward computes "
                             "on arrays, or detaches, where it should use recorded operations")

    def _call(self, arrays, recorded):
        if self.first is None or len(arrays) == len(self.places) + len(self.parameters):
            return super()._call(arrays, recorded)
        with enable_grad():
            return self._gradients(arrays)

    def _gradients(self, arrays):
        """(the gradients that are differentiable again, all leaves)"""
        own = len(self.places) + len(self.parameters)
        results, leaves = super()._call(arrays[:own], True)
        dys = [tensor(np.array(array)).requires_grad_() for array in arrays[own:]]
        found = grad([results[i] for i in self.first], leaves, dys, create_graph=True, allow_unused=True)
        return [dx for dx in found if dx is not None and dx.requires_grad], leaves + dys
