"""ncnn (Tencent), on the processor. It knows no batches: images run one after another."""
import os
import tempfile
from pathlib import Path

import ncnn
import numpy as np

from ..graph import one_convolution
from .base import Contestant
from .ncnn_model import ncnn_model


class Ncnn(Contestant):
    library, package, levels = "ncnn", "ncnn", ("conv", "inference")
    settings = {"default": "float32, Winograd and all else that it chooses, one image after another"}

    def network(self, graph, x):
        """A function that runs the graph on x."""
        net = ncnn.Net()
        net.opt.num_threads = self.threads
        net.opt.use_vulkan_compute = False
        for reduced in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage", "use_bf16_packed"):
            if hasattr(net.opt, reduced):
                setattr(net.opt, reduced, False)
        text, weights = ncnn_model(graph)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "net.param").write_text(text)
            Path(folder, "net.bin").write_bytes(weights)
            if net.load_param(os.path.join(folder, "net.param")) or net.load_model(os.path.join(folder, "net.bin")):
                raise RuntimeError("ncnn does not accept the model")
        images = [ncnn.Mat(image).clone() for image in np.ascontiguousarray(x)]  # memory of its own, which it knows not to write over

        def run():
            results = []
            for image in images:
                extractor = net.create_extractor()
                extractor.input("image", image)
                results.append(extractor.extract("scores")[1])
            return results
        return run

    def conv(self, layer, x, w, bias, dy):
        return {"forward": self.network(one_convolution(layer, w, bias), x)}

    def inference(self, model, graph, x):
        return self.network(graph, x)

    def array(self, result):
        return np.stack([np.array(scores) for scores in result])


CONTESTANT = Ncnn
