"""Many kernels as one call: lists of calls on the CPU. (On a GPU they are CUDA graphs: kernels/cuda/graph.py.)"""
import os


def is_wanted(by_default):
    """Whether kernels are captured: TINYCNN_GRAPH=1 or 0."""
    choice = os.environ.get("TINYCNN_GRAPH") or ("1" if by_default else "0")
    if choice not in ("0", "1"):
        raise ValueError(f"TINYCNN_GRAPH is {choice!r}; it can be 0 or 1")
    return choice == "1"
