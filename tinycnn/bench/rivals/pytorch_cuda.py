"""PyTorch on a GPU: a second opinion, with cuDNN chosen and called by somebody else. Its own timing of cuDNN's algorithms is on; TF32 only where asked for."""
from contextlib import contextmanager
from itertools import cycle

import torch
from torch.nn import functional as F

from ..gpu import copies, in_turn
from ..operations import BETAS, DECAY, EPS, MOMENTUM, STEP
from .base import Unsupported
from .pytorch import COMPILED, PyTorch, Step


class PyTorchOnGpu(PyTorch):
    levels = (*PyTorch.levels, "operation")
    settings = {**PyTorch.settings, "cudagraphs": 'torch.compile with CUDA graphs, as mode="reduce-overhead" has them, channels-last memory',
                "graph": "eager, contiguous, a whole step of training captured by torch.cuda.graph"}

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

    @classmethod
    def settings_of(cls, level):
        if level == "operation":
            return ("nchw",)  # their arrays have no layout
        return tuple(setting for setting in super().settings_of(level) if level in ONLY_IN.get(setting, (level,)))

    # What is measured by itself gets other copies of its inputs each time (gpu.py), as everybody's does.

    def conv(self, layer, x, w, bias, dy):
        several = [super(PyTorchOnGpu, self).conv(layer, x, w, bias, dy) for _ in range(copies((x, w, dy), self.place.cold))]
        return {form: in_order([functions[form] for functions in several]) for form in several[0]}

    def operation(self, name, arrays):
        return in_turn(lambda: OPERATIONS[name](*map(self.placed, arrays)), arrays, self.place.cold)

    def inference(self, model, graph, x):
        if len(graph.nodes) > 1 or self.setting in COMPILED:  # a network, whose weights and results are larger than any cache; and nobody compiles a layer many times
            run = super().inference(model, graph, x)
            return (lambda: run().clone()) if self.setting == "cudagraphs" else run  # a graph's next call overwrites its results
        return in_turn(lambda: super(PyTorchOnGpu, self).inference(model, graph, x), (x,), self.place.cold)

    def training(self, model, graph, x, target):
        if self.setting != "graph":
            return super().training(model, graph, x, target)
        return CapturedStep(*self.trained(graph), self.placed(x), self.placed(target))

    def layer(self, model, graph, x, dy):
        if self.setting in ONLY_IN:
            raise Unsupported("CUDA graphs are measured in whole networks only")
        if self.setting in COMPILED:  # one copy of the inputs, as in inference
            return super().layer(model, graph, x, dy)
        return in_turn(lambda: super(PyTorchOnGpu, self).layer(model, graph, x, dy), (x, dy), self.place.cold)


ONLY_IN = {"cudagraphs": ("inference", "training"), "graph": ("training",)}  # setting: at these levels


class CapturedStep(Step):
    """A step whose launches are one graph, as PyTorch's documentation has it for whole networks."""

    graph = None

    def __call__(self):
        if self.graph is None:
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(3):
                    super().__call__()
            torch.cuda.current_stream().wait_stream(aside)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                super().__call__()
        self.graph.replay()

    def dropout(self, on):
        super().dropout(on)
        self.graph = None  # it has the probabilities of then


# ---- operations.OPERATIONS: from arrays, a function that gives the tuple of results

def cross_entropy(scores, target, dlosses):
    scores.requires_grad_()

    def run():
        losses = F.cross_entropy(scores, target, reduction="none")
        return losses, *torch.autograd.grad(losses, scores, dlosses)
    return run


def optimizer(kind, param, grad, state, **options):
    """A step of torch.optim's fused kernels, with a state that is there already."""
    param.grad = grad
    step = kind([param], lr=0.0, fused=True, **options)
    step.state[param] = {key: torch.tensor(float(STEP), device=param.device) if value is None else value for key, value in state.items()}

    def run():
        step.step()
        return param, *(value for key, value in state.items() if value is not None)
    return run


def sgd(param, grad, buffer):
    return optimizer(torch.optim.SGD, param, grad, {"momentum_buffer": buffer}, momentum=MOMENTUM, weight_decay=DECAY)


def adam(param, grad, m, v):
    return optimizer(torch.optim.Adam, param, grad, {"step": None, "exp_avg": m, "exp_avg_sq": v}, betas=BETAS, eps=EPS)


OPERATIONS = {
    "matmul": lambda a, b: lambda: (torch.matmul(a, b),),
    "softmax": lambda x: lambda: (torch.softmax(x, 1),),
    "softmax_backward": lambda dy, y: lambda: (torch.ops.aten._softmax_backward_data(dy, y, 1, y.dtype),),
    "cross_entropy": cross_entropy,
    "relu": lambda x: lambda: (torch.relu(x),),
    "relu_backward": lambda dy, y: lambda: (torch.ops.aten.threshold_backward(dy, y, 0),),
    "add": lambda a, b: lambda: (torch.add(a, b),),
    "sgd": sgd,
    "adam": adam,
}


def in_order(functions):
    """A function that calls these in turn."""
    following = cycle(functions).__next__
    return lambda: following()()


CONTESTANT = PyTorchOnGpu
