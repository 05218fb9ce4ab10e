"""What recording costs: forward plus backward of operations so small that only the engine's own work counts, beside PyTorch's.

    python benchmarks/op_overhead.py

Both run on one thread, alternating; CPU time of this thread, so that a busy machine disturbs little; medians over the rounds.
"""
import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

import tinycnn


def chain(module, x, w, length=500):
    """y <- y * x - x, on numbers: nothing but overhead."""
    x = y = x.mean().detach().requires_grad_()
    for _ in range(length):
        y = y * x - x
    y.backward()
    return 2 * length


def mixed(module, x, w, length=150):
    """A matrix product, tanh, broadcasting, reductions, on 4 x 4 matrices."""
    for _ in range(length):
        h = (x @ w).tanh()
        h = (h + x).sum(0)
        (h * h).mean().backward()
    return 6 * length


def microseconds(case, module):
    """CPU time per operation, forward and backward together."""
    x, w = module.ones((4, 4), requires_grad=True), module.ones((4, 4), requires_grad=True)
    start = time.thread_time()
    operations = case(module, x, w)
    return (time.thread_time() - start) / operations * 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    tinycnn.set_num_threads(1)
    results = {}
    for case in (chain, mixed):
        pairs = np.array([[microseconds(case, tinycnn), microseconds(case, torch)] for _ in range(rounds + 1)][1:])  # the first round warms up
        ours, theirs = np.median(pairs, 0)
        low, middle, high = np.quantile(pairs[:, 0] / pairs[:, 1], [0.25, 0.5, 0.75])
        results[case.__name__] = {"tinycnn_us": ours, "torch_us": theirs, "ratio": middle, "ratio_quartiles": [low, high]}
        print(f"{case.__name__:8} tinycnn {ours:6.2f} us, PyTorch {theirs:6.2f} us per operation, forward and backward: ratio {middle:.2f} ({low:.2f} to {high:.2f})")
    results["versions"] = {"torch": torch.__version__, "numpy": np.__version__}
    path = Path(__file__).parent / "results" / "op_overhead.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
