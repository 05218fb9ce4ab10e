"""PyTorch on a GPU: a second opinion, with cuDNN chosen and called by somebody else. Its own timing of cuDNN's algorithms is on; TF32 only where asked for."""
from contextlib import contextmanager
from itertools import cycle

import torch

from ..gpu import copies, in_turn
from .pytorch import PyTorch


class PyTorchOnGpu(PyTorch):
    def __init__(self, *how):
        super().__init__(*how)
        if not torch.cuda.is_available():
            raise RuntimeError(f"PyTorch {torch.__version__} finds no GPU")

    def details(self):
        return {**super().details(), "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(), "math": self.place.math}

    @contextmanager
    def running(self):
        """With the precision and the search of algorithms that are asked for, and nobody's work queued before or after."""
        flags = ((torch.backends.cudnn, "allow_tf32", self.place.math == "tf32"), (torch.backends.cuda.matmul, "allow_tf32", self.place.math == "tf32"),
                 (torch.backends.cudnn, "benchmark", True))
        before = [getattr(owner, name) for owner, name, _ in flags]
        torch.cuda.synchronize()
        try:
            for owner, name, value in flags:
                setattr(owner, name, value)
            yield
        finally:
            torch.cuda.synchronize()
            for (owner, name, _), value in zip(flags, before):
                setattr(owner, name, value)

    # What is measured by itself gets other copies of its inputs each time (gpu.py), as everybody's does.

    def conv(self, layer, x, w, bias, dy):
        several = [super(PyTorchOnGpu, self).conv(layer, x, w, bias, dy) for _ in range(copies((x, w, dy), self.place.cold))]
        return {form: in_order([functions[form] for functions in several]) for form in several[0]}

    def inference(self, model, graph, x):
        if len(graph.nodes) > 1 or self.setting == "compiled":  # a network, whose weights and results are larger than any cache; and nobody compiles a layer many times
            return super().inference(model, graph, x)
        return in_turn(lambda: super(PyTorchOnGpu, self).inference(model, graph, x), (x,), self.place.cold)

    def layer(self, model, graph, x, dy):
        return in_turn(lambda: super(PyTorchOnGpu, self).layer(model, graph, x, dy), (x, dy), self.place.cold)


def in_order(functions):
    """A function that calls these in turn."""
    following = cycle(functions).__next__
    return lambda: following()()


CONTESTANT = PyTorchOnGpu
