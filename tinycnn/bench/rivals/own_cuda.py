"""A kernel for the GPU that somebody brings: FILE.py with functions on device arrays, or FILE.cu:NAME, a kernel in CUDA C++ with a description of its launch.

In a Python file the functions are those of own.py; their arrays are CuPy's, float32 and C-contiguous, and they return one.

In a CUDA file the kernel's parameters say what it is given, by their names:

    x w bias y dy dx dw         pointers to float: the arrays, contiguous; bias is null where there is none. The one that is not const is the result: y, dx or dw
    N C H W K R S P Q G         the extents of the problem (G: groups)
    stride_h stride_w padding_h padding_w dilation_h dilation_w          (whole numbers, as all of these)

and comments in the file say how it is launched, in these numbers, with + - * // %, min, max and blocks(n, per_block), which rounds up:

    // grid NAME: blocks(Q, 16), blocks(P, 16), N * K      up to three numbers
    // block NAME: 16, 16
    // shared NAME: 4 * C * R * S                          bytes of dynamic shared memory; 0 if not there
    // needs NAME: G == 1 and dilation_h == 1              what else is left out; nothing if not there
    // zeroed NAME                                         the result is 0 before the kernel runs; else it is whatever the memory held
"""
import re
from pathlib import Path

import numpy as np

from ...kernels.cuda import array_module, blocks, launch
from ...kernels.cuda.source import kernels
from .base import Contestant
from .on_gpu import OnGpu
from .own import OwnKernel

RESULTS = {"y": "forward", "dx": "input_grad", "dw": "weight_grad"}
FUNCTIONS = {"blocks": blocks, "min": min, "max": max}


def own_kernel_on_gpu(path, threads, place):
    """The contestant of FILE.py or FILE.cu:NAME."""
    file, _, name = str(path).partition(".cu:")
    return CudaKernel(Path(file + ".cu"), name, threads, place) if name else PythonKernel(path, threads, place)


class OwnOnGpu(OnGpu):
    """What both kinds have in common."""

    levels, settings = ("conv",), {"default": "brought"}
    poison = False  # whether a result holds NaNs before a kernel writes it: then elements that it forgets show

    def on_host(self):
        return OnHost(self)

    def checked(self, result):
        if not isinstance(result, array_module().ndarray):
            raise TypeError(f"returns a {type(result).__module__}.{type(result).__name__}; it must return a device array")
        return result


class PythonKernel(OwnOnGpu, OwnKernel):
    def __init__(self, path, threads, place):
        if Path(path).suffix == ".cu":
            raise ValueError(f"{path}: say which kernel of the file: {path}:NAME")
        OwnKernel.__init__(self, path, threads)
        self.place = place

    def conv(self, layer, x, w, bias, dy):
        module, how = self.module, tuple(layer.geometry)
        forward_of, input_grad_of, weight_grad_of = self.inputs(x, w, bias), self.inputs(dy, w), self.inputs(dy, x)
        functions = {"forward": lambda: self.checked(module.forward(*forward_of(), *how)),
                     "input_grad": lambda: self.checked(module.input_grad(*input_grad_of(), layer.x_shape, *how)),
                     "weight_grad": lambda: self.checked(module.weight_grad(*weight_grad_of(), layer.w_shape, *how))}
        return {form: functions[form] for form in self.forms}


class CudaKernel(OwnOnGpu):
    """One kernel of a CUDA file."""

    def __init__(self, path, name, threads, place):
        super().__init__("default", threads, place)
        if not path.is_file():
            raise FileNotFoundError(f"no kernel file {str(path)!r}")
        self.path, self.kernel, self.library = path.resolve(), name, name
        found = kernels(self.path, {"real": np.dtype(np.float32), "index_t": np.dtype(np.int32)})
        if name not in found:
            raise ValueError(f"{path} has no kernel {name!r}: there are {', '.join(found) or 'none'}")
        self.parameters = found[name].parameters
        written = [p.name for p in self.parameters if p.is_pointer and not p.declaration.startswith("const")]
        if len(written) != 1 or written[0] not in RESULTS:
            raise ValueError(f"{path}: {name} must write exactly one of y, dx and dw (the pointer that is not const); it writes {', '.join(written) or 'nothing'}")
        self.result, self.form = written[0], RESULTS[written[0]]
        text = self.path.read_text()
        self.described = {what: self.description(text, what) for what in ("grid", "block", "shared", "needs", "zeroed")}
        for what in ("grid", "block"):
            if not self.described[what]:
                raise ValueError(f"{path}: how {name} is launched is missing: a comment // {what} {name}: ...")

    def description(self, text, what):
        """What follows `// what NAME:`, or None."""
        match = re.search(rf"^\s*//\s*{what}\s+{self.kernel}\b:?(.*)$", text, re.M)
        return match and (match[1].strip() or "True")

    def details(self):
        return {"file": f"{self.path}:{self.kernel}", "launch": self.described, "math": self.place.math}

    def conv(self, layer, x, w, bias, dy):
        numbers = numbers_of(layer)
        if self.described["needs"] and not self.value("needs", numbers):
            return {self.form: self.refusing(self.described["needs"])}
        grid, block = self.value("grid", numbers), self.value("block", numbers)
        shared = self.value("shared", numbers) if self.described["shared"] else 0
        given, shape = {"x": x, "w": w, "bias": bias, "dy": dy}, {"y": layer.y_shape, "dx": layer.x_shape, "dw": layer.w_shape}[self.result]
        pointers = [p.name for p in self.parameters if p.is_pointer and p.name != self.result]
        unknown = [p.name for p in self.parameters if p.name not in {**numbers, **given, self.result: None}]
        if unknown:
            raise ValueError(f"{self.kernel}: what is its parameter {unknown[0]!r}? There are {', '.join([*given, *RESULTS, *numbers])}")
        following = self.inputs(*(given[name] for name in pointers))

        def run():
            arrays = dict(zip(pointers, following()))
            arrays[self.result] = self.new(shape)
            launch(str(self.path), self.kernel, grid, block, *({**numbers, **arrays}[p.name] for p in self.parameters), shared=shared, real=np.float32)
            return arrays[self.result]
        return {self.form: run}

    def new(self, shape):
        """Memory for the result."""
        if self.described["zeroed"]:
            return array_module().zeros(shape, np.float32)
        return array_module().full(shape, np.nan, np.float32) if self.poison else array_module().empty(shape, np.float32)

    def value(self, what, numbers):
        """A description in numbers."""
        try:
            return eval(self.described[what], {"__builtins__": {}}, {**numbers, **FUNCTIONS})
        except Exception as error:
            raise ValueError(f"{self.path.name}: // {what} {self.kernel}: {self.described[what]}: {type(error).__name__}: {error}") from error

    @staticmethod
    def refusing(needs):
        def refuse():
            raise NotImplementedError(f"needs {needs}")
        return refuse


def numbers_of(layer):
    """The numbers that a kernel may ask for, by name."""
    P, Q = layer.y_shape[2:]
    pairs = {f"{what}_{axis}": getattr(layer, what)[i] for what in ("stride", "padding", "dilation") for i, axis in enumerate("hw")}
    return {**{name: getattr(layer, name) for name in "NCHWKRS"}, "P": P, "Q": Q, "G": layer.groups, **pairs}


class OnHost(Contestant):
    """A kernel on the GPU as validate.py judges it: its results come as NumPy arrays.

    Its inputs are the same device arrays each time, so that a second call sees what a first one did to them; what it writes to held NaNs before.
    """

    def __init__(self, kernel):
        super().__init__(kernel.setting, kernel.threads, kernel.place._replace(cold=False))
        self.kernel = kernel
        kernel.place, kernel.poison = self.place, True

    def conv(self, layer, *arrays):
        return {form: lambda function=function: function().get() for form, function in self.kernel.conv(layer, *arrays).items()}

    def running(self):
        return self.kernel.running()
