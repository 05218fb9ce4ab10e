"""The table of basic operations that the checker uses too, and what the tests compare for each: the same expression in tinycnn and in PyTorch."""
import numpy as np

from tinycnn.checker.cases import draw
from tinycnn.checker.cases.operations import CASES


def inputs(case, dtype=np.float64):
    return draw.arrays(case, CASES[case][1:], dtype)


def value_and_gradients(module, case, make):
    """(y, gradients of <y, cos(0, 1, 2, ...)> for each input) as arrays. make: array -> leaf tensor of the module."""
    tensors = [make(array) for array in inputs(case)]
    y = CASES[case][0](module, *tensors)
    start = make(np.cos(np.arange(y.numel(), dtype=np.float64)).reshape(tuple(y.shape))).detach()
    gradients = module.autograd.grad(y, tensors, start)
    return np.asarray(y.detach().cpu().numpy()), [np.asarray(g.cpu().numpy()) for g in gradients]
