"""Step 8: fewer multiplications. Winograd's F(4x4, 3x3) needs 36 products for 16 results of a 3x3 filter, where the definition has 144 (kernels/conv/winograd.py).

Until here every step did the same products and differed in how. From here on GFLOP/s are those of the definition per second, and may well be more than the machine
can do.
"""
from common import of_library

from tinycnn.kernels.conv import winograd

IDEA, ORDER = "Winograd's algorithm: a quarter of the products", "NHWC"
SOURCES = ("conv/winograd.py", "conv/winograd_weights.py", "conv/winograd_forms.py", "conv/winograd_transform.py", "matmul/panels.py")

forward, input_grad, weight_grad = of_library(winograd)


def can(layer):
    """The library has it for 3x3 and 5x5 filters."""
    return layer.R == layer.S and layer.R in (3, 5)
