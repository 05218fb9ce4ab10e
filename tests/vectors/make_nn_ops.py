"""Writes nn_ops.npz: PyTorch's values, first and second derivatives of the expressions in tests/engine/nn_cases.py. Needs torch: python tests/vectors/make_nn_ops.py"""
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))
from nn_cases import CASES, derivatives, flat

if __name__ == "__main__":
    arrays = {case: flat(derivatives(torch, case, lambda array: torch.tensor(array, requires_grad=True))) for case in CASES}
    np.savez_compressed(Path(__file__).with_name("nn_ops.npz"), **arrays)
