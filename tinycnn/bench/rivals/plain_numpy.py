"""Plain NumPy: convolution as R*S shifted matrix products (truth.py), with BLAS on as many threads as everybody else."""
from contextlib import contextmanager

from threadpoolctl import ThreadpoolController

from .. import truth
from .base import Contestant


class PlainNumpy(Contestant):
    library, package, levels = "numpy", "numpy", ("conv",)
    settings = {"default": "R*S shifted products by BLAS, image by image"}

    def __init__(self, *how):
        super().__init__(*how)
        self.pools = ThreadpoolController()

    @contextmanager
    def running(self):
        with self.pools.limit(limits=self.threads, user_api="blas"):
            yield

    def conv(self, layer, x, w, bias, dy):
        return {"forward": lambda: truth.forward(x, w, bias, layer), "input_grad": lambda: truth.input_grad(dy, w, layer),
                "weight_grad": lambda: truth.weight_grad(dy, x, layer)}


CONTESTANT = PlainNumpy
