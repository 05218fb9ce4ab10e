"""Writes NAME.npz for each kernel below: PyTorch's answers to the cases of tests/kernels/test_NAME.py. Needs torch: python tests/vectors/make_kernel_vectors.py"""
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "kernels")]

if __name__ == "__main__":
    for name in sys.argv[1:] or ("pool", "lrn", "norm", "activation", "softmax", "cross_entropy"):
        test = import_module(f"test_{name}")
        answers = {f"{case} / {key}": array for case in test.CASES for key, array in test.pytorch(torch, case).items()}
        np.savez_compressed(Path(__file__).with_name(f"{name}.npz"), **answers)
