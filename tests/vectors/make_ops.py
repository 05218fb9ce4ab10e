"""Writes ops.npz: PyTorch's values and gradients of the expressions in tests/engine/op_cases.py. Needs torch: python tests/vectors/make_ops.py"""
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))
from op_cases import CASES, value_and_gradients

if __name__ == "__main__":
    arrays = {}
    for case in CASES:
        y, gradients = value_and_gradients(torch, case, lambda array: torch.tensor(array, requires_grad=True))
        arrays[case] = y
        arrays.update({f"{case} / {i}": g for i, g in enumerate(gradients)})
    np.savez_compressed(Path(__file__).with_name("ops.npz"), **arrays)
