"""Writes optim_kernels.npz: the parameter after each step of PyTorch's optimisers, for tests/kernels/test_optim_kernels.py. Needs torch."""
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "kernels"))
from test_optim_kernels import CASES, VECTORS, draw


def steps(case):
    name, options = CASES[case]
    param, *grads = draw((5, 3))
    param = torch.nn.Parameter(torch.tensor(param))
    optimiser = getattr(torch.optim, name)([param], lr=0.1, **({"weight_decay": 0.0} | options))
    for grad in grads:
        param.grad = torch.tensor(grad)
        optimiser.step()
        yield param.detach().numpy().copy()


if __name__ == "__main__":
    np.savez_compressed(VECTORS, **{case: np.stack(list(steps(case))) for case in CASES})
