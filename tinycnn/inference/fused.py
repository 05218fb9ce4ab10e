"""`fuse`: a trained network in the form in which it answers fastest."""
import threading
from collections import OrderedDict
from copy import deepcopy

from ..autograd import no_grad
from ..device import DEVICES, Device
from ..device import device as find_device
from ..nn.module import Module
from ..tensor import Tensor
from ..tools.trace import Untraceable
from .plan import Plan

PLANS = 4  # for so many shapes of images plans are kept


def fuse(model, fallback=False):
    """A module that computes what model.eval() does, for inference alone and faster.

        fast = tinycnn.fuse(model)
        scores = fast(images)

    BatchNorm is folded into the convolution before it; bias, ReLU, the additions of residual blocks and 2x2 pools are done by the convolution on the way; 1x1
    convolutions of one input are one; what is concatenated is written next to each other in the first place; filters are packed once; buffers are used again.
    print(fast) shows what came of it.

    The weights are copied: later changes of the model, training included, are not seen (fuse it again), and the model is left as it was, in training mode or not.
    A plan is made when images of a shape come for the first time (the batch counts too); the plans of the last four shapes are kept. While one is made (some
    hundredths of a second) no other thread may compute; calls of the same fused module from several threads wait for each other.

    It computes on the device of the images, wherever the model was. On a GPU BatchNorm is folded; ReLU and additions are kernels of their own, concatenations are copied,
    and buffers are CuPy's. The second call for a shape captures the kernels: there in a CUDA graph, with memory of its own, and later calls are one launch; on the CPU,
    for a few images, in a list, which later calls from the same thread go through (captured.py. TINYCNN_GRAPH=0: kernel by kernel, always).

    Results do not require gradients. Models whose Python code looks at numbers, and operations that are not known, raise a ValueError when the first images come;
    with fallback=True they run as they are instead.
    """
    if not isinstance(model, Module):
        raise TypeError(f"fuse: the model must be a tinycnn.nn.Module, got {type(model).__name__}")
    return model if isinstance(model, Fused) else Fused(model, fallback)


class Fused(Module):
    """What `fuse` makes."""

    training = False

    def __init__(self, model, fallback=False):
        super().__init__()
        self.fallback = fallback
        self.unfusable = None  # why
        hidden = self.__dict__  # the copy is no part of this module: nobody should train it, or expect that plans see it change
        hidden["model"] = deepcopy(model).eval().cpu()  # where it is traced
        hidden["plans"] = OrderedDict()  # (shape, dtype, name of the kernel table): Plan, the last used at the end
        hidden["lock"] = threading.Lock()

    def forward(self, x):
        if not isinstance(x, Tensor):
            raise TypeError(f"fused {type(self.model).__name__}: expected a tensor of images, got {type(x).__name__}; tinycnn.from_numpy makes one of an array")
        if self.unfusable is None:
            try:
                return self._fused(x)
            except Untraceable as error:
                if not self.fallback:
                    raise
                self.unfusable = str(error)
        with no_grad():
            return self.model.to(x.device)(x)

    def _fused(self, x):
        key = x.array.shape, x.array.dtype.char, x.device.kernels.name
        with self.lock:
            plan = self.plans.get(key)
            if plan is None:
                plan = self._plan(x, key)
            self.plans.move_to_end(key)
            results = plan(x.array)
        results = [Tensor(result, x.device) for result in results]
        if plan.structure is None:
            return results[0]
        return plan.structure(*results) if hasattr(plan.structure, "_fields") else plan.structure(results)

    def _plan(self, x, key):
        try:
            plan = self.plans[key] = Plan(self.model, x.shape, x.dtype, x.device)
        except (ValueError, TypeError) as error:
            error.add_note(f"while fusing {type(self.model).__name__} for images of shape {x.shape}, {x.dtype}")
            raise
        while len(self.plans) > PLANS:
            self.plans.popitem(last=False)
        return plan

    def train(self, mode=True):
        """A fused module only evaluates."""
        if mode:
            raise RuntimeError(f"fused {type(self.model).__name__}: it cannot be trained; train the model that it was made from, and fuse it again")
        return super().train(False)

    def to(self, *args, **options):
        """To another device: a plan is made where its images are, so there is nothing to move. Not to another dtype: the weights are in the plans already."""
        wanted = [*args, *options.values()]
        if not all(isinstance(place, (str, Device)) and place in DEVICES for place in wanted):
            raise RuntimeError(f"fused {type(self.model).__name__}: convert the model that it was made from, and fuse it again")
        for place in wanted:
            find_device(place)  # an error, if there is no such device here
        return self

    def __repr__(self):
        if self.unfusable is not None:
            return f"Fused({self.model!r},\nas it is: {self.unfusable})"
        if not self.plans:
            return f"Fused({type(self.model).__name__}, no plan before the first images)"
        return f"Fused({type(self.model).__name__})\n" + "\n".join(f"{plan!r}" for plan in self.plans.values())
