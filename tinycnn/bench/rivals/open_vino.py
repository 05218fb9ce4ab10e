"""OpenVINO, on the processor."""
import numpy as np
import openvino

from ..graph import one_convolution
from .base import Contestant
from .onnx_model import onnx_model


class OpenVINO(Contestant):
    library, package, levels = "openvino", "openvino", ("conv", "inference")
    settings = {"default": "float32, one stream, for latency"}

    def request(self, graph, x):
        """A function that runs the graph on x."""
        settings = {"INFERENCE_NUM_THREADS": self.threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
        request = openvino.Core()
        request = request.compile_model(request.read_model(onnx_model(graph, len(x)), b""), "CPU", settings).create_infer_request()
        images = np.ascontiguousarray(x)
        return lambda: request.infer([images], share_inputs=True, share_outputs=True)[0]

    def conv(self, layer, x, w, bias, dy):
        return {"forward": self.request(one_convolution(layer, w, bias), x)}

    def inference(self, model, graph, x):
        return self.request(graph, x)


CONTESTANT = OpenVINO
