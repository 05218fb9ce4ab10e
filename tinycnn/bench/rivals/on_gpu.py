"""What contestants have in common that compute on arrays of the CUDA device: CuPy's, or the stand-in's on the simulator."""
from contextlib import contextmanager

import numpy as np

from ...kernels.cuda import array_module
from ..gpu import rotation
from .base import Contestant


class OnGpu(Contestant):
    """conv, inference and layer get NumPy arrays; `inputs(*arrays)` brings them to the device."""

    @contextmanager
    def running(self):
        """Nobody's work is queued when another's begins."""
        array_module().cuda.Device().synchronize()
        try:
            yield
        finally:
            array_module().cuda.Device().synchronize()

    def inputs(self, *arrays):
        """A function that gives the next tuple of device copies of the arrays (gpu.py); always the same where inputs may be warm."""
        return rotation(arrays, self.place.cold)

    def array(self, result):
        return result.get()


def channels_last(images):
    """A NumPy array (N, C, H, W) lying channels-last, for the device to copy as it lies."""
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
