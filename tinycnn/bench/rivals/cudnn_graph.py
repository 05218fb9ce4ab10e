"""cuDNN's graph interface, for convolution: a graph of one convolution, and a bias where there is one, for which cuDNN lists plans; the fastest takes part.

Needs the package nvidia-cudnn-frontend (pip install --no-deps nvidia-cudnn-frontend) beside cuDNN. For "fp32" plans are left out that use tensor cores or round factors.
"""
import numpy as np

from ...kernels.cuda import array_module
from ..validate import allowed
from .base import Unsupported
from .cudnn import WORKSPACE, fastest
from .on_gpu import OnGpu, channels_last

MOST_PLANS = 24  # that are tried; cuDNN lists those first that it thinks fastest


class CuDNNGraph(OnGpu):
    library, package, levels = "cudnn_graph", "nvidia-cudnn-frontend", ("conv",)
    settings = {"nchw": "graph interface, fastest plan, contiguous", "nhwc": "graph interface, fastest plan, channels-last"}

    def __init__(self, *how):
        super().__init__(*how)
        self.cudnn = frontend()
        self.handle = self.cudnn.create_handle()
        self.cudnn.set_stream(handle=self.handle, stream=getattr(array_module().cuda.get_current_stream(), "ptr", 0))

    def details(self):
        return {**super().details(), "cudnn": self.cudnn.backend_version(), "workspace": WORKSPACE, "math": self.place.math}

    def inputs(self, *arrays):
        return super().inputs(*(channels_last(array) if self.setting == "nhwc" and array is not None and array.ndim == 4 else array for array in arrays))

    def conv(self, layer, x, w, bias, dy):
        if layer.groups > 1:
            raise Unsupported("groups, by the graph interface")
        shapes = {"forward": (layer.x_shape, layer.w_shape, layer.y_shape), "input_grad": (layer.y_shape, layer.w_shape, layer.x_shape),
                  "weight_grad": (layer.y_shape, layer.x_shape, layer.w_shape)}
        following = {"forward": self.inputs(x, w, bias), "input_grad": self.inputs(dy, w), "weight_grad": self.inputs(dy, x)}
        return {form: self.function(form, layer, shapes[form], following[form]) for form in shapes}

    def function(self, form, layer, shapes, following):
        """The fastest plan of one pass. shapes: of its two factors and of its result."""
        graph, inputs, output = self.graph(form, layer, *shapes)

        def run(plan, workspace):
            arrays, result = following(), self.empty(shapes[2])
            addresses = {tensor: array.data.ptr for tensor, array in zip((*inputs, output), (*(array for array in arrays if array is not None), result))}
            graph.execute_plan_at_index(addresses, workspace.data.ptr, index=plan, handle=self.handle)
            return result

        def size(plan):
            graph.build_plan_at_index(plan)
            return graph.get_workspace_size_plan_at_index(plan)
        plans = [(graph.get_plan_name_at_index(plan), plan, run) for plan in range(min(MOST_PLANS, graph.get_execution_plan_count()))]
        return fastest(plans, size, allowed(layer.length(form), self.place.math))

    def graph(self, form, layer, a_shape, b_shape, y_shape):
        """(the graph with its plans, its input tensors, its output tensor)"""
        kinds = self.cudnn.data_type
        graph = self.cudnn.pygraph(io_data_type=kinds.FLOAT, intermediate_data_type=kinds.FLOAT, compute_data_type=kinds.FLOAT, handle=self.handle)
        a, b = (graph.tensor(name=name, dim=list(shape), stride=self.strides(shape), data_type=kinds.FLOAT) for name, shape in (("a", a_shape), ("b", b_shape)))
        how, inputs = {"padding": list(layer.padding), "stride": list(layer.stride), "dilation": list(layer.dilation)}, [a, b]
        if form == "forward":
            y = graph.conv_fprop(image=a, weight=b, **how)
        elif form == "input_grad":
            y = graph.conv_dgrad(loss=a, filter=b, **how)
        else:
            y = graph.conv_wgrad(image=b, loss=a, **how)
        if form == "forward" and layer.bias:
            K = layer.K
            inputs.append(graph.tensor(name="bias", dim=[1, K, 1, 1], stride=[K, 1, K, K], data_type=kinds.FLOAT))
            y.set_dim(list(y_shape)).set_stride(self.strides(y_shape)).set_data_type(kinds.FLOAT)
            y = graph.bias(name="add", input=y, bias=inputs[-1])
        y.set_output(True).set_dim(list(y_shape)).set_stride(self.strides(y_shape)).set_data_type(kinds.FLOAT)
        graph.validate()
        graph.build_operation_graph()
        graph.create_execution_plans([self.cudnn.heur_mode.A, self.cudnn.heur_mode.FALLBACK])
        if self.place.math == "fp32":
            notes = self.cudnn.numerical_note
            graph.deselect_numeric_notes([notes.TENSOR_CORE, notes.DOWN_CONVERT_INPUTS])
        graph.deselect_workspace_greater_than(WORKSPACE)
        graph.check_support()
        return graph, inputs, y

    def strides(self, shape):
        """In elements, of (N, C, H, W) in this setting's layout."""
        _, C, H, W = shape
        return [C * H * W, 1, W * C, C] if self.setting == "nhwc" else [C * H * W, H * W, W, 1]

    def empty(self, shape):
        if self.setting == "nchw":
            return array_module().empty(shape, np.float32)
        return array_module().empty((shape[0], *shape[2:], shape[1]), np.float32).transpose(0, 3, 1, 2)


def frontend():
    import cudnn
    return cudnn


CONTESTANT = CuDNNGraph
