"""cuDNN and cuBLAS as rivals: how they are called, on a library that computes by the references (fake_cudnn.py); what is declared about cuDNN, against its headers."""
import ctypes
import gc
import re
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cuda_device import needs_simulator
from fake_cudnn import FakeCudnn

import tinycnn
from tinycnn import nn
from tinycnn.bench import networks, operations, truth
from tinycnn.bench.graph import trace
from tinycnn.bench.layers import FORMS, Layer
from tinycnn.bench.rivals import Place, Unsupported, cudnn_library
from tinycnn.bench.rivals.cudnn_library import Cudnn, CudnnError
from tinycnn.bench.validate import draw, error

AWKWARD = Layer("", 2, 4, 9, 7, 6, 3, 2, stride=(2, 1), padding=(2, 1), dilation=(1, 2), groups=2, bias=True)


@pytest.fixture
def fake(monkeypatch):
    """A function that makes the library which the rival finds."""
    from tinycnn.bench.rivals import cudnn as rival

    def use(**options):
        library = FakeCudnn(**options)
        monkeypatch.setattr(rival, "cudnn", lambda: Cudnn(library))
        return library
    return use


def rival_of(setting="nchw", math="fp32", cold=True):
    from tinycnn.bench.rivals.cudnn import CuDNN
    return CuDNN(setting, 1, Place("cuda", math, cold))


@needs_simulator
@pytest.mark.parametrize("math", ["fp32", "tf32"])
@pytest.mark.parametrize("setting", ["nchw", "nhwc"])
@pytest.mark.parametrize("layer", [AWKWARD, AWKWARD._replace(bias=False, groups=1)])
def test_cudnns_convolutions(fake, layer, setting, math):
    """Kills: height for width, dgrad for wgrad, a filter's descriptor with layout and type exchanged, FMA and TF32 exchanged, a bias forgotten or added to every answer,
    arrays in the other layout than their descriptor, inputs that are always the same copy."""
    library, arrays = fake(), draw(layer)
    rival = rival_of(setting, math)
    expected = truth.answers(*arrays, layer, FORMS)
    with rival.running():
        runs = rival.conv(layer, *arrays)
        for form in FORMS:
            for _ in range(2):
                assert error(rival.array(runs[form]()), expected[form]) < 1e-6
            assert runs[form].choice.count(" ms") >= 6
    assert ("IMPLICIT_PRECOMP_GEMM with bias" in runs["forward"].choice) == layer.bias
    assert {values.SetConvolutionMathType for values in library.objects.values() if hasattr(values, "SetConvolutionMathType")} == {(3 if math == "fp32" else 0,)}
    assert rival.details()["version"] == "9.28.0"
    del runs, rival
    gc.collect()
    assert library.alive == 0  # descriptors are given back


@needs_simulator
def test_which_algorithm_takes_part(fake, monkeypatch):
    """Kills: one that is wrong, or needs more memory than all may have, chosen because it is fast; one that refuses taking the others along."""
    from tinycnn.bench.rivals import cudnn as rival
    seconds = iter(range(99, 0, -1))
    monkeypatch.setattr(rival.GpuTimer, "times", lambda self, function, calls: [float(next(seconds))])
    fake(unsupported={("forward", 0), ("forward", 3)}, wrong={("forward", 7), ("forward", 6)})
    layer = AWKWARD._replace(bias=False)
    choice = rival_of().conv(layer, *draw(layer))["forward"].choice
    assert choice.startswith("FFT_TILING, of IMPLICIT_PRECOMP_GEMM 9.9e+04 ms, GEMM 9.8e+04 ms, FFT 9.7e+04 ms, FFT_TILING 9.6e+04 ms; ")
    assert "DIRECT: cudnnGetConvolutionForwardWorkspaceSize: CUDNN_STATUS_NOT_SUPPORTED (3000)" in choice and "WINOGRAD: its answer differs by 0.0" in choice
    fake(unsupported={("forward", number) for number in range(8)})
    runs = rival_of().conv(layer, *draw(layer))
    with pytest.raises(NotImplementedError, match="IMPLICIT_GEMM: cudnnGet"):
        runs["forward"]()
    runs["input_grad"]()
    fake(workspace=rival.WORKSPACE + 1)
    with pytest.raises(NotImplementedError, match="GEMM: needs 1024 MiB"):
        rival_of().conv(layer, *draw(layer))["forward"]()


LAYERS = [
    nn.ReLU(), nn.MaxPool2d(3, 2, padding=1), nn.MaxPool2d((3, 2), (1, 2)), nn.AvgPool2d(3, 2, padding=1), nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
    nn.LocalResponseNorm(3, alpha=0.9, beta=0.75, k=2.0, alpha_convention="paper"), nn.BatchNorm2d(6, eps=0.1),
    nn.Conv2d(6, 4, (3, 2), stride=(2, 1), padding=(1, 0), groups=2), nn.Conv2d(6, 4, 3, bias=False),
]


@needs_simulator
@pytest.mark.parametrize("setting", ["nchw", "nhwc"])
@pytest.mark.parametrize("module", LAYERS, ids=repr)
def test_cudnns_layers(fake, module, setting):
    """Kills: alpha of LRN not times the window's size, padding counted or not, maximum for mean, y and dy exchanged, gradients in another order, the scale of BatchNorm
    for its bias, mean for variance."""
    fake()
    rng = np.random.default_rng(0)
    model = networks.drawn(nn.Sequential(module))
    x = rng.standard_normal((2, 6, 9, 8)).astype(np.float32)
    graph = trace(model.eval(), x.shape)
    expected = exact(model.eval(), x)
    rival = rival_of(setting)
    with rival.running():
        assert error(rival.array(rival.inference(model, graph, x)()), expected) < 1e-6
    dy = rng.standard_normal(expected.shape).astype(np.float32)
    graph = trace(model.train(), x.shape)
    with rival.running():
        found = rival.layer(model, graph, x, dy)()
    for gradient, right in zip(found, exact_gradients(model, x, dy), strict=True):
        assert error(rival.array(gradient), right) < 1e-5


def exact(model, x):
    with tinycnn.use_kernels("reference"), tinycnn.no_grad():
        return model(tinycnn.from_numpy(x)).array


def exact_gradients(model, x, dy):
    for parameter in model.parameters():
        parameter.grad = None
    with tinycnn.use_kernels("reference"):
        return networks.exact_result(model.train(), x, dy)


@needs_simulator
def test_cudnns_dropout_and_softmax(fake):
    """Kills: states freed while the descriptor has their address, reserve and states exchanged; softmax over the wrong axis, its backward from x."""
    library = fake()
    x, dy = np.random.default_rng(0).standard_normal((2, 3, 5)).astype(np.float32)
    rival = rival_of()
    graph = trace(nn.Sequential(nn.Dropout(0.25)).train(), x.shape)
    dx, = rival.layer(None, graph, x, dy)()
    np.testing.assert_allclose(rival.array(dx), dy / 0.75 * (np.arange(15).reshape(3, 5) % 2), rtol=1e-6)
    assert library.calls.count("DropoutForward") == library.calls.count("DropoutBackward") == 1
    with pytest.raises(Unsupported, match="does nothing"):
        rival.inference(None, graph, x)
    softmax = SimpleNamespace(nodes=[graph.nodes[0]._replace(op="softmax", shape=(5,))])
    y = rival.array(rival.inference(None, softmax, x)())
    np.testing.assert_allclose(y, np.exp(x) / np.exp(x).sum(1, keepdims=True), rtol=1e-6)
    dx, = rival.layer(None, softmax, x, dy)()
    np.testing.assert_allclose(rival.array(dx), y * (dy - (y * dy).sum(1, keepdims=True)), rtol=1e-5, atol=1e-6)


@needs_simulator
@pytest.mark.parametrize("name, size", [("relu", (1025,)), ("relu_backward", (1025,)), ("softmax", (3, 5)), ("softmax_backward", (3, 5))])
def test_cudnns_operations(fake, name, size):
    """Kills: y and dy exchanged, a softmax over the rows, a descriptor of another shape."""
    fake()
    arrays, rival = operations.OPERATIONS[name].draw(np.random.default_rng(0), *size), rival_of()
    assert operations.check(rival, rival.operation(name, arrays), operations.exact(name, arrays)) < 1e-6
    with pytest.raises(Unsupported, match="cuDNN has no adam"):
        rival.operation("adam", arrays)
    assert rival.settings_of("operation") == ("nchw",) and len(rival.settings_of("conv")) == 2


@needs_simulator
@pytest.mark.parametrize("module, x_shape, message", [
    (nn.MaxPool2d(3, 2, ceil_mode=True), (2, 3, 8, 8), "rounds up"), (nn.LocalResponseNorm(4), (2, 6, 3, 3), "even size"),
    (nn.MaxPool2d(2, dilation=2), (2, 3, 8, 8), "dilated"), (nn.Linear(3, 2), (2, 3), "no linear")])
def test_what_cudnn_does_not_do(fake, module, x_shape, message):
    """Kills: a pool of another size of result, or another LRN, measured as if it were the same."""
    fake()
    graph = trace(nn.Sequential(module).eval(), x_shape)
    with pytest.raises(Unsupported, match=message):
        rival_of().inference(None, graph, np.zeros(x_shape, np.float32))


@needs_simulator
def test_errors_of_cudnn():
    """Kills: a status that nobody looks at, a missing argument that ctypes lets through."""
    library = Cudnn(FakeCudnn(unsupported={("forward", 0)}))
    x = library.tensor((1, 2, 3, 4))
    with pytest.raises(CudnnError, match=r"cudnnGetConvolutionForwardWorkspaceSize: CUDNN_STATUS_NOT_SUPPORTED \(3000\)"):
        library.size("GetConvolutionForwardWorkspaceSize", x, x, x, x, 0)
    with pytest.raises(TypeError, match="cudnnAddTensor takes 7 arguments, 2 were given"):
        library.call("AddTensor", x)


# ---- cuBLAS

class FakeCublas:
    """sgemm as BLAS defines it, on arrays that are column by column."""

    def __init__(self):
        self.mode = None

    def setMathMode(self, handle, mode):
        self.mode = mode

    def getVersion(self, handle):
        return 130000

    def sgemm(self, handle, a_op, b_op, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
        from tinycnn.kernels.cuda import array_module
        array_module().cuda.Device().synchronize()

        def columns(address, rows, cols, leading):
            assert leading >= rows
            return np.frombuffer((ctypes.c_float * (leading * cols)).from_address(address), np.float32).reshape(cols, leading)[:, :rows].T
        A = columns(a, *((m, k) if a_op == 0 else (k, m)), lda)
        B = columns(b, *((k, n) if b_op == 0 else (n, k)), ldb)
        C = columns(c, m, n, ldc)
        alpha, beta = (ctypes.c_float.from_address(number).value for number in (alpha, beta))
        C[...] = alpha * (A if a_op == 0 else A.T) @ (B if b_op == 0 else B.T) + (beta * C if beta else 0)


@needs_simulator
@pytest.mark.parametrize("math", ["fp32", "tf32"])
@pytest.mark.parametrize("bias", [True, False])
def test_cublas_linear_layers(monkeypatch, bias, math):
    """Kills: rows for columns anywhere, a bias added once too often, db over the wrong axis, TF32 where it was not asked for."""
    from tinycnn.bench.rivals import cublas
    fake = FakeCublas()
    monkeypatch.setattr(cublas, "library", lambda: (fake, 0))
    rival = cublas.CuBLAS("default", 1, Place("cuda", math, True))
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(5, 3, bias=bias))
    x, dy = rng.standard_normal((4, 5)).astype(np.float32), rng.standard_normal((4, 3)).astype(np.float32)
    graph = trace(model.eval(), x.shape)
    for batch in (4, 1):
        np.testing.assert_allclose(rival.array(rival.inference(model, graph, x[:batch])()), exact(model, x[:batch]), rtol=1e-5, atol=1e-6)
    found = rival.layer(model, graph, x, dy)()
    for gradient, right in zip(found, exact_gradients(model, x, dy), strict=True):
        np.testing.assert_allclose(rival.array(gradient), right, rtol=1e-5, atol=1e-6)
    assert fake.mode == {"fp32": 0, "tf32": 3}[math] and rival.details()["version"] == 130000
    with pytest.raises(Unsupported, match="no relu"):
        rival.inference(None, trace(nn.Sequential(nn.ReLU()).eval(), x.shape), x)


@needs_simulator
@pytest.mark.parametrize("math", ["fp32", "tf32"])
def test_cublas_products(monkeypatch, math):
    """Kills: M for N, a transposed factor, TF32 where it was not asked for."""
    from tinycnn.bench.rivals import cublas
    fake = FakeCublas()
    monkeypatch.setattr(cublas, "library", lambda: (fake, 0))
    rival, arrays = cublas.CuBLAS("default", 1, Place("cuda", math, True)), operations.OPERATIONS["matmul"].draw(np.random.default_rng(0), 4, 6, 9)
    assert operations.check(rival, rival.operation("matmul", arrays), operations.exact("matmul", arrays)) < 1e-6
    assert fake.mode == {"fp32": 0, "tf32": 3}[math]
    with pytest.raises(Unsupported, match="cuBLAS has no softmax"):
        rival.operation("softmax", arrays)


# ---- what is declared, against NVIDIA's headers

def headers():
    """The text of cuDNN's headers without comments, from its wheel."""
    spec = find_spec("nvidia")
    for folder in spec.submodule_search_locations if spec else ():
        include = Path(folder, "cudnn", "include")
        if include.is_dir():
            text = "".join((include / f"cudnn_{part}.h").read_text() for part in ("graph", "ops", "cnn"))
            return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.S)
    pytest.skip("cuDNN's headers (of the wheel nvidia-cudnn-cu13 or nvidia-cudnn-cu12) are not installed")


def letter(declaration):
    """The letter in cudnn_library.LETTERS of a parameter in C."""
    if "*" in declaration or re.search(r"(Handle|Descriptor|cudaStream)_t\b", declaration):
        return "p"
    kind = " ".join(re.sub(r"\bconst\b", "", declaration).split()[:-1])
    numbers = {"int": "i", "unsigned": "u", "size_t": "n", "float": "f", "double": "d", "unsigned long long": "L"}
    return numbers.get(kind) or ("i" if re.fullmatch(r"cudnn\w+_t", kind) else "?")


def test_functions_are_declared_as_in_cudnns_headers():
    """Kills: any argument too many, too few, in another place, or of another type."""
    text = headers()
    for name, letters in cudnn_library.FUNCTIONS.items():
        parameters = re.search(rf"CUDNNWINAPI\s+cudnn{name}\s*\(([^;]*)\);", text)[1]
        assert "".join(letter(declaration) for declaration in parameters.split(",")) == letters, name


def test_constants_are_those_of_cudnns_headers():
    """Kills: an enum's value that is another's, algorithms in another order."""
    text = headers()
    of = {"forward": "FWD", "input_grad": "BWD_DATA", "weight_grad": "BWD_FILTER"}
    expected = dict(cudnn_library.CONSTANTS)
    for form, names in cudnn_library.ALGORITHMS.items():
        expected |= {f"CONVOLUTION_{of[form]}_ALGO_{name}": number for number, name in enumerate((*names, "COUNT"))}
    for name, value in expected.items():
        assert int(re.search(rf"\bCUDNN_{name}\b(?:\s+CUDNN_DEPRECATED_ENUM)?\s*=\s*(\d+)", text)[1]) == value, name


# ---- the graph interface

class FakeFrontend:
    """The package `cudnn` as far as it is used: graphs of one convolution and a bias, computed by the references; plan 1 refuses to be built."""

    class Names:
        def __getattr__(self, name):
            return name
    data_type, heur_mode, numerical_note = Names(), Names(), Names()

    def __init__(self):
        self.streams, self.deselected = [], []

    def create_handle(self):
        return "handle"

    def set_stream(self, handle, stream):
        self.streams.append((handle, stream))

    def backend_version(self):
        return 92800

    def pygraph(self, **options):
        assert options["handle"] == "handle" and options["compute_data_type"] == "FLOAT"
        return FakeGraph(self)


class FakeTensor:
    def __init__(self, dim=None, stride=None):
        self.dim, self.stride, self.output = dim, stride, False

    def set_dim(self, dim):
        self.dim = dim
        return self

    def set_stride(self, stride):
        self.stride = stride
        return self

    def set_data_type(self, kind):
        return self

    def set_output(self, output):
        self.output = output
        return self

    def view(self, address):
        """The array at an address."""
        memory = np.frombuffer((ctypes.c_float * int(np.prod(self.dim))).from_address(address), np.float32)
        return np.lib.stride_tricks.as_strided(memory, self.dim, [4 * step for step in self.stride])


class FakeGraph:
    def __init__(self, frontend):
        self.frontend, self.steps, self.built = frontend, [], set()

    def tensor(self, name, dim, stride, data_type):
        return FakeTensor(dim, stride)

    def record(self, kind, how, *inputs):
        self.steps.append((kind, how, inputs, FakeTensor()))
        return self.steps[-1][-1]

    def conv_fprop(self, image, weight, **how):
        return self.record("forward", how, image, weight)

    def conv_dgrad(self, loss, filter, **how):
        return self.record("input_grad", how, loss, filter)

    def conv_wgrad(self, image, loss, **how):
        return self.record("weight_grad", how, loss, image)

    def bias(self, name, input, bias):
        return self.record("bias", {}, input, bias)

    def validate(self):
        assert all(step[-1].dim and step[-1].stride for step in self.steps) and self.steps[-1][-1].output

    build_operation_graph = check_support = validate

    def create_execution_plans(self, modes):
        assert modes == ["A", "FALLBACK"]

    def deselect_numeric_notes(self, notes):
        self.frontend.deselected += notes

    def deselect_workspace_greater_than(self, nbytes):
        assert nbytes == 1 << 30

    def get_execution_plan_count(self):
        return 3

    def get_plan_name_at_index(self, plan):
        return f"plan{plan}"

    def build_plan_at_index(self, plan):
        if plan == 1:
            raise RuntimeError("not on this device")
        self.built.add(plan)

    def get_workspace_size_plan_at_index(self, plan):
        return 8

    def execute_plan_at_index(self, addresses, workspace, index, handle):
        from tinycnn.kernels.conv.geometry import Geometry
        from tinycnn.kernels.cuda import array_module
        array_module().cuda.Device().synchronize()
        assert index in self.built and handle == "handle" and workspace
        reference, values = tinycnn.kernels.backend("reference").conv, {tensor: tensor.view(address) for tensor, address in addresses.items()}
        for kind, how, (a, b), result in self.steps:
            if kind == "bias":
                values.setdefault(result, values[a])[...] = values[a] + values[b]
                continue
            geometry = Geometry(tuple(how["stride"]), tuple(how["padding"]), tuple(how["dilation"]))
            value = (reference.forward(values[a], values[b], None, geometry) if kind == "forward"
                     else getattr(reference, kind)(values[a], values[b], tuple(result.dim), geometry))
            if result in values:
                values[result][...] = value
            else:
                values[result] = value


@needs_simulator
@pytest.mark.parametrize("math", ["fp32", "tf32"])
@pytest.mark.parametrize("setting", ["nchw", "nhwc"])
@pytest.mark.parametrize("bias", [True, False])
def test_cudnns_graphs(monkeypatch, setting, math, bias):
    """Kills: strides of the other layout, an address under another tensor, a bias left out, dgrad for wgrad, a plan that cannot be built stopping the others, tensor
    cores in fp32."""
    from tinycnn.bench.rivals import cudnn_graph
    fake = FakeFrontend()
    monkeypatch.setattr(cudnn_graph, "frontend", lambda: fake)
    layer = AWKWARD._replace(groups=1, bias=bias)
    arrays, rival = draw(layer), cudnn_graph.CuDNNGraph(setting, 1, Place("cuda", math, True))
    expected = truth.answers(*arrays, layer, FORMS)
    runs = rival.conv(layer, *arrays)
    for form in FORMS:
        for _ in range(2):
            assert error(rival.array(runs[form]()), expected[form]) < 1e-6
        assert "plan0" in runs[form].choice and "plan2" in runs[form].choice and "plan1: not on this device" in runs[form].choice
    assert fake.deselected == (["TENSOR_CORE", "DOWN_CONVERT_INPUTS"] * 3 if math == "fp32" else []) and fake.streams == [("handle", 0)]
    with pytest.raises(Unsupported, match="groups"):
        rival.conv(AWKWARD, *draw(AWKWARD))
