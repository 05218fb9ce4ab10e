"""cuDNN's pooling, LRN, ReLU, BatchNorm, dropout and softmax: for each a function (contestant, graph, node, x, dy) that prepares one layer and returns what is timed.

Without dy that is the layer as in inference and gives y; with dy it is forward and backward, and gives the gradients of x and of the weights.
"""
from ctypes import c_void_p

import numpy as np

from ...kernels.cuda import array_module
from ...kernels.window import Window
from ..gpu import to_device
from .base import Unsupported
from .cudnn_library import CONSTANTS, ONE, ZERO

SPATIAL, DIM1 = CONSTANTS["BATCHNORM_SPATIAL"], CONSTANTS["LRN_CROSS_CHANNEL_DIM1"]
SOFTMAX = CONSTANTS["SOFTMAX_ACCURATE"], CONSTANTS["SOFTMAX_MODE_CHANNEL"]
MOVES = 0.1  # how far the running statistics of BatchNorm move in a step


def at(array):
    """The address of a device array."""
    return c_void_p(array.data.ptr)


def simple(self, x, y_shape, dy, forward, backward):
    """A layer without weights. forward(x_is, x, y_is, y) and backward(y_is, y, y_is, dy, x_is, x, x_is, dx) call cuDNN with descriptors and addresses."""
    x_is, y_is = self.tensor(x.shape), self.tensor(y_shape)
    following = self.inputs(x) if dy is None else self.inputs(x, dy)

    def infer():
        (x,), y = following(), self.empty(y_shape)
        forward(x_is, at(x), y_is, at(y))
        return y

    def train():
        (x, dy), y, dx = following(), self.empty(y_shape), self.empty(x_shape)
        forward(x_is, at(x), y_is, at(y))
        backward(y_is, at(y), y_is, at(dy), x_is, at(x), x_is, at(dx))
        return [dx]
    x_shape = x.shape
    return infer if dy is None else train


def relu(self, graph, node, x, dy):
    call, how = self.cudnn.call, self.cudnn.activation("ACTIVATION_RELU")
    return simple(self, x, x.shape, dy,
                  lambda x_is, x, y_is, y: call("ActivationForward", how, ONE, x_is, x, ZERO, y_is, y),
                  lambda *arrays: call("ActivationBackward", how, ONE, *arrays[:6], ZERO, *arrays[6:]))


def max_pool(self, graph, node, x, dy):
    return pooling(self, node, x, dy, "POOLING_MAX")


def avg_pool(self, graph, node, x, dy):
    return pooling(self, node, x, dy, "POOLING_AVERAGE_COUNT_INCLUDE_PADDING" if node.options["count_include_pad"] else "POOLING_AVERAGE_COUNT_EXCLUDE_PADDING")


def pooling(self, node, x, dy, mode):
    options = node.options
    size, stride, padding, dilation = (options[name] for name in ("size", "stride", "padding", "dilation"))
    if tuple(dilation) != (1, 1):
        raise Unsupported("cuDNN has no dilated pools")
    if Window(size, stride, padding, dilation).positions(x.shape[2:]) != tuple(node.shape[1:]):
        raise Unsupported("cuDNN's pools round down, this one rounds up")
    call, how = self.cudnn.call, self.cudnn.pooling(mode, size, padding, stride)
    return simple(self, x, (len(x), *node.shape), dy,
                  lambda x_is, x, y_is, y: call("PoolingForward", how, ONE, x_is, x, ZERO, y_is, y),
                  lambda *arrays: call("PoolingBackward", how, ONE, *arrays[:6], ZERO, *arrays[6:]))


def lrn(self, graph, node, x, dy):
    options = node.options
    if options["size"] % 2 == 0:
        raise Unsupported("cuDNN's windows of even size lie the other way round")
    call, how = self.cudnn.call, self.cudnn.lrn(options["size"], options["alpha"], options["beta"], options["k"])
    return simple(self, x, x.shape, dy,
                  lambda x_is, x, y_is, y: call("LRNCrossChannelForward", how, DIM1, ONE, x_is, x, ZERO, y_is, y),
                  lambda *arrays: call("LRNCrossChannelBackward", how, DIM1, ONE, *arrays[:6], ZERO, *arrays[6:]))


def softmax(self, graph, node, x, dy):
    """Over the channels. The backward pass needs y, and not x."""
    call = self.cudnn.call
    return simple(self, x, x.shape, dy,
                  lambda x_is, x, y_is, y: call("SoftmaxForward", *SOFTMAX, ONE, x_is, x, ZERO, y_is, y),
                  lambda y_is, y, dy_is, dy, _x_is, _x, dx_is, dx: call("SoftmaxBackward", *SOFTMAX, ONE, y_is, y, dy_is, dy, ZERO, dx_is, dx))


def dropout(self, graph, node, x, dy):
    """Forward and backward, with cuDNN's own random numbers."""
    if dy is None:
        raise Unsupported("dropout does nothing in inference")
    cudnn, x_is = self.cudnn, self.tensor(x.shape)
    states, reserve = (array_module().empty(max(nbytes, 1), np.uint8) for nbytes in (cudnn.size("DropoutGetStatesSize"), cudnn.size("DropoutGetReserveSpaceSize", x_is)))
    how = cudnn.dropout(node.options["p"], at(states), states.nbytes)
    following, x_shape = self.inputs(x, dy), x.shape

    def train():
        (x, dy), y, dx = following(), self.empty(x_shape), self.empty(x_shape)
        cudnn.call("DropoutForward", how, x_is, at(x), x_is, at(y), at(reserve), reserve.nbytes)
        cudnn.call("DropoutBackward", how, x_is, at(dy), x_is, at(dx), at(reserve), reserve.nbytes)
        return [dx]
    train.states = states  # the descriptor has their address only
    return train


def batch_norm(self, graph, node, x, dy):
    call, eps, x_is, x_shape = self.cudnn.call, node.options["eps"], self.tensor(x.shape), x.shape
    if not {"weight", "bias"} <= set(node.weights):
        raise Unsupported("cuDNN's BatchNorm has a weight and a bias")
    weights = {part: to_device(np.ascontiguousarray(graph.values[name], np.float32)) for part, name in node.weights.items()}
    weight, bias, parameters_are = weights["weight"], weights["bias"], self.cudnn.batch_norm_parameters(x_is)

    def new():
        return array_module().empty(weight.shape, np.float32)

    if dy is None:
        mean, var, following = weights["mean"], weights["var"], self.inputs(x)

        def infer():
            (x,), y = following(), self.empty(x_shape)
            call("BatchNormalizationForwardInference", SPATIAL, ONE, ZERO, x_is, at(x), x_is, at(y), parameters_are, at(weight), at(bias), at(mean), at(var), eps)
            return y
        return infer
    following, (running_mean, running_var) = self.inputs(x, dy), (array_module().zeros(weight.shape, np.float32) for _ in range(2))

    def train():
        (x, dy), y, dx = following(), self.empty(x_shape), self.empty(x_shape)
        saved_mean, saved_scale, dweight, dbias = new(), new(), new(), new()
        call("BatchNormalizationForwardTraining", SPATIAL, ONE, ZERO, x_is, at(x), x_is, at(y), parameters_are, at(weight), at(bias),
             MOVES, at(running_mean), at(running_var), eps, at(saved_mean), at(saved_scale))
        call("BatchNormalizationBackward", SPATIAL, ONE, ZERO, ONE, ZERO, x_is, at(x), x_is, at(dy), x_is, at(dx), parameters_are, at(weight),
             at(dweight), at(dbias), eps, at(saved_mean), at(saved_scale))
        return [dx, dweight, dbias]
    return train


def operation(self, name, arrays):
    """Of operations.OPERATIONS those that cuDNN has; the arrays are x, or dy and y."""
    call, how, shape = self.cudnn.call, self.cudnn.activation("ACTIVATION_RELU"), arrays[0].shape
    lie = self.tensor(shape if len(shape) > 1 else (1, *shape))
    calls = {"relu": lambda x, y: call("ActivationForward", how, ONE, lie, x, ZERO, lie, y),
             "relu_backward": lambda dy, y, dx: call("ActivationBackward", how, ONE, lie, y, lie, dy, lie, y, ZERO, lie, dx),  # where x is asked for, y has its signs
             "softmax": lambda x, y: call("SoftmaxForward", *SOFTMAX, ONE, lie, x, ZERO, lie, y),
             "softmax_backward": lambda dy, y, dx: call("SoftmaxBackward", *SOFTMAX, ONE, lie, y, lie, dy, ZERO, lie, dx)}
    if name not in calls:
        raise Unsupported(f"cuDNN has no {name}")
    following, compute = self.inputs(*arrays), calls[name]

    def run():
        result = self.empty(shape)
        compute(*map(at, following()), at(result))
        return result,
    return run


LAYERS = {"relu": relu, "max_pool": max_pool, "avg_pool": avg_pool, "lrn": lrn, "softmax": softmax, "dropout": dropout, "batch_norm": batch_norm}
