"""A rival where there is no GPU: NumPy's answers (truth.py), taken from the device and brought back to it. So the harness can be run to its end on the simulator."""
import numpy as np

from .. import truth
from ..gpu import to_device
from ..operations import exact
from .on_gpu import OnGpu


class StandIn(OnGpu):
    library, package, levels = "standin", "numpy", ("conv", "operation")
    settings = {"default": "NumPy, copied to the device and back: in place of a rival where there is no GPU"}

    def conv(self, layer, x, w, bias, dy):
        forward_of, input_grad_of, weight_grad_of = self.inputs(x, w, bias), self.inputs(dy, w), self.inputs(dy, x)

        def host(arrays):
            return (None if array is None else array.get() for array in arrays)
        return {"forward": lambda: to_device(truth.forward(*host(forward_of()), layer)),
                "input_grad": lambda: to_device(truth.input_grad(*host(input_grad_of()), layer)),
                "weight_grad": lambda: to_device(truth.weight_grad(*host(weight_grad_of()), layer))}

    def operation(self, name, arrays):
        following = self.inputs(*arrays)

        def run():
            return tuple(to_device(result.astype(np.float32)) for result in exact(name, [array.get() for array in following()]))
        return run


CONTESTANT = StandIn
