"""ONNX Runtime, on the processor."""
import numpy as np
import onnxruntime

from ..graph import one_convolution
from .base import Contestant
from .onnx_model import onnx_model


class OnnxRuntime(Contestant):
    library, package, levels = "onnxruntime", "onnxruntime", ("conv", "inference")
    settings = {"default": "all graph optimisations, float32, threads within operators"}

    def session(self, graph, x):
        """A function that runs the graph on x."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(onnx_model(graph, len(x)), options, providers=["CPUExecutionProvider"])
        images = np.ascontiguousarray(x)
        return lambda: session.run(None, {"image": images})[0]

    def conv(self, layer, x, w, bias, dy):
        return {"forward": self.session(one_convolution(layer, w, bias), x)}

    def inference(self, model, graph, x):
        return self.session(graph, x)


CONTESTANT = OnnxRuntime
