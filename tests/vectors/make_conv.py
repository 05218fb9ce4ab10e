"""Writes conv.npz: PyTorch's convolution, its gradients, unfold and fold, for tests/kernels/conv_cases.py. Needs torch: python tests/vectors/make_conv.py"""
import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1] / "kernels"))
from conv_cases import CASES, count_up, draw


def convolution(case):
    """PyTorch's (y, dx, dw) as arrays."""
    x, w, bias, dy, geometry = draw(case)
    x, w = (torch.tensor(array, requires_grad=True) for array in (x, w))
    y = F.conv2d(x, w, torch.tensor(bias), *geometry)
    return [tensor.detach().numpy() for tensor in (y, *torch.autograd.grad(y, (x, w), torch.tensor(dy)))]


def unfolding(case):
    """PyTorch's (unfolded image, the same folded again) as arrays of whole numbers. It refuses empty batches."""
    _, w_shape, geometry = CASES[case]
    x = torch.tensor(count_up(case))
    window = dict(kernel_size=w_shape[2:], stride=geometry.stride, padding=geometry.padding, dilation=geometry.dilation)
    columns = F.unfold(x, **window)
    return columns.numpy().astype(np.int16), F.fold(columns, x.shape[2:], **window).numpy().astype(np.int32)


if __name__ == "__main__":
    arrays = {}
    for case in CASES:
        arrays.update({f"{case} / {name}": array for name, array in zip(("y", "dx", "dw"), convolution(case))})
        if count_up(case).size:
            arrays.update({f"{case} / {name}": array for name, array in zip(("columns", "folded"), unfolding(case))})
    np.savez_compressed(Path(__file__).with_name("conv.npz"), **arrays)
