"""A libcudnn that computes by the references, on the memory of the simulated device: the same functions, called through ctypes with the declared types.

Descriptors are numbers of Python objects. Each function sees what would reach cuDNN, addresses and numbers, so a wrong place among the arguments gives a wrong answer
here as there. What is declared is compared with cuDNN's own headers in test_bench_cudnn.py.
"""
import ctypes
from types import SimpleNamespace

import numpy as np

from tinycnn.bench.rivals import cudnn_library as declared
from tinycnn.kernels import backend
from tinycnn.kernels.conv.geometry import Geometry
from tinycnn.kernels.cuda import array_module
from tinycnn.kernels.window import Window

NOT_SUPPORTED = 3000


class NotSupported(Exception):
    pass


class FakeCudnn:
    """workspace: bytes that each algorithm asks for; unsupported and wrong: algorithms (form, number) that refuse, or give something else."""

    def __init__(self, workspace=16, unsupported=(), wrong=()):
        self.workspace, self.unsupported, self.wrong = workspace, unsupported, wrong
        self.objects, self.calls, self.alive = {}, [], 0
        self.reference = backend("reference")
        for name, letters in declared.FUNCTIONS.items():
            types = [declared.LETTERS[letter] for letter in letters]
            setattr(self, f"cudnn{name}", ctypes.CFUNCTYPE(ctypes.c_int, *types)(self.guarded(name)))
        self.cudnnGetVersion = ctypes.CFUNCTYPE(ctypes.c_size_t)(lambda: 92800)
        self.name = ctypes.c_char_p(b"CUDNN_STATUS_NOT_SUPPORTED")
        self.cudnnGetErrorString = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int)(lambda status: ctypes.cast(self.name, ctypes.c_void_p).value)

    def guarded(self, name):
        """The method called `name`, or one that creates, sets or destroys a descriptor; exceptions become a status."""
        if name.endswith("Descriptor") and name.startswith("Create"):
            method = self.create
        elif name.endswith("Descriptor") and name.startswith("Destroy"):
            method = self.destroy
        elif name.startswith("Set"):
            def method(descriptor, *values):
                self.objects.setdefault(descriptor, SimpleNamespace()).__dict__[name] = values
        else:
            method = getattr(self, name)

        def call(*arguments):
            array_module().cuda.Device().synchronize()
            self.calls.append(name)
            try:
                method(*arguments)
            except NotSupported:
                return NOT_SUPPORTED
            return 0
        return call

    # ---- descriptors

    def create(self, address):
        self.alive += 1
        number = 1000 + len(self.objects)
        self.objects[number] = SimpleNamespace()
        ctypes.c_void_p.from_address(address).value = number

    def destroy(self, number):
        self.alive -= 1

    def Create(self, address):
        ctypes.c_void_p.from_address(address).value = 7

    def Destroy(self, handle):
        pass

    def DeriveBNTensorDescriptor(self, number, x, mode):
        assert mode == 1
        _, _, _, C, _, _ = self.objects[x].SetTensor4dDescriptor
        self.objects[number].SetTensor4dDescriptor = 0, 0, 1, C, 1, 1

    def view(self, number, address, kind="Tensor"):
        """The array at an address, as its descriptor says."""
        if kind == "Tensor":
            layout, dtype, *shape = self.objects[number].SetTensor4dDescriptor
        else:
            dtype, layout, *shape = self.objects[number].SetFilter4dDescriptor
        assert dtype == 0
        N, C, H, W = shape
        memory = np.frombuffer((ctypes.c_float * (N * C * H * W)).from_address(address), np.float32)
        return memory.reshape(N, H, W, C).transpose(0, 3, 1, 2) if layout == 1 else memory.reshape(shape)

    @staticmethod
    def number(address):
        return ctypes.c_float.from_address(address).value

    def write(self, target, alpha, value, beta):
        """y = alpha * value + beta * y"""
        before = target * self.number(beta) if self.number(beta) else 0
        target[...] = self.number(alpha) * value + before

    # ---- convolution

    def geometry(self, number):
        padding_h, padding_w, u, v, dilation_h, dilation_w, mode, dtype = self.objects[number].SetConvolution2dDescriptor
        assert (mode, dtype) == (1, 0) and self.objects[number].SetConvolutionMathType[0] in (0, 3)
        return Geometry((u, v), (padding_h, padding_w), (dilation_h, dilation_w), self.objects[number].SetConvolutionGroupCount[0])

    def asked(self, form, algorithm, size):
        if (form, algorithm) in self.unsupported:
            raise NotSupported
        ctypes.c_size_t.from_address(size).value = self.workspace

    def GetConvolutionForwardWorkspaceSize(self, handle, x, w, how, y, algorithm, size):
        self.asked("forward", algorithm, size)

    def GetConvolutionBackwardDataWorkspaceSize(self, handle, w, dy, how, dx, algorithm, size):
        self.asked("input_grad", algorithm, size)

    def GetConvolutionBackwardFilterWorkspaceSize(self, handle, x, dy, how, dw, algorithm, size):
        self.asked("weight_grad", algorithm, size)

    def computed(self, form, algorithm, value, nbytes):
        assert nbytes == self.workspace
        return value * 1.01 if (form, algorithm) in self.wrong else value

    def ConvolutionForward(self, handle, alpha, x_is, x, w_is, w, how, algorithm, workspace, nbytes, beta, y_is, y):
        value = self.reference.conv.forward(self.view(x_is, x), self.view(w_is, w, "Filter"), None, self.geometry(how))
        self.write(self.view(y_is, y), alpha, self.computed("forward", algorithm, value, nbytes), beta)

    def ConvolutionBiasActivationForward(self, handle, alpha, x_is, x, w_is, w, how, algorithm, workspace, nbytes, alpha2, z_is, z, b_is, b, activation, y_is, y):
        assert self.objects[activation].SetActivationDescriptor[0] == 5 and algorithm == 1
        value = self.reference.conv.forward(self.view(x_is, x), self.view(w_is, w, "Filter"), self.view(b_is, b).reshape(-1), self.geometry(how))
        self.write(self.view(y_is, y), alpha, value, alpha2)

    def ConvolutionBackwardData(self, handle, alpha, w_is, w, dy_is, dy, how, algorithm, workspace, nbytes, beta, dx_is, dx):
        out = self.view(dx_is, dx)
        value = self.reference.conv.input_grad(self.view(dy_is, dy), self.view(w_is, w, "Filter"), out.shape, self.geometry(how))
        self.write(out, alpha, self.computed("input_grad", algorithm, value, nbytes), beta)

    def ConvolutionBackwardFilter(self, handle, alpha, x_is, x, dy_is, dy, how, algorithm, workspace, nbytes, beta, dw_is, dw):
        out = self.view(dw_is, dw, "Filter")
        value = self.reference.conv.weight_grad(self.view(dy_is, dy), self.view(x_is, x), out.shape, self.geometry(how))
        self.write(out, alpha, self.computed("weight_grad", algorithm, value, nbytes), beta)

    def ConvolutionBackwardBias(self, handle, alpha, dy_is, dy, beta, db_is, db):
        self.write(self.view(db_is, db), alpha, self.view(dy_is, dy).sum((0, 2, 3)).reshape(1, -1, 1, 1), beta)

    def AddTensor(self, handle, alpha, a_is, a, beta, c_is, c):
        self.write(self.view(c_is, c), alpha, self.view(a_is, a), beta)

    # ---- the other layers

    def window(self, number):
        mode, _, *numbers = self.objects[number].SetPooling2dDescriptor
        size, padding, stride = numbers[:2], numbers[2:4], numbers[4:]
        return mode, Window(tuple(size), tuple(stride), tuple(padding), (1, 1))

    def PoolingForward(self, handle, how, alpha, x_is, x, beta, y_is, y):
        mode, window = self.window(how)
        x = self.view(x_is, x)
        value = self.reference.pool.max_values(x, window) if mode == 0 else self.reference.pool.avg_forward(x, window, mode == 1)
        self.write(self.view(y_is, y), alpha, value, beta)

    def PoolingBackward(self, handle, how, alpha, y_is, y, dy_is, dy, x_is, x, beta, dx_is, dx):
        mode, window = self.window(how)
        x, dy, out = self.view(x_is, x), self.view(dy_is, dy), self.view(dx_is, dx)
        if mode == 0:
            _, winners = self.reference.pool.max_forward(x, window)
            value = self.reference.pool.max_backward(dy, winners, x.shape, window)
        else:
            value = self.reference.pool.avg_backward(dy, x.shape, window, mode == 1)
        self.write(out, alpha, value, beta)

    def lrn(self, number):
        n, alpha, beta, k = self.objects[number].SetLRNDescriptor
        return n, alpha / n, beta, k

    def LRNCrossChannelForward(self, handle, how, mode, alpha, x_is, x, beta, y_is, y):
        self.write(self.view(y_is, y), alpha, self.reference.lrn.forward(self.view(x_is, x), *self.lrn(how))[0], beta)

    def LRNCrossChannelBackward(self, handle, how, mode, alpha, y_is, y, dy_is, dy, x_is, x, beta, dx_is, dx):
        x, (n, a, b, k) = self.view(x_is, x), self.lrn(how)
        _, base = self.reference.lrn.forward(x, n, a, b, k)
        self.write(self.view(dx_is, dx), alpha, self.reference.lrn.backward(self.view(dy_is, dy), x, base, n, a, b), beta)

    def SoftmaxForward(self, handle, algorithm, mode, alpha, x_is, x, beta, y_is, y):
        assert (algorithm, mode) == (1, 1)
        power = np.exp(self.view(x_is, x))
        self.write(self.view(y_is, y), alpha, power / power.sum(1, keepdims=True), beta)

    def SoftmaxBackward(self, handle, algorithm, mode, alpha, y_is, y, dy_is, dy, beta, dx_is, dx):
        y, dy = self.view(y_is, y), self.view(dy_is, dy)
        self.write(self.view(dx_is, dx), alpha, y * (dy - (y * dy).sum(1, keepdims=True)), beta)

    def BatchNormalizationForwardInference(self, handle, mode, alpha, beta, x_is, x, y_is, y, w_is, weight, bias, mean, var, eps):
        weight, bias, mean, var = (self.view(w_is, address).reshape(-1) for address in (weight, bias, mean, var))
        self.write(self.view(y_is, y), alpha, self.reference.norm.batch_inference(self.view(x_is, x), weight, bias, mean, var, eps), beta)

    def BatchNormalizationForwardTraining(self, handle, mode, alpha, beta, x_is, x, y_is, y, w_is, weight, bias, factor, running_mean, running_var, eps,
                                          saved_mean, saved_scale):
        weight, bias = (self.view(w_is, address).reshape(-1) for address in (weight, bias))
        value, mean, var = self.reference.norm.batch_forward(self.view(x_is, x), weight, bias, eps)
        self.write(self.view(y_is, y), alpha, value, beta)
        self.view(w_is, saved_mean)[...] = mean.reshape(1, -1, 1, 1)
        self.view(w_is, saved_scale)[...] = 1 / np.sqrt(var + eps).reshape(1, -1, 1, 1)

    def BatchNormalizationBackward(self, handle, mode, alpha, beta, alpha_p, beta_p, x_is, x, dy_is, dy, dx_is, dx, w_is, weight, dweight, dbias, eps, mean, scale):
        x, dy = self.view(x_is, x), self.view(dy_is, dy)
        weight, mean, scale = (self.view(w_is, address).reshape(-1) for address in (weight, mean, scale))
        found = self.reference.norm.batch_backward(dy, x, weight, mean.astype(float), 1 / scale.astype(float)**2 - eps, eps)
        self.write(self.view(dx_is, dx), alpha, found[0], beta)
        for address, value in ((dweight, found[1]), (dbias, found[2])):
            self.write(self.view(w_is, address), alpha_p, value.reshape(1, -1, 1, 1), beta_p)

    def ActivationForward(self, handle, how, alpha, x_is, x, beta, y_is, y):
        assert self.objects[how].SetActivationDescriptor[0] == 1
        self.write(self.view(y_is, y), alpha, np.maximum(self.view(x_is, x), 0), beta)

    def ActivationBackward(self, handle, how, alpha, y_is, y, dy_is, dy, x_is, x, beta, dx_is, dx):
        self.write(self.view(dx_is, dx), alpha, np.where(self.view(y_is, y) > 0, self.view(dy_is, dy), 0), beta)

    def DropoutGetStatesSize(self, handle, size):
        ctypes.c_size_t.from_address(size).value = 64

    def DropoutGetReserveSpaceSize(self, x_is, size):
        _, _, N, C, H, W = self.objects[x_is].SetTensor4dDescriptor
        ctypes.c_size_t.from_address(size).value = N * C * H * W

    def dropped(self, how, x_is, x, y_is, y, reserve, nbytes):
        _, rate, _, nbytes_of_states, _ = self.objects[how].SetDropoutDescriptor
        assert nbytes_of_states == 64 and nbytes == self.view(x_is, x).size
        self.view(y_is, y)[...] = self.view(x_is, x) / (1 - rate) * (np.arange(nbytes).reshape(self.view(x_is, x).shape) % 2)

    def DropoutForward(self, handle, *arguments):
        self.dropped(*arguments)

    def DropoutBackward(self, handle, *arguments):
        self.dropped(*arguments)
