"""MNN (Alibaba), on the processor; the model is converted from ONNX by its own converter."""
import subprocess
import sys
import tempfile
from pathlib import Path

import MNN
import numpy as np

from ..graph import one_convolution
from .base import Contestant, Unsupported
from .onnx_model import onnx_model

# The converter itself, in a process of its own because it prints. Not MNN.tools.mnnconvert, which installs further packages and reports each use to its makers.
CONVERTER = "import sys, _tools; _tools.mnnconvert(['mnnconvert', *sys.argv[1:]])"


class Mnn(Contestant):
    library, package, levels = "mnn", "MNN", ("conv", "inference")
    settings = {"default": "float32 (precision high), Winograd and all else that it chooses"}

    def session(self, graph, x):
        """A function that runs the graph on x."""
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "model.onnx"), Path(folder, "model.mnn")
            source.write_bytes(onnx_model(graph, len(x)))
            arguments = ["-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(target), "--bizCode", "bench"]
            output = subprocess.run([sys.executable, "-c", CONVERTER, *arguments], capture_output=True, text=True).stdout
            if not target.exists():
                raise Unsupported(f"its converter refuses the model: {output.strip().splitlines()[-1:]}")
            interpreter = MNN.Interpreter(str(target))
        session = interpreter.createSession({"backend": "CPU", "precision": "high", "numThread": self.threads})
        image, scores = (get(session) for get in (interpreter.getSessionInput, interpreter.getSessionOutput))
        images = np.ascontiguousarray(x)
        given = MNN.Tensor(x.shape, MNN.Halide_Type_Float, images, MNN.Tensor_DimensionType_Caffe)
        shape = (len(x), *graph.shape(graph.outputs[0]))
        taken = MNN.Tensor(shape, MNN.Halide_Type_Float, np.empty(shape, np.float32), MNN.Tensor_DimensionType_Caffe)

        def run():
            image.copyFrom(given)
            interpreter.runSession(session)
            scores.copyToHostTensor(taken)
            return taken.getNumpyData()
        return run

    def conv(self, layer, x, w, bias, dy):
        return {"forward": self.session(one_convolution(layer, w, bias), x)}

    def inference(self, model, graph, x):
        return self.session(graph, x)

    def array(self, result):
        return np.array(result)  # a view of memory that the next run overwrites


CONTESTANT = Mnn
