"""PyTorch: the network as plain torch.nn modules, called one after another by straight-line code (torch.fx writes it, as one would by hand)."""
from collections import Counter
from contextlib import contextmanager

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional as F

from ..modules import NAMES, module_of
from .base import Contestant, TrainingStep


class PyTorch(Contestant):
    library, package, levels = "pytorch", "torch", ("conv", "inference", "training")
    settings = {"nchw": "eager, contiguous", "channels_last": "eager, channels-last memory", "compiled": "torch.compile, channels-last memory"}

    @classmethod
    def settings_of(cls, level):
        return ("nchw", "channels_last") if level == "conv" else tuple(cls.settings)  # one convolution is one call: nothing to compile

    @contextmanager
    def running(self):
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def details(self):
        return {**super().details(), "onednn": torch.backends.mkldnn.is_available(), "isa": torch.backends.cpu.get_cpu_capability()}

    def placed(self, array):
        """A tensor of this array in the setting's layout."""
        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(self.place.device)
        return tensor.to(memory_format=torch.channels_last) if self.setting not in CONTIGUOUS and tensor.ndim == 4 else tensor

    def conv(self, layer, x, w, bias, dy):
        x, w, dy = self.placed(x), self.placed(w), self.placed(dy)
        bias = None if bias is None else self.placed(bias)
        window = (layer.stride, layer.padding, layer.dilation)

        def gradient(*wanted):
            return torch.ops.aten.convolution_backward(dy, x, w, None, *window, False, (0, 0), layer.groups, wanted)
        return {"forward": lambda: F.conv2d(x, w, bias, *window, layer.groups),  # nothing requires a gradient, so nothing is recorded
                "input_grad": lambda: gradient(True, False, False)[0],
                "weight_grad": lambda: gradient(False, True, False)[1]}

    def network(self, graph):
        """The graph as a module of this setting."""
        module = build(graph).to(self.place.device)
        return module.to(memory_format=torch.channels_last) if self.setting not in CONTIGUOUS else module

    def inference(self, model, graph, x):
        network, images, eager = self.network(graph).eval(), self.placed(x), self.setting not in COMPILED
        network = network if eager else compiled(network, freezing=True, **COMPILED[self.setting])

        def run():
            with torch.inference_mode() if eager else torch.no_grad():
                return network(images)
        return run

    def training(self, model, graph, x, target):
        return Step(*self.trained(graph), self.placed(x), self.placed(target))

    def trained(self, graph):
        """The network in training mode, and what is called in its place."""
        network = self.network(graph).train()
        return network, compiled(network, **COMPILED[self.setting]) if self.setting in COMPILED else network

    def layer(self, model, graph, x, dy):
        (network, call), images, cotangent = self.trained(graph), self.placed(x).requires_grad_(), self.placed(dy)

        def run():
            images.grad = None
            network.zero_grad()
            call(images).backward(cotangent)
            return images.grad, *(parameter.grad for parameter in network.parameters())
        return run

    def array(self, result):
        return result.detach().cpu().numpy()


CONTIGUOUS = ("nchw", "graph")
COMPILED = {"compiled": {}, "cudagraphs": {"triton.cudagraphs": True}}  # setting: what it asks of torch.compile; the second is what mode="reduce-overhead" stands for


def compiled(network, **options):
    """torch.compile, which needs a C++ compiler. freezing: weights as constants, so that BatchNorm is folded."""
    return torch.compile(network, options=options or None)


FUNCTIONS = {"add": lambda inputs: (torch.add, inputs), "cat": lambda inputs: (torch.cat, (inputs, 1))}


def build(graph):
    """A GraphModule that does what the graph says, with copies of its weights. A parameter's name here is NODE.weight; `named` translates."""
    root, wires, code = nn.Module(), {}, fx.Graph()
    wires["image"] = code.placeholder("image")
    root.named = {}
    readers = Counter(name for node in graph.nodes for name in node.inputs)
    for node in graph.nodes:
        inputs = tuple(wires[name] for name in node.inputs)
        if node.op in FUNCTIONS:
            function, arguments = FUNCTIONS[node.op](inputs)
            wires[node.name] = code.call_function(function, arguments)
            continue
        values = {part: graph.values[name] for part, name in node.weights.items()}
        module = module_of(nn, node, values)
        if node.op == "relu":
            module.inplace = node.inputs[0] != "image" and readers[node.inputs[0]] == 1  # where nobody else needs what it overwrites
        with torch.no_grad():
            for part, value in values.items():
                getattr(module, NAMES.get(part, part)).copy_(torch.from_numpy(np.ascontiguousarray(value)))
        root.named |= {f"{node.name}.{part}": name for part, name in node.weights.items()}
        root.add_module(node.name, module)
        wires[node.name] = code.call_module(node.name, inputs)
    outputs = tuple(wires[name] for name in graph.outputs)
    code.output(outputs if len(outputs) > 1 else outputs[0])
    built = fx.GraphModule(root, code)
    built.named = root.named
    return built


class Step(TrainingStep):
    def __init__(self, network, call, x, target):
        self.network, self.call, self.x, self.target = network, call, x, target
        self.optimizer = torch.optim.SGD(network.parameters(), lr=self.LR, momentum=self.MOMENTUM, weight_decay=self.WEIGHT_DECAY)
        self.rates = [(layer, layer.p) for layer in network.modules() if isinstance(layer, nn.Dropout)]

    def __call__(self):
        self.optimizer.zero_grad()
        outputs = self.call(self.x)
        scores, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
        self.loss = F.cross_entropy(scores, self.target)
        for extra in auxiliary:
            self.loss = self.loss + self.AUXILIARY * F.cross_entropy(extra, self.target)
        self.loss.backward()
        self.optimizer.step()

    def dropout(self, on):
        for layer, p in self.rates:
            layer.p = p if on else 0.0

    def gradients(self):
        gradients = {self.network.named[name]: parameter.grad for name, parameter in self.network.named_parameters()}
        return self.loss.item(), {name: gradient.cpu().numpy() for name, gradient in gradients.items() if gradient is not None}


CONTESTANT = PyTorch
