"""tinycnn itself, measured by the rules that hold for everybody."""
from contextlib import contextmanager
from functools import partial
from math import inf

import numpy as np

import tinycnn
from tinycnn import optim
from tinycnn.nn import functional as F

from ...kernels import backend
from ...kernels.conv.algorithms import ALGORITHMS, algorithm_module
from ...kernels.conv.sizes import sizes
from ...kernels.layout import from_nhwc, nhwc
from ...train.captured import CapturedGradients, compute_gradients
from .base import Contestant, TrainingStep, Unsupported


class Ours(Contestant):
    library, package, levels = "tinycnn", "tinycnn", ("conv", "inference", "training")
    settings = {"default": "what a user gets: of single convolutions, what the second layer of a network gets, channels-last images; "
                           "of training, what `tinycnn train` does, forward and backward captured (train/captured.py)",
                "eager": "a step of training kernel by kernel, each called from Python",
                "nchw": "contiguous images, which every convolution has to turn", **{name: f"convolution by the algorithm {name!r}" for name in ALGORITHMS}}

    @classmethod
    def settings_of(cls, level):
        return ("default", "eager") if level == "training" else ("default",)

    @property
    def name(self):
        return "tinycnn" if self.setting == "default" else f"tinycnn {self.setting}"

    @contextmanager
    def running(self):
        before = tinycnn.get_num_threads()
        tinycnn.set_num_threads(self.threads)
        try:
            yield
        finally:
            tinycnn.set_num_threads(before)

    def conv(self, layer, x, w, bias, dy):
        kernels, geometry = backend("cpu").conv, layer.geometry
        how = {"algorithm": self.setting} if self.setting in ALGORITHMS else {}
        if self.setting != "nchw":
            x, dy = (from_nhwc(np.ascontiguousarray(nhwc(array))) for array in (x, dy))
        functions = {"forward": lambda: kernels.forward(x, w, bias, geometry, **how),
                     "input_grad": lambda: kernels.input_grad(dy, w, layer.x_shape, geometry, **how),
                     "weight_grad": lambda: kernels.weight_grad(dy, x, layer.w_shape, geometry, **how)}
        if how:
            n, cost = sizes(layer.x_shape, layer.w_shape, geometry), algorithm_module(self.setting).cost
            functions = {form: function for form, function in functions.items() if cost(form, n, geometry, x.dtype) < inf}
            if not functions:
                raise Unsupported(f"the algorithm {self.setting!r} cannot do this layer")
        return functions

    def ready(self, model):
        """The model as a user makes it ready for inference."""
        return tinycnn.fuse(model.eval())

    def tensor(self, array):
        return tinycnn.from_numpy(array).to(self.place.device)

    def inference(self, model, graph, x):
        model, images = self.ready(model), self.tensor(x)

        def run():
            with tinycnn.no_grad():
                return model(images)
        return run

    def training(self, model, graph, x, target):
        return Step(model.to(self.place.device), self.tensor(x), self.tensor(target), captured=self.setting != "eager")

    def layer(self, model, graph, x, dy):
        model, images, cotangent = model.to(self.place.device).train(), self.tensor(x).requires_grad_(), self.tensor(dy)

        def run():
            images.grad = None
            model.zero_grad()
            model(images).backward(cotangent)
            return images.grad, *(parameter.grad for parameter in model.parameters())
        return run

    def array(self, result):
        return result if isinstance(result, np.ndarray) else result.detach().cpu().numpy()


class Step(TrainingStep):
    """captured: forward and backward are one call (train/captured.py)."""

    def __init__(self, model, x, target, captured=False):
        self.model, self.captured = model.train(), captured
        self.x, self.target = x, target
        self.optimizer = optim.SGD(model.parameters(), lr=self.LR, momentum=self.MOMENTUM, weight_decay=self.WEIGHT_DECAY)
        self.compute = CapturedGradients(model, self.losses) if captured else partial(compute_gradients, model, self.losses)
        self.rates = [(layer, layer.p) for layer in model.modules() if isinstance(layer, tinycnn.nn.Dropout)]

    def __call__(self):
        self.loss = self.compute(self.x, self.target)
        self.optimizer.step()

    def losses(self, outputs, target):
        scores, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
        loss = F.cross_entropy(scores, target)
        for extra in auxiliary:
            loss = loss + self.AUXILIARY * F.cross_entropy(extra, target)
        return loss

    def dropout(self, on):
        for layer, p in self.rates:
            layer.p = p if on else 0.0
        for _ in range(3 if self.captured else 0):  # a graph is of one probability: after a change one step is slow, one captures, and one may compare
            self()

    def gradients(self):
        return self.loss.item(), {name: parameter.grad.cpu().array for name, parameter in self.model.named_parameters() if parameter.grad is not None}


CONTESTANT = Ours
