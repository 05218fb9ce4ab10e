"""Matrix products, and operations that memory is the bound of, one at a time.

What an operation is stands once, in OPERATIONS: how to call it on a kernel table. On the references in float64 that is the answer to compare with, on the device's table
it is our contestant. Optimisers change what they are given, and are measured where that changes nothing: the learning rate is 0, which saves no work, and their running
means are where they stay (momentum 0.9: ten times the gradient), so that the answer is the same after any number of steps.
"""
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from ..kernels import backend
from ..names import nearest
from . import truth
from .networks import measure_task, reason
from .results import Row
from .rivals import Place
from .validate import allowed, error

DECAY, MOMENTUM, BETAS, EPS, STEP = 5e-4, 0.9, (0.9, 0.999), 1e-8, 100


class Operation(NamedTuple):
    """sizes: what is measured if nobody says otherwise.  draw(rng, *size): its arrays, float32 (and int64).  compute(kernels, *arrays): a tuple of results.
    moved(*size): numbers read and written, each once.  flops, length(*size): of everything, and terms in a sum."""

    axes: str
    sizes: tuple
    draw: Any
    compute: Any
    moved: Any
    flops: Any = lambda *size: 0
    length: Any = lambda *size: 1


def normal(*shapes):
    return lambda rng, *size: tuple(rng.standard_normal(tuple(size[i] for i in shape), np.float32) for shape in shapes)


def probabilities(rng, N, C):
    """dy and a softmax y."""
    dy, x = rng.standard_normal((2, N, C), np.float32)
    e = np.exp(x)
    return dy, e / e.sum(1, keepdims=True)


def scores(rng, N, C):
    """Scores, class numbers, and the gradient of a mean loss."""
    return rng.standard_normal((N, C), np.float32), rng.integers(0, C, N), np.full(N, 1 / N, np.float32)


def rectified(rng, n):
    """dy and a ReLU's y."""
    dy, x = rng.standard_normal((2, n), np.float32)
    return dy, np.maximum(x, 0)


def momentum(rng, n):
    """param, grad and buffer of SGD."""
    param, grad = rng.standard_normal((2, n), np.float32)
    return param, grad, (grad + np.float32(DECAY) * param) / np.float32(1 - MOMENTUM)


def moments(rng, n):
    """param, grad and the two running means of Adam."""
    param, grad = rng.standard_normal((2, n), np.float32)
    return param, grad, grad.copy(), grad * grad


def cross_entropy(kernels, logits, target, dlosses):
    losses, log_probs = kernels.cross_entropy.forward(logits, target, None, -100, 0.0)
    return losses, kernels.cross_entropy.backward(dlosses, log_probs, target, None, -100, 0.0)


def sgd(kernels, param, grad, buffer):
    kernels.optim.sgd_([param], [grad], [buffer], 0.0, MOMENTUM, 0.0, DECAY, False, False)
    return param, buffer


def adam(kernels, param, grad, m, v):
    kernels.optim.adam_([param], [grad], [m], [v], None, 0.0, *BETAS, EPS, 0.0, False, STEP)
    return param, m, v


PRODUCTS = ((512, 512, 512), (2048, 2048, 2048), (64, 1000, 2048), (128, 4096, 9216))  # the last two: the classifiers of ResNet-50 and AlexNet
ROWS = ((128, 1000), (8192, 1000))  # a batch of ImageNet; many
MAP, WEIGHTS = ((12_845_056,),), ((25_557_032,),)  # 64 images of 64x56x56; the parameters of ResNet-50
OPERATIONS = {
    #                             axes     sizes
    "matmul": Operation("MxNxK", PRODUCTS, normal((0, 2), (2, 1)), lambda kernels, a, b: (kernels.matmul.matmul(a, b),), lambda M, N, K: M * K + K * N + M * N,
                        lambda M, N, K: 2 * M * N * K, lambda M, N, K: K),
    "softmax": Operation("NxC", ROWS, normal((0, 1)), lambda kernels, x: (kernels.softmax.softmax(x, 1),), lambda N, C: 2 * N * C),
    "softmax_backward": Operation("NxC", ROWS, probabilities, lambda kernels, dy, y: (kernels.softmax.softmax_backward(dy, y, 1),), lambda N, C: 3 * N * C),
    "cross_entropy": Operation("NxC", ROWS, scores, cross_entropy, lambda N, C: 2 * N * C),  # the losses and the gradient of the scores
    "relu": Operation("N", MAP, normal((0,)), lambda kernels, x: (kernels.activation.relu(x),), lambda n: 2 * n),
    "relu_backward": Operation("N", MAP, rectified, lambda kernels, dy, y: (kernels.activation.relu_backward(dy, y),), lambda n: 3 * n),
    "add": Operation("N", MAP, normal((0,), (0,)), lambda kernels, a, b: (kernels.elementwise.add(a, b),), lambda n: 3 * n),
    "sgd": Operation("N", WEIGHTS, momentum, sgd, lambda n: 5 * n),
    "adam": Operation("N", WEIGHTS, moments, adam, lambda n: 7 * n),
}


def chosen(texts):
    """[(name, size)] of what somebody asks for: names, or names with a size such as softmax=128x1000; all of them if nothing."""
    found = []
    for text in texts or OPERATIONS:
        name, given, size = text.partition("=")
        if name not in OPERATIONS:
            raise ValueError(f"unknown operation {name!r}{nearest(name, OPERATIONS)} ({', '.join(OPERATIONS)})")
        numbers = [int(number) if number.isdecimal() else 0 for number in size.split("x")]
        axes = OPERATIONS[name].axes
        if given and (len(numbers) != len(axes.split("x")) or 0 in numbers):
            raise ValueError(f"the size of {name} is {size!r}; it must be {axes}, numbers from 1 on, such as {name}={'x'.join(map(str, OPERATIONS[name].sizes[0]))}")
        found += [(name, tuple(numbers))] if given else [(name, size) for size in OPERATIONS[name].sizes]
    return found


def measure_operation(contestants, name, size, results, plan, threads, tell=lambda text: None):
    """Add the rows of one operation of one size."""
    operation, case = OPERATIONS[name], "x".join(map(str, size))
    tell(f"{name} {case}")
    arrays = operation.draw(np.random.default_rng(3), *size)
    place = contestants[0].place if contestants else Place()
    expected, runs = exact(name, arrays, truth.threads_for(place, threads)), {}
    for contestant in contestants:
        try:
            with contestant.running():
                runs[contestant.name] = contestant, contestant.operation(name, arrays)
        except Exception as failure:  # another library's, or Unsupported: it must not stop the others
            results.skipped[f"{contestant.name} on {name} {case}"] = reason(failure)
    row = Row("operation", "operations", case, name, "", "", 1, threads, plan.cache)
    results.rows += measure_task(row, runs, expected, check, allowed(operation.length(*size)), plan, results, operation.flops(*size), 4 * operation.moved(*size))


def exact(name, arrays, threads=None):
    """The results in float64, by the references."""
    arrays = [array.astype(np.float64) if array.dtype == np.float32 else array for array in arrays]
    with ThreadpoolController().limit(limits=threads, user_api="blas") if threads else nullcontext():
        return OPERATIONS[name].compute(backend("reference"), *arrays)


def check(contestant, run, expected):
    """The worst of the results."""
    with contestant.running():
        return max(error(contestant.array(result), answer) for result, answer in zip(run(), expected, strict=True))
