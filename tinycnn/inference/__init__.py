"""Networks as they run when nothing is trained any more.

    fused.py        Fused: a module made from another one, with the same results
    plan.py         what it does for images of one shape: a list of functions and their arguments
    rewrite.py      fewer steps with the same result: BatchNorm, ReLU and additions into the convolution before them
    memory.py       where results lie: concatenations in place, buffers that serve again and again
    steps.py        what a step runs
    captured.py     all of it as one call
"""
from .fused import Fused, fuse

__all__ = ["Fused", "fuse"]
