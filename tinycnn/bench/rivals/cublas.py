"""cuBLAS through CuPy, for matrix products and linear layers: forward is one matrix product, backward two; the bias and its gradient are products with a row of ones.

NumPy's arrays are row by row and cuBLAS's column by column, so what is (M, K) here is its transpose (K, M) there, and C = A B is asked for as C^T = B^T A^T.
"fp32" is cuBLAS's default, which rounds nothing on the way in.
"""
from ctypes import addressof, c_float

import numpy as np

from ...kernels.cuda import array_module
from .base import Unsupported
from .on_gpu import OnGpu

N, T = 0, 1  # cublasOperation_t
MATH = {"fp32": 0, "tf32": 3}  # cublasMath_t: CUBLAS_DEFAULT_MATH, CUBLAS_TF32_TENSOR_OP_MATH
NUMBERS = {value: c_float(value) for value in (0.0, 1.0)}  # alpha and beta lie in the memory of the computer


class CuBLAS(OnGpu):
    library, package, levels = "cublas", "nvidia-cublas", ("operation", "layer")
    settings = {"default": "sgemm through CuPy"}

    def __init__(self, *how):
        super().__init__(*how)
        self.cublas, self.handle = library()

    def details(self):
        return {**super().details(), "version": self.cublas.getVersion(self.handle), "math": self.place.math}

    def product(self, a, b, c, a_transposed=False, b_transposed=False, add=False):
        """c (M, N) = a b, or c += a b; a (M, K), or (K, M) if it is to be transposed, and b (K, N) likewise; all contiguous."""
        (rows, columns), length = c.shape, a.shape[0 if a_transposed else 1]
        one, beta = addressof(NUMBERS[1.0]), addressof(NUMBERS[1.0 if add else 0.0])
        self.cublas.sgemm(self.handle, T if b_transposed else N, T if a_transposed else N, columns, rows, length, one, b.data.ptr, b.shape[1], a.data.ptr, a.shape[1],
                          beta, c.data.ptr, columns)

    def operation(self, name, arrays):
        if name != "matmul":
            raise Unsupported(f"cuBLAS has no {name}, only matrix products")
        following, shape = self.inputs(*arrays), (len(arrays[0]), arrays[1].shape[1])
        self.cublas.setMathMode(self.handle, MATH[self.place.math])

        def run():
            (a, b), c = following(), array_module().empty(shape, np.float32)
            self.product(a, b, c)
            return c,
        return run

    def linear(self, graph, x, *dy):
        """(what inputs come next, w, bias or None, a column of ones as long as the batch)"""
        node, = graph.nodes
        if node.op != "linear":
            raise Unsupported(f"cuBLAS has no {node.op}, only matrix products")
        w, bias = (graph.values[node.weights[part]] if part in node.weights else None for part in ("weight", "bias"))
        constants = self.inputs(w, None if bias is None else bias[None], np.ones((len(x), 1), np.float32))()
        self.cublas.setMathMode(self.handle, MATH[self.place.math])
        return self.inputs(x, *dy), *constants

    def inference(self, model, graph, x):
        following, w, bias, ones = self.linear(graph, x)

        def run():
            (x,), y = following(), array_module().empty((len(ones), len(w)), np.float32)
            if bias is not None:
                self.product(ones, bias, y)
            self.product(x, w, y, b_transposed=True, add=bias is not None)
            return y
        return run

    def layer(self, model, graph, x, dy):
        following, w, bias, ones = self.linear(graph, x, dy)

        def run():
            (x, dy), y = following(), array_module().empty((len(ones), len(w)), np.float32)
            dx, dw = array_module().empty(x.shape, np.float32), array_module().empty(w.shape, np.float32)
            gradients = [dx, dw]
            if bias is not None:
                self.product(ones, bias, y)
                db = array_module().empty(len(w), np.float32)
                gradients.append(db)
                self.product(ones, dy, db[None], a_transposed=True)
            self.product(x, w, y, b_transposed=True, add=bias is not None)
            self.product(dy, w, dx)
            self.product(dy, x, dw, a_transposed=True)
            return gradients
        return run


def library():
    """(CuPy's module for cuBLAS, the handle of this device)"""
    from cupy.cuda import Device, cublas
    return cublas, Device().cublas_handle


CONTESTANT = CuBLAS
