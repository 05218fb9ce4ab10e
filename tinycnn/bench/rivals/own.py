"""A kernel that somebody brings: a Python file with functions on NumPy arrays.

    def forward(x, w, bias, stride, padding, dilation, groups): ...            y (N, K, P, Q) from x (N, C, H, W), w (K, C/groups, R, S), bias (K,) or None
    def input_grad(dy, w, x_shape, stride, padding, dilation, groups): ...     dx, optional
    def weight_grad(dy, x, w_shape, stride, padding, dilation, groups): ...    dw, optional

Arrays are float32 and C-contiguous, stride, padding and dilation (vertical, horizontal) pairs. What a kernel does not do, it says by raising NotImplementedError.
While it runs, NumPy's BLAS and Numba have as many threads as everybody else; if the file defines set_num_threads(n), that is called too, for other libraries.
"""
from contextlib import contextmanager
from pathlib import Path

from threadpoolctl import ThreadpoolController

from ... import get_num_threads, set_num_threads
from ...tools import own_file
from ..layers import FORMS
from .base import Contestant


class OwnKernel(Contestant):
    levels = ("conv",)

    def __init__(self, path, threads):
        super().__init__("default", threads)
        self.path = Path(path)
        self.module = own_file.load(self.path)
        self.library, self.pools = self.path.stem, ThreadpoolController()
        self.forms = [form for form in FORMS if callable(getattr(self.module, form, None))]
        if "forward" not in self.forms:
            raise ValueError(f"{path}: defines no forward(x, w, bias, stride, padding, dilation, groups)")

    @property
    def name(self):
        return self.library

    def details(self):
        return {"file": str(self.path), "threads": self.threads, "forms": self.forms}

    @contextmanager
    def running(self):
        before = get_num_threads()
        set_num_threads(self.threads)
        if hasattr(self.module, "set_num_threads"):
            self.module.set_num_threads(self.threads)
        try:
            with self.pools.limit(limits=self.threads, user_api="blas"):
                yield
        finally:
            set_num_threads(before)

    def conv(self, layer, x, w, bias, dy):
        module, how = self.module, tuple(layer.geometry)
        functions = {"forward": lambda: module.forward(x, w, bias, *how),
                     "input_grad": lambda: module.input_grad(dy, w, layer.x_shape, *how),
                     "weight_grad": lambda: module.weight_grad(dy, x, layer.w_shape, *how)}
        return {form: functions[form] for form in self.forms}
