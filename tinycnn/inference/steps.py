"""What a step runs: for each operation a function that is given the step, the device and the place of the result, and returns the function of the inputs' arrays
that computes it. Everything that can be is worked out here, once: each of the sixty convolutions of GoogLeNet has a fifth of a millisecond in all.

out: an array for the result, or None for memory of its own. given: the arrays of the inputs, or None where they come in memory of their own. The functions return
the result.
"""
import numpy as np

from ..autograd import no_grad
from ..kernels.conv.epilogue import Epilogue
from ..kernels.conv.geometry import Geometry
from ..kernels.layout import are_some_channels, span
from ..kernels.window import Window
from ..tensor import Tensor


def conv(step, device, out, given):
    """With all of the epilogue; and with packed filters, where the kernel table has them."""
    kernels, w, bias, geometry = device.kernels, step.weights["weight"], step.weights.get("bias"), Geometry(**step.options)
    forward, relu = kernels.conv.forward, step.relu
    if not hasattr(kernels.conv, "pack"):
        return lambda x, added=None: forward(x, w, bias, geometry, epilogue=Epilogue(relu, added, out))
    packed = kernels.conv.pack(w, step.input_shapes[0], geometry)
    step.algorithm = packed.algorithm
    if out is not None:
        gaps = given[0] is not None and are_some_channels(given[0])
        over = None if step.overwrites is None else out
        return kernels.conv.prepare(step.input_shapes[0], packed, bias, geometry, Epilogue(relu, over, out, step.pool), span(given[0])[1] if gaps else None)
    return lambda x, added=None: forward(x, packed, bias, geometry, epilogue=Epilogue(relu, added, pool=step.pool))


def linear(step, device, out, given):
    kernels = device.kernels
    w, bias, product, relu_ = step.weights["weight"], step.weights.get("bias"), kernels.matmul.linear, kernels.activation.relu_
    return (lambda x: relu_(product(x, w, bias))) if step.relu else lambda x: product(x, w, bias)


def relu(step, device, out, given):
    activation = device.kernels.activation
    return activation.relu_ if step.overwrites is not None else activation.relu


def add(step, device, out, given):
    """Over one of the two where nobody needs it any more."""
    elementwise = device.kernels.elementwise
    add_ = elementwise.add_

    def over(a, b):
        add_(a, b)
        return a
    return {None: elementwise.add, 0: over, 1: lambda a, b: over(b, a)}[step.overwrites]


def batch_norm(step, device, out, given):
    """One that no convolution could take over."""
    norm = device.kernels.norm
    weight, bias, mean, var, eps, relu = *map(step.weights.get, ("weight", "bias", "mean", "var")), step.options["eps"], step.relu
    if mean is None:  # it has no statistics but those of the batch
        return lambda x: norm.batch_forward(x, weight, bias, eps, relu)[0]
    return lambda x: norm.batch_inference(x, weight, bias, mean, var, eps, relu)


def lrn(step, device, out, given):
    forward, size, alpha, beta, k = device.kernels.lrn.forward, *map(step.options.get, ("size", "alpha", "beta", "k"))
    return lambda x: forward(x, size, alpha, beta, k)[0]


def max_pool(step, device, out, given):
    window, values = Window(**step.options), device.kernels.pool.max_values
    return lambda x: values(x, window)


def avg_pool(step, device, out, given):
    options = dict(step.options)
    count_include_pad, forward = options.pop("count_include_pad"), device.kernels.pool.avg_forward
    window = Window(**options)
    return lambda x: forward(x, window, count_include_pad)


def adaptive_avg_pool(step, device, out, given):
    size, forward = step.options["output_size"], device.kernels.pool.adaptive_avg_forward
    return lambda x: forward(x, size)


def flatten(step, device, out, given):
    """A view where elements lie in the order of (C, H, W), such as those of 1x1 maps; else they are brought into it."""
    shape, reshape = step.shape, device.kernels.elementwise.reshape
    return lambda x: reshape(x, shape)


def cat(step, device, out, given):
    """What is not in its place already is copied there."""
    if out is None:
        concatenate = device.kernels.elementwise.concatenate
        return lambda *inputs: concatenate(inputs, 1)
    ends = np.cumsum([shape[1] for shape in step.input_shapes])
    copy_ = device.kernels.elementwise.copy_
    copied = [(k, out[:, end - shape[1]:end]) for k, (end, shape) in enumerate(zip(ends, step.input_shapes)) if k not in step.in_place]

    def run(*inputs):
        for k, place in copied:
            copy_(place, inputs[k])
        return out
    return run


def as_it_is(step, device, out, given):
    """An operation without a form of its own, called again as it was called in the trace."""
    apply, positions, overlap, copy = step.options["function"].apply, step.options["results"], device.xp.may_share_memory, device.kernels.elementwise.copy
    arguments = [x.to(device) if isinstance(x, Tensor) else x for x in step.options["arguments"]]

    def run(*inputs):
        given = list(arguments)
        for i, x in zip(positions, inputs):
            given[i] = Tensor(x, device)
        with no_grad():
            y = apply(*given)
        y = (y[0] if isinstance(y, tuple) else y).array
        return copy(y) if any(overlap(y, x) for x in inputs) else y  # a view of what will be overwritten
    return run


FUNCTIONS = {"conv": conv, "linear": linear, "relu": relu, "add": add, "batch_norm": batch_norm, "lrn": lrn, "max_pool": max_pool, "avg_pool": avg_pool,
             "adaptive_avg_pool": adaptive_avg_pool, "flatten": flatten, "cat": cat, "as it is": as_it_is}

# Functions that are called as they are: those that compute a result from their arguments alone, change nothing, and draw no random numbers.
AS_THEY_ARE = (
    "Add", "Sub", "Mul", "Div", "Pow", "Choose", "Where", "Clamp", "Neg", "Abs", "Exp", "Sqrt", "Tanh", "Sigmoid", "Log", "Sin", "Cos", "Step", "Predicate",
    "ConvInputGrad", "Unfold", "Fold", "Take", "Gather", "MatMul", "ConstantPad", "MaxPool2d", "AdaptiveMaxPool2d", "AvgPool2d", "Sum", "Extreme", "ArgExtreme",
    "Prod", "Truth", "Reshape", "Permute", "Expand", "Cat", "Copy", "Cast", "Softmax", "LogSoftmax",
)
