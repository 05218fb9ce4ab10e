"""PyTorch on a GPU: a second opinion, with cuDNN chosen and called by somebody else. Its own timing of cuDNN's algorithms is on; TF32 only where asked for."""
from contextlib import contextmanager

import torch

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


CONTESTANT = PyTorchOnGpu
