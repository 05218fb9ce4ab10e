"""Writes matmul.npz: PyTorch's linear, for tests/kernels/test_matmul.py. Needs torch: python tests/vectors/make_matmul.py"""
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import linear

rng = np.random.default_rng(0)
x, w, bias = (rng.standard_normal(shape) for shape in ((2, 3, 5), (4, 5), 4))
tensors = [torch.tensor(array) for array in (x, w, bias)]
np.savez_compressed(Path(__file__).with_name("matmul.npz"), **{"x": x, "w": w, "bias": bias, "linear": linear(*tensors), "without bias": linear(*tensors[:2])})
