"""tinycnn: a convolutional-network engine from scratch, to be read.

    tensor.py, autograd/    a tensor that remembers how it was computed, and the backward pass
    ops/                    the differentiable operations, forward and backward side by side
    kernels                 what computes them (in the repository: kernels/)
    nn/, optim/, models/    layers, optimisers, the networks of the papers
    data/, train/, tools/   images, the training loop, summaries
    distributed/            several processes that share the images, or the network
    checker/, museum/       gradient checks that explain themselves, and a museum of wrong gradients
    inference/              `fuse`: trained networks in the form in which they answer fastest
    pages/                  `explain`: pages on which an operation can be seen
    bench/, lecture/        measurements beside other libraries; the claims of a lecture, tried out
    cli/                    the command `tinycnn`
"""
from importlib import import_module

from . import autograd, ops
from .autograd import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from .device import device, use_kernels
from .ops.activation import relu, relu_
from .ops.arithmetic import (
    abs,
    add,
    ceil,
    clamp,
    cos,
    div,
    eq,
    exp,
    floor,
    floor_divide,
    ge,
    gt,
    isfinite,
    isinf,
    isnan,
    le,
    log,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    maximum,
    minimum,
    mul,
    ne,
    neg,
    pow,
    remainder,
    round,
    rsqrt,
    sigmoid,
    sign,
    sin,
    sqrt,
    square,
    sub,
    tanh,
    where,
)
from .ops.index import gather, index_select, masked_fill
from .ops.matmul import matmul
from .ops.reduce import all, amax, amin, any, argmax, argmin, max, mean, min, norm, prod, std, sum, var
from .ops.shape import broadcast_to, cat, chunk, flatten, flip, narrow, permute, reshape, split, squeeze, stack, t, transpose, unbind, unsqueeze
from .ops.softmax import log_softmax, softmax
from .random import get_rng_state, initial_seed, manual_seed, rand, rand_like, randint, randn, randn_like, randperm, set_rng_state
from .tensor import (
    Tensor,
    arange,
    as_tensor,
    bool_,
    channels_last,
    contiguous_format,
    empty,
    empty_like,
    eye,
    float16,
    float32,
    float64,
    from_dlpack,
    from_numpy,
    full,
    full_like,
    int8,
    int16,
    int32,
    int64,
    linspace,
    ones,
    ones_like,
    preserve_format,
    tensor,
    uint8,
    zeros,
    zeros_like,
)

__version__ = "0.1.0"

bool = bool_
half, float, double, int, long = float16, float32, float64, int32, int64
# What is imported when first used: packages, and functions with the module that they are in.
LATER = ("bench", "checker", "cli", "cuda", "data", "distributed", "inference", "lecture", "models", "museum", "nn", "optim", "pages", "tools", "train")
FUNCTIONS = {"summary": "tools", "gradcheck": "checker", "explain": "pages", "fuse": "inference", "save": "train.weights", "load": "train.weights"}


def __getattr__(name):
    if name in LATER:
        return import_module(f"{__name__}.{name}")
    if name in FUNCTIONS:
        return getattr(import_module(f"{__name__}.{FUNCTIONS[name]}"), name)
    raise AttributeError(f"module 'tinycnn' has no attribute {name!r}")


def set_num_threads(n):
    """Run kernels on n threads; the results are the same for every n."""
    from .kernels.runtime import set_num_threads
    set_num_threads(n)


def get_num_threads():
    """The number of threads that kernels run on."""
    from .kernels.runtime import get_num_threads
    return get_num_threads()


def set_autotune(on):
    """Let measurements choose the algorithms of convolutions, or with False the model of their cost again.

    Faster where the model errs; but then the choice, and with it the last bits of results, depends on the machine. Off unless TINYCNN_AUTOTUNE=1 is set. Each
    problem is tried once; what was found is kept in the cache folder.
    """
    from .kernels.conv.autotune import set_autotune
    set_autotune(on)


def is_tensor(value):
    return isinstance(value, Tensor)
