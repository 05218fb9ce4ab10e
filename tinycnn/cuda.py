"""The device `cuda` under the names of torch.cuda: is there a GPU (or its simulation), and waiting for it."""
from .device import device


def is_available():
    """Whether tensors can be on "cuda": on a GPU with CuPy, or with TINYCNN_CUDA=simulate on its simulation."""
    try:
        device("cuda")
    except RuntimeError:
        return False
    return True


def synchronize():
    """Wait until everything that was queued is done. (Looking at a number waits, too.)"""
    device("cuda").xp.cuda.Device().synchronize()
