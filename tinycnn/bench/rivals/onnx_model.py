"""A Graph as an ONNX model, which ONNX Runtime and OpenVINO run and MNN converts."""
import numpy as np
import onnx
from onnx import helper, numpy_helper

from .base import Unsupported

OPSET = 17


def window(node):
    """The attributes of a window. ONNX lists paddings as (top, left, bottom, right)."""
    options = node.options
    attributes = {"strides": options["stride"], "pads": (*options["padding"], *options["padding"]), "dilations": options["dilation"]}
    return attributes | ({"kernel_shape": options["size"], "ceil_mode": int(options["ceil_mode"])} if "size" in options else {"group": options["groups"]})


def average(node):
    attributes = window(node)
    if attributes.pop("dilations") != (1, 1):
        raise Unsupported("average pools with dilation are not in ONNX before opset 19")
    return attributes | {"count_include_pad": int(node.options["count_include_pad"])}


#             op           ONNX's name           weights in its order              attributes
OPERATORS = {
    "conv": ("Conv", ("weight", "bias"), window),
    "linear": ("Gemm", ("weight", "bias"), lambda node: {"transB": 1}),
    "relu": ("Relu", (), lambda node: {}),
    "max_pool": ("MaxPool", (), window),
    "avg_pool": ("AveragePool", (), average),
    # ONNX divides alpha by the size of the window
    "lrn": ("LRN", (), lambda node: {"size": node.options["size"], "alpha": node.options["alpha"] * node.options["size"], "beta": node.options["beta"],
                                     "bias": node.options["k"]}),
    "batch_norm": ("BatchNormalization", ("weight", "bias", "mean", "var"), lambda node: {"epsilon": node.options["eps"]}),
    "add": ("Add", (), lambda node: {}),
    "cat": ("Concat", (), lambda node: {"axis": 1}),
    "flatten": ("Flatten", (), lambda node: {"axis": 1}),
}


def onnx_model(graph, batch):
    """The bytes of the model, for images in batches of `batch`. Its input is called "image", its output "scores"."""
    nodes = []
    for node in graph.nodes:
        if node.op not in OPERATORS:
            raise Unsupported(f"{node.op} has no form in ONNX")
        kind, parts, attributes = OPERATORS[node.op]
        weights = [node.weights[part] for part in parts if part in node.weights]
        nodes.append(helper.make_node(kind, [*node.inputs, *weights], [node.name], **attributes(node)))
    scores = graph.outputs[0]
    nodes.append(helper.make_node("Identity", [scores], ["scores"]))
    values = [numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name) for name, value in graph.values.items()]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (batch, *graph.shape(of))) for name, of in (("image", "image"), ("scores", scores))]
    model = helper.make_model(helper.make_graph(nodes, "network", ends[:1], ends[1:], values), opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()
