"""`cupy.lib`: strided views."""
from types import SimpleNamespace

import numpy as np


def _as_strided(x, shape=None, strides=None):
    return x._view(np.lib.stride_tricks.as_strided(x.host, shape, strides))


stride_tricks = SimpleNamespace(as_strided=_as_strided)
