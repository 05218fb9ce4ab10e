"""cuDNN, by its classic interface (cudnn_library.py): convolution with the fastest of its algorithms, and the other layers (cudnn_layers.py).

For each problem every algorithm is tried by itself: its workspace may be no larger than WORKSPACE; its answer must agree with that of the first algorithm that can do
the problem; and then it is timed a few times. The fastest takes part, and the row says what each needed. "fp32" is cuDNN's FMA_MATH, which rounds nothing on the way in;
"tf32" its DEFAULT_MATH, which may. Both layouts take part, as two settings.
"""
from ctypes import c_void_p
from functools import lru_cache

import numpy as np

from ...kernels.cuda import array_module
from ..gpu import GpuTimer
from ..layers import Layer
from ..validate import allowed, error
from .base import Unsupported
from .cudnn_layers import LAYERS, operation
from .cudnn_library import ALGORITHMS, NCHW, NHWC, ONE, ZERO, Cudnn
from .on_gpu import OnGpu, channels_last

WORKSPACE = 1 << 30  # bytes, the same for all algorithms
TRIES = 5  # at the time of an algorithm
SAMPLE = 1 << 20  # elements of an answer that are compared


@lru_cache
def cudnn():
    """The library, with one handle for the process, working in the stream that everybody's kernels go to."""
    return Cudnn(stream=getattr(array_module().cuda.get_current_stream(), "ptr", 0))


class CuDNN(OnGpu):
    library, package, levels = "cudnn", "nvidia-cudnn-cu13", ("conv", "operation", "layer")
    settings = {"nchw": "classic interface, fastest algorithm, contiguous", "nhwc": "classic interface, fastest algorithm, channels-last"}

    def __init__(self, *how):
        super().__init__(*how)
        self.cudnn, self.layout = cudnn(), NHWC if self.setting == "nhwc" else NCHW

    def details(self):
        return {**super().details(), "version": self.cudnn.version, "workspace": WORKSPACE, "math": self.place.math}

    @classmethod
    def settings_of(cls, level):
        return ("nchw",) if level == "operation" else super().settings_of(level)  # their arrays have no layout

    # ---- arrays in this layout

    def lying(self, array):
        """A NumPy array as it has to lie in this layout."""
        if array is None or array.ndim != 4 or self.layout == NCHW:
            return array
        return channels_last(array)

    def empty(self, shape):
        """A new device array."""
        if len(shape) != 4 or self.layout == NCHW:
            return array_module().empty(shape, np.float32)
        return array_module().empty((shape[0], *shape[2:], shape[1]), np.float32).transpose(0, 3, 1, 2)

    def inputs(self, *arrays):
        return super().inputs(*map(self.lying, arrays))

    def tensor(self, shape):
        """The descriptor of an array (N, C, H, W), or (N, features)."""
        return self.cudnn.tensor((*shape, 1, 1)[:4], self.layout)

    # ---- convolution

    def conv(self, layer, x, w, bias, dy):
        return convolutions(self, layer, x, w, bias, dy)

    # ---- layers

    def operation(self, name, arrays):
        return operation(self, name, arrays)

    def inference(self, model, graph, x):
        node = only_node(graph)
        if node.op == "conv":
            layer, w, bias = convolution_of(graph, node, x)
            return self.conv(layer, x, w, bias, np.zeros(layer.y_shape, np.float32))["forward"]
        return LAYERS[node.op](self, graph, node, x, None)

    def layer(self, model, graph, x, dy):
        node = only_node(graph)
        if node.op != "conv":
            return LAYERS[node.op](self, graph, node, x, dy)
        layer, w, bias = convolution_of(graph, node, x)
        passes, following = self.conv(layer, x, w, bias, dy), self.inputs(dy)
        dy_is, db_is, call = self.tensor(layer.y_shape), self.tensor((1, layer.K, 1, 1)), self.cudnn.call

        def run():
            passes["forward"]()
            gradients = [passes["input_grad"](), passes["weight_grad"]()]
            if bias is not None:
                (cotangent,), db = following(), array_module().empty(layer.K, np.float32)
                call("ConvolutionBackwardBias", ONE, dy_is, pointer(cotangent), ZERO, db_is, pointer(db))
                gradients.append(db)
            return gradients
        return run


CONTESTANT = CuDNN


def pointer(array):
    """The address of a device array."""
    return c_void_p(array.data.ptr)


def only_node(graph):
    """The one operation of a graph, if cuDNN has it."""
    node, = graph.nodes
    if node.op != "conv" and node.op not in LAYERS:
        raise Unsupported(f"cuDNN has no {node.op}")
    return node


def convolution_of(graph, node, x):
    """(layers.Layer, w, bias or None) of a node."""
    w, bias = (graph.values[node.weights[part]] if part in node.weights else None for part in ("weight", "bias"))
    return Layer("", *x.shape, w.shape[0], *w.shape[2:], **node.options, bias=bias is not None), w, bias


# ---- convolution

def convolutions(self, layer, x, w, bias, dy):
    """{form: function} of the contestant `self`, each with the fastest algorithm."""
    call = self.cudnn.call
    x_is, y_is, w_is = self.tensor(layer.x_shape), self.tensor(layer.y_shape), self.cudnn.filter(layer.w_shape, self.layout)
    how, bias_is = self.cudnn.convolution(layer.geometry, self.place.math), self.tensor((1, layer.K, 1, 1))
    identity = self.cudnn.activation("ACTIVATION_IDENTITY")
    forward_of, input_grad_of, weight_grad_of = self.inputs(x, w, bias), self.inputs(dy, w), self.inputs(dy, x)

    def forward(algorithm, workspace):
        (x, w, bias), y = forward_of(), self.empty(layer.y_shape)
        call("ConvolutionForward", ONE, x_is, pointer(x), w_is, pointer(w), how, algorithm, pointer(workspace), workspace.nbytes, ZERO, y_is, pointer(y))
        if bias is not None:
            call("AddTensor", ONE, bias_is, pointer(bias), ONE, y_is, pointer(y))
        return y

    def forward_fused(algorithm, workspace):
        (x, w, bias), y = forward_of(), self.empty(layer.y_shape)
        call("ConvolutionBiasActivationForward", ONE, x_is, pointer(x), w_is, pointer(w), how, algorithm, pointer(workspace), workspace.nbytes,
             ZERO, y_is, pointer(y), bias_is, pointer(bias), identity, y_is, pointer(y))
        return y

    def input_grad(algorithm, workspace):
        (dy, w), dx = input_grad_of(), self.empty(layer.x_shape)
        call("ConvolutionBackwardData", ONE, w_is, pointer(w), y_is, pointer(dy), how, algorithm, pointer(workspace), workspace.nbytes, ZERO, x_is, pointer(dx))
        return dx

    def weight_grad(algorithm, workspace):
        (dy, x), dw = weight_grad_of(), self.empty(layer.w_shape)
        call("ConvolutionBackwardFilter", ONE, x_is, pointer(x), y_is, pointer(dy), how, algorithm, pointer(workspace), workspace.nbytes, ZERO, w_is, pointer(dw))
        return dw

    size, rounding = self.cudnn.size, {form: allowed(layer.length(form), self.place.math) for form in ALGORITHMS}
    ways = {"forward": [(name, number, forward) for number, name in enumerate(ALGORITHMS["forward"])],
            "input_grad": [(name, number, input_grad) for number, name in enumerate(ALGORITHMS["input_grad"])],
            "weight_grad": [(name, number, weight_grad) for number, name in enumerate(ALGORITHMS["weight_grad"])]}
    if bias is not None:  # the one algorithm that cuDNN allows for a bias without ReLU
        fused = "IMPLICIT_PRECOMP_GEMM"
        ways["forward"].append((f"{fused} with bias", ALGORITHMS["forward"].index(fused), forward_fused))
    sizes = {"forward": lambda algorithm: size("GetConvolutionForwardWorkspaceSize", x_is, w_is, how, y_is, algorithm),
             "input_grad": lambda algorithm: size("GetConvolutionBackwardDataWorkspaceSize", w_is, y_is, how, x_is, algorithm),
             "weight_grad": lambda algorithm: size("GetConvolutionBackwardFilterWorkspaceSize", x_is, y_is, how, w_is, algorithm)}
    return {form: fastest(ways[form], sizes[form], rounding[form]) for form in ways}


def fastest(ways, size, rounding):
    """The fastest of several ways [(name, algorithm, function(algorithm, workspace))] as a function without arguments, whose `choice` says what each of them needed."""
    found, left_out, answer = {}, [], None
    for name, algorithm, function in ways:
        try:
            nbytes = size(algorithm)
            if nbytes > WORKSPACE:
                left_out.append(f"{name}: needs {nbytes / 2**20:.0f} MiB")
                continue
            run = with_workspace(function, algorithm, nbytes)
            result = some(run())
            answer = result if answer is None else answer
            if error(result, answer) > 2 * rounding:
                left_out.append(f"{name}: its answer differs by {error(result, answer):.1g} sigma from the first algorithm's")
                continue
            found[name] = min(GpuTimer().times(run, TRIES)), run
        except Exception as failure:  # of another library: what one algorithm cannot do must not stop the others
            left_out.append(f"{name}: {failure}")
    if not found:
        return refusing("; ".join(left_out))
    name = min(found, key=lambda name: found[name][0])
    run = found[name][1]
    run.choice = f"{name}, of {', '.join(f'{other} {1e3 * time:.3g} ms' for other, (time, _) in found.items())}" + "".join(f"; {reason}" for reason in left_out)
    return run


def some(result):
    """Elements of a device array, spread over all of it, enough to tell a wrong algorithm; the one that is chosen is checked whole."""
    return result.get().reshape(-1)[::max(1, result.size // SAMPLE)]


def refusing(reason):
    """In place of a function that there is not: the other passes may still be there."""
    def refuse():
        raise NotImplementedError(reason)
    return refuse


def with_workspace(function, algorithm, nbytes):
    """function(algorithm, workspace) as a function without arguments."""
    workspace = array_module().empty(max(nbytes, 1), np.uint8)
    return lambda: function(algorithm, workspace)


