"""cuDNN's classic interface, called through ctypes: libcudnn.so.9, as the wheels nvidia-cudnn-cu13 and nvidia-cudnn-cu12 have it, or PyTorch, or the system.

CuPy no longer brings cuDNN along, and this interface, though NVIDIA calls it deprecated, is all there for pooling, LRN, softmax, BatchNorm, activation and dropout,
and lets each convolution algorithm be called by its number. A wrong type of an argument would not be an error but a wrong number, so every function is declared
here, and a test compares the declarations, the numbers of constants and the version that they are from with cuDNN's own headers, where those are installed.

    cudnn = Cudnn()                                       loads it; OSError says what is missing
    x = cudnn.tensor((N, C, H, W), NHWC)                  a descriptor, destroyed with the Python object
    cudnn.call("ActivationForward", relu, ONE, x, pointer, ZERO, y, pointer)     the handle comes first by itself; CudnnError names function and status
"""
import ctypes
from ctypes import byref, c_double, c_float, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from importlib.util import find_spec
from pathlib import Path

# The types of arguments, one letter each: p pointer (descriptor, handle, array, address of a number), i int or enum, u unsigned, n size_t, f float, d double, L 64 bits.
LETTERS = {"p": c_void_p, "i": c_int, "u": c_uint, "n": c_size_t, "f": c_float, "d": c_double, "L": c_ulonglong}

FUNCTIONS = {  # without "cudnn" in front; those with a handle have it first
    "Create": "p", "Destroy": "p", "SetStream": "pp",
    "SetTensor4dDescriptor": "piiiiii",  # descriptor, format, type, n c h w
    "SetFilter4dDescriptor": "piiiiii",  # descriptor, type, format, k c h w: the other way round
    "SetConvolution2dDescriptor": "piiiiiiii",  # descriptor, padding h w, stride h w, dilation h w, mode, type
    "SetConvolutionMathType": "pi", "SetConvolutionGroupCount": "pi",
    "GetConvolutionForwardWorkspaceSize": "pppppip",  # handle, x, w, convolution, y, algorithm, size
    "GetConvolutionBackwardDataWorkspaceSize": "pppppip",  # handle, w, dy, convolution, dx, algorithm, size
    "GetConvolutionBackwardFilterWorkspaceSize": "pppppip",  # handle, x, dy, convolution, dw, algorithm, size
    "ConvolutionForward": "pppppppipnppp",  # handle, alpha, x x, w w, convolution, algorithm, workspace and size, beta, y y
    "ConvolutionBackwardData": "pppppppipnppp",  # handle, alpha, w w, dy dy, convolution, algorithm, workspace and size, beta, dx dx
    "ConvolutionBackwardFilter": "pppppppipnppp",  # handle, alpha, x x, dy dy, convolution, algorithm, workspace and size, beta, dw dw
    "ConvolutionBiasActivationForward": "pppppppipnpppppppp",  # handle, alpha1, x x, w w, convolution, algorithm, workspace, alpha2, z z, bias bias, activation, y y
    "ConvolutionBackwardBias": "ppppppp",  # handle, alpha, dy dy, beta, db db
    "AddTensor": "ppppppp",  # handle, alpha, a a, beta, c c
    "SetPooling2dDescriptor": "piiiiiiii",  # descriptor, mode, NaN, window h w, padding h w, stride h w
    "PoolingForward": "pppppppp",  # handle, pooling, alpha, x x, beta, y y
    "PoolingBackward": "pppppppppppp",  # handle, pooling, alpha, y y, dy dy, x x, beta, dx dx
    "SetLRNDescriptor": "puddd",  # descriptor, n, alpha, beta, k
    "LRNCrossChannelForward": "ppipppppp",  # handle, lrn, mode, alpha, x x, beta, y y
    "LRNCrossChannelBackward": "ppipppppppppp",  # handle, lrn, mode, alpha, y y, dy dy, x x, beta, dx dx
    "SoftmaxForward": "piipppppp",  # handle, algorithm, mode, alpha, x x, beta, y y
    "SoftmaxBackward": "piipppppppp",  # handle, algorithm, mode, alpha, y y, dy dy, beta, dx dx
    "DeriveBNTensorDescriptor": "ppi",
    "BatchNormalizationForwardInference": "pipppppppppppd",  # handle, mode, alpha, beta, x x, y y, parameters' descriptor, scale, bias, mean, variance, epsilon
    "BatchNormalizationForwardTraining": "pipppppppppdppdpp",  # ... descriptor, scale, bias, factor, running mean and variance, epsilon, saved mean and 1 / deviation
    "BatchNormalizationBackward": "pippppppppppppppdpp",  # handle, mode, alpha beta (of x), alpha beta (of weights), x x, dy dy, dx dx, descriptor, scale, ...
    "SetActivationDescriptor": "piid",  # descriptor, mode, NaN, coefficient
    "ActivationForward": "pppppppp",  # handle, activation, alpha, x x, beta, y y
    "ActivationBackward": "pppppppppppp",  # handle, activation, alpha, y y, dy dy, x x, beta, dx dx
    "SetDropoutDescriptor": "ppfpnL",  # descriptor, handle, rate, states and size, seed
    "DropoutGetStatesSize": "pp", "DropoutGetReserveSpaceSize": "pp",
    "DropoutForward": "pppppppn",  # handle, dropout, x x, y y, reserve and size
    "DropoutBackward": "pppppppn",  # handle, dropout, dy dy, dx dx, reserve and size
    **{f"{what}{kind}Descriptor": "p" for what in ("Create", "Destroy") for kind in ("Tensor", "Filter", "Convolution", "Pooling", "LRN", "Activation", "Dropout")},
}
WITHOUT_HANDLE = ("Create", "Set", "Destroy", "Derive", "DropoutGetReserveSpaceSize")  # how functions begin that do not take it first

CONSTANTS = {  # enum values by their names in cuDNN's headers, without "CUDNN_"
    "TENSOR_NCHW": 0, "TENSOR_NHWC": 1, "DATA_FLOAT": 0, "DEFAULT_MATH": 0, "FMA_MATH": 3, "CROSS_CORRELATION": 1, "PROPAGATE_NAN": 1,
    "POOLING_MAX": 0, "POOLING_AVERAGE_COUNT_INCLUDE_PADDING": 1, "POOLING_AVERAGE_COUNT_EXCLUDE_PADDING": 2, "LRN_CROSS_CHANNEL_DIM1": 0,
    "SOFTMAX_ACCURATE": 1, "SOFTMAX_MODE_CHANNEL": 1, "BATCHNORM_SPATIAL": 1, "ACTIVATION_RELU": 1, "ACTIVATION_IDENTITY": 5,
}
ALGORITHMS = {  # form: its algorithms; a number is a place in the list
    "forward": ("IMPLICIT_GEMM", "IMPLICIT_PRECOMP_GEMM", "GEMM", "DIRECT", "FFT", "FFT_TILING", "WINOGRAD", "WINOGRAD_NONFUSED"),
    "input_grad": ("0", "1", "FFT", "FFT_TILING", "WINOGRAD", "WINOGRAD_NONFUSED"),
    "weight_grad": ("0", "1", "FFT", "3", "WINOGRAD", "WINOGRAD_NONFUSED", "FFT_TILING"),
}
NCHW, NHWC = CONSTANTS["TENSOR_NCHW"], CONSTANTS["TENSOR_NHWC"]
_one, _zero = c_float(1), c_float(0)
ONE, ZERO = byref(_one), byref(_zero)  # alpha and beta: numbers in the memory of the computer, float for float arrays


class CudnnError(RuntimeError):
    """What cuDNN said, with its number."""

    def __init__(self, function, status, name):
        super().__init__(f"cudnn{function}: {name} ({status})")


def find():
    """The path of libcudnn.so.9 among the installed wheels, or its bare name for the system's search. Libraries that it needs are loaded first, if wheels have them."""
    spec = find_spec("nvidia")
    folders = [Path(folder) for folder in (spec.submodule_search_locations if spec else ())]
    for pattern in ("*/lib/libcublasLt.so.*", "*/lib/libcublas.so.*", "*/lib/libnvrtc.so.*"):
        for path in sorted(path for folder in folders for path in folder.glob(pattern)):
            try:
                ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
                break
            except OSError:  # of another version of CUDA: cuDNN will say what it misses
                continue
    return next((str(path) for folder in folders for path in folder.glob("cudnn/lib/libcudnn.so.9")), "libcudnn.so.9")


class Cudnn:
    """The library, with a handle on the current device. library: in place of libcudnn, for tests. stream: address of the CUDA stream that it works in."""

    def __init__(self, library=None, stream=0):
        self.library = library or ctypes.CDLL(find(), mode=ctypes.RTLD_GLOBAL)
        declare(self.library)
        self.handle = c_void_p()
        self.call("Create", byref(self.handle))
        self.call("SetStream", self.handle, c_void_p(stream))

    @property
    def version(self):
        """9.28.0 for 92800"""
        number = self.library.cudnnGetVersion()
        return f"{number // 10000}.{number // 100 % 100}.{number % 100}"

    def call(self, function, *arguments):
        """Call cudnn<function>, with the handle in front where it takes one. Raises CudnnError."""
        if not function.startswith(WITHOUT_HANDLE):
            arguments = (self.handle, *arguments)
        if len(arguments) != len(FUNCTIONS[function]):
            raise TypeError(f"cudnn{function} takes {len(FUNCTIONS[function])} arguments, {len(arguments)} were given")
        status = getattr(self.library, f"cudnn{function}")(*(getattr(argument, "address", argument) for argument in arguments))
        if status:
            raise CudnnError(function, status, self.library.cudnnGetErrorString(status).decode())

    def size(self, function, *arguments):
        """What a function says through its last argument, a size_t."""
        size = c_size_t()
        self.call(function, *arguments, byref(size))
        return size.value

    # ---- descriptors

    def tensor(self, shape, layout=NCHW):
        return Descriptor(self, "Tensor", "SetTensor4dDescriptor", layout, CONSTANTS["DATA_FLOAT"], *shape)

    def filter(self, shape, layout=NCHW):
        return Descriptor(self, "Filter", "SetFilter4dDescriptor", CONSTANTS["DATA_FLOAT"], layout, *shape)

    def convolution(self, geometry, math):
        """math: "fp32", in which nothing is rounded on the way in, or "tf32", which allows tensor cores."""
        descriptor = Descriptor(self, "Convolution", "SetConvolution2dDescriptor", *geometry.padding, *geometry.stride, *geometry.dilation,
                                CONSTANTS["CROSS_CORRELATION"], CONSTANTS["DATA_FLOAT"])
        self.call("SetConvolutionMathType", descriptor, CONSTANTS["FMA_MATH" if math == "fp32" else "DEFAULT_MATH"])
        self.call("SetConvolutionGroupCount", descriptor, geometry.groups)
        return descriptor

    def pooling(self, mode, size, padding, stride):
        return Descriptor(self, "Pooling", "SetPooling2dDescriptor", CONSTANTS[mode], CONSTANTS["PROPAGATE_NAN"], *size, *padding, *stride)

    def lrn(self, size, alpha, beta, k):
        """alpha as in AlexNet's paper; cuDNN divides its own by the size."""
        return Descriptor(self, "LRN", "SetLRNDescriptor", size, alpha * size, beta, k)

    def activation(self, mode):
        return Descriptor(self, "Activation", "SetActivationDescriptor", CONSTANTS[mode], CONSTANTS["PROPAGATE_NAN"], 0.0)

    def batch_norm_parameters(self, x):
        return Descriptor(self, "Tensor", "DeriveBNTensorDescriptor", x, CONSTANTS["BATCHNORM_SPATIAL"])

    def dropout(self, rate, states, nbytes, seed=0):
        """states: address of DropoutGetStatesSize bytes on the device."""
        return Descriptor(self, "Dropout", "SetDropoutDescriptor", self.handle, rate, states, nbytes, seed)


class Descriptor:
    """One of cuDNN's descriptors, set by `function`."""

    def __init__(self, cudnn, kind, function, *arguments):
        self.cudnn, self.kind, self.address = cudnn, kind, c_void_p()
        cudnn.call(f"Create{kind}Descriptor", byref(self.address))
        cudnn.call(function, self, *arguments)

    def __del__(self):
        if self.address:
            getattr(self.cudnn.library, f"cudnnDestroy{self.kind}Descriptor")(self.address)


def declare(library):
    """Tell ctypes the types."""
    for name, letters in FUNCTIONS.items():
        function = getattr(library, f"cudnn{name}")
        function.argtypes, function.restype = [LETTERS[letter] for letter in letters], c_int
    library.cudnnGetErrorString.argtypes, library.cudnnGetErrorString.restype = [c_int], ctypes.c_char_p
    library.cudnnGetVersion.argtypes, library.cudnnGetVersion.restype = [], c_size_t
