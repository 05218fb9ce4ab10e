"""tinycnn on the CUDA device."""
from math import inf

import tinycnn

from ...kernels import backend
from ...kernels.conv.cuda_algorithms import ALGORITHMS, algorithm_module
from ...kernels.conv.sizes import sizes
from ...kernels.cuda import array_module
from ..gpu import in_turn
from ..operations import OPERATIONS
from .base import Unsupported
from .on_gpu import OnGpu, channels_last
from .ours import Ours, Step


class OursOnGpu(OnGpu, Ours):
    levels = (*Ours.levels, "operation")
    settings = {"default": "what a user gets; of training, what `tinycnn train` does: forward and backward as one CUDA graph (train/captured.py)",
                "eager": "a step of training kernel by kernel, each launched from Python", "channels_last": "images lie channels-last",
                **{name: f"convolution by the algorithm {name!r}" for name in ALGORITHMS}}

    @classmethod
    def settings_of(cls, level):
        return {"conv": ("default", "channels_last"), "training": ("default", "eager")}.get(level, ("default",))

    def conv(self, layer, x, w, bias, dy):
        kernels, geometry = backend("cuda").conv, layer.geometry
        if self.setting == "channels_last":
            x, dy = channels_last(x), channels_last(dy)
        forward_of, input_grad_of, weight_grad_of = self.inputs(x, w, bias), self.inputs(dy, w), self.inputs(dy, x)
        how = {form: self.algorithm(form, layer, x.dtype) for form in ("forward", "input_grad", "weight_grad")}
        functions = {"forward": lambda: kernels.forward(*forward_of(), geometry, algorithm=how["forward"]),
                     "input_grad": lambda: kernels.input_grad(*input_grad_of(), layer.x_shape, geometry, algorithm=how["input_grad"]),
                     "weight_grad": lambda: kernels.weight_grad(*weight_grad_of(), layer.w_shape, geometry, algorithm=how["weight_grad"])}
        functions = {form: function for form, function in functions.items() if how[form] != "none"}
        if not functions:
            raise Unsupported(f"no algorithm of ours for {self.place.math} can do this layer" if self.setting not in ALGORITHMS
                              else f"the algorithm {self.setting!r} cannot do this layer")
        return functions

    def algorithm(self, form, layer, dtype):
        """The name of an algorithm; None for the table's own choice; "none" where there is none."""
        names = [self.setting] if self.setting in ALGORITHMS else [name for name in ALGORITHMS if "tf32" in name] if self.place.math == "tf32" else None
        if names is None:
            return None
        n = sizes(layer.x_shape, layer.w_shape, layer.geometry)
        costs = {name: algorithm_module(name).cost(form, n, layer.geometry, dtype) for name in names}
        able = [name for name, cost in costs.items() if cost < inf]
        return min(able, key=costs.get) if able else "none"

    def operation(self, name, arrays):
        if name == "matmul" and self.place.math == "tf32":
            raise Unsupported("our matrix product rounds no factors")
        compute, following, kernels = OPERATIONS[name].compute, self.inputs(*arrays), backend("cuda")
        return lambda: compute(kernels, *following())

    def inference(self, model, graph, x):
        """One fused network for all copies of the images: its first call makes the plan, which takes as long as twenty others, and a copy may be used but once."""
        model = self.ready(model)

        def prepare():
            images = self.tensor(x)

            def run():
                with tinycnn.no_grad():
                    return model(images)
            return run
        return in_turn(prepare, (x,), self.place.cold)

    def training(self, model, graph, x, target):
        return Step(model.to(self.place.device), self.tensor(x), self.tensor(target), captured=self.setting != "eager")

    def layer(self, model, graph, x, dy):
        return in_turn(lambda: super(OursOnGpu, self).layer(model, graph, x, dy), (x, dy), self.place.cold)

    def array(self, result):
        return result.get() if isinstance(result, array_module().ndarray) else super(OnGpu, self).array(result)


CONTESTANT = OursOnGpu
