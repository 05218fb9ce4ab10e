"""Step 7: the library's own implicit GEMM (kernels/conv/implicit.py, implicit_weights.py): step 6, for any stride, dilation and groups, laid out for the caches.

Borders of zeros are made in each thread's scratch memory, block by block, rather than around the whole image; pixels and filters are asked for before they are
needed; filters are packed by vectors; for the weight gradient the image is copied in slices of 32 channels, since walking from pixel to pixel jumps over all
channels but the tile's.
"""
from common import of_library

from tinycnn.kernels.conv import implicit

IDEA, ORDER = "implicit GEMM as in the library: copies, blocks, prefetches", "NHWC"
SOURCES = ("conv/implicit.py", "conv/implicit_weights.py", "conv/correlation.py")

forward, input_grad, weight_grad = of_library(implicit)
