"""The harness on a GPU, on the simulator: what is measured and how (times there say nothing, and are not looked at), and kernels that somebody brings."""
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from cuda_device import needs_simulator

from tinycnn.bench import gpu, operations, run, validate
from tinycnn.bench.layers import Layer
from tinycnn.bench.results import Results
from tinycnn.bench.rivals import Place, contestants, everybody
from tinycnn.bench.validate import allowed, draw, error
from tinycnn.cli import cli

pytestmark = needs_simulator
BYOK = Path(__file__).parents[2] / "benchmarks" / "byok"
HERE = Place("cuda", "fp32", True)
QUICKLY = ("--device", "cuda", "--rounds", 2, "--seconds", 0, "--most-spread", 1e9)
PEAKS = [{"threads": 1, "math": math, "gflops": 100.0, "gbps": 10.0, "by": "nobody", "by_properties": {}} for math in ("fp32", "tf32")]


def bench(*arguments):
    return CliRunner().invoke(cli, ["bench", *map(str, arguments)])


@pytest.fixture
def layer(tmp_path):
    path = tmp_path / "small.json"
    path.write_text(json.dumps({"layers": [{"name": "one", "N": 2, "C": 3, "H": 6, "W": 5, "K": 4, "R": 3, "S": 3, "bias": True}]}))
    return path


class Recorder:
    """Events and a device whose clock moves by what the test says."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def Event(self):
        recorder = self

        class Event:
            def record(self):
                self.at = recorder.now
                recorder.log.append("event")

            def synchronize(self):
                recorder.log.append("wait")
        return Event()

    def get_elapsed_time(self, before, after):
        return after.at - before.at


def test_events_stand_around_each_call_and_nobody_waits_between(monkeypatch):
    """Kills: one pair of events for all calls, a wait after each call (the next finds an idle device), milliseconds for seconds, a device that idles."""
    recorder, held = Recorder(), []
    monkeypatch.setattr(gpu, "array_module", lambda: type("xp", (), {"cuda": recorder}))
    monkeypatch.setattr(gpu, "keep_busy", held.append)

    def work():
        recorder.log.append("work")
        recorder.now += 4.0
    timer = gpu.GpuTimer()
    assert timer.times(work, 3) == [0.004] * 3 and recorder.log == ["event", "work", "event"] * 3 + ["wait"]
    timer.queueing[work] = 0.001
    timer.times(work, 10)
    timer.queueing[work] = 10.0
    timer.times(work, 10)
    assert held == [0.0, pytest.approx(0.013), gpu.MOST_HOLD]
    gpu.GpuTimer(back_to_back=False).times(work, 1)
    assert len(held) == 3


def test_inputs_are_other_copies_each_time(monkeypatch):
    """Kills: warm inputs called cold, copies with other numbers or another order in memory, more copies than memory should be asked for."""
    images = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    lying = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    monkeypatch.setattr(gpu, "l2_bytes", lambda: 100)
    following = gpu.rotation((lying, None, np.ones(1, np.float32)))
    several = [following() for _ in range(4)]  # 3 * 100 bytes, 100 at a time
    assert len({arrays[0].data.ptr for arrays in several}) == 3 and several[3][0] is several[0][0]
    for copy, nothing, one in several:
        assert copy.strides == lying.strides and np.array_equal(copy.get(), images) and nothing is None and one.tolist() == [1]
    warm = gpu.rotation((images,), cold=False)
    assert warm()[0] is warm()[0]
    numbers = iter(range(9))
    calls = gpu.in_turn(lambda: next(numbers).__int__, (images,))  # made four times: 96 bytes each
    assert [calls() for _ in range(5)] == [0, 1, 2, 3, 0]
    monkeypatch.setattr(gpu, "l2_bytes", lambda: 1 << 40)
    following = gpu.rotation((np.ones(1, np.float32),))
    assert len({following()[0].data.ptr for _ in range(2 * gpu.MOST_COPIES)}) == gpu.MOST_COPIES


def test_what_the_peaks_do(monkeypatch):
    """By hand, with a time of a second for each measurement. Kills: FLOPs of a thread for all, a multiply-add counted once, warps for threads."""
    monkeypatch.setattr(gpu, "least_seconds", lambda function, size, calls=5: function(gpu.array_module().empty(size, np.float32)) or 1.0)
    fp32, tf32 = gpu.peaks(steps=10**7 // 10**6, copied=1 << 12)
    threads = 2 * gpu.BLOCK
    assert fp32["gflops"] == round(2 * 8 * 10 * threads / 1e9, 1) and tf32["math"] == "tf32" and fp32["by"].startswith("own kernels")
    properties = type("Device", (), {"compute_capability": "90", "attributes": {"MultiProcessorCount": 132, "ClockRate": 1_980_000, "MemoryClockRate": 2_619_000,
                                                                               "GlobalMemoryBusWidth": 5120}})
    assert gpu.promised(properties) == {"fp32_gflops": 66908.2, "gbps": 3352.3}


def test_the_measuring_kernels_do_what_is_counted():
    """Kills: a copy that leaves out a part, multiply-adds that are not done."""
    xp = gpu.array_module()
    x, y = xp.asarray(np.arange(2048, dtype=np.float32)), xp.empty(2048, np.float32)
    gpu.launch(gpu.SOURCE, "copy", 2, 256, x, y, 2048)
    assert np.array_equal(y.get(), np.arange(2048))
    out = xp.empty(64, np.float32)
    gpu.launch(gpu.SOURCE, "multiply_add", 2, 32, out, 1000)
    factor, term = 1 - np.arange(32) * 1e-7, 1e-3
    np.testing.assert_allclose(out.get()[:32], 28 * factor**1000, rtol=1e-3)
    np.testing.assert_allclose(out.get()[32:] - out.get()[:32], 8 * term * 1000, rtol=0.01)
    gpu.launch(gpu.SOURCE, "tensor_cores", 1, 32, out, 2)
    assert np.isfinite(out.get()[:32]).all()


@pytest.mark.parametrize("setting", ["default", "channels_last", "im2col", "implicit"])
def test_our_convolutions(setting):
    """Kills: arguments in another order, a layout that does not reach the kernels."""
    layer = Layer("", 2, 4, 9, 7, 6, 3, 2, stride=(2, 1), padding=(2, 1), groups=2, bias=True)
    arrays = draw(layer)
    ours, = contestants([f"tinycnn:{setting}"], "conv", 1, HERE)[0]
    functions = ours.conv(layer, *arrays)
    for form, expected in validate.truth.answers(*arrays, layer, list(functions)).items():
        assert error(ours.array(functions[form]()), expected) < allowed(layer.length(form))


@pytest.mark.parametrize("training", [False, True])
def test_our_layers_have_other_inputs_each_time(training, monkeypatch):
    """As the rivals have. Kills: our layers measured on what is in the cache; gradients of the layer before; a plan for each
    copy, made within what is timed."""
    import tinycnn
    from tinycnn import nn
    from tinycnn.bench.graph import trace
    monkeypatch.setattr(gpu, "l2_bytes", lambda: 100)
    ours, = contestants(["tinycnn"], "layer", 1, HERE)[0]
    model, (x, dy) = nn.Sequential(nn.ReLU()), np.random.default_rng(0).standard_normal((2, 1, 2, 3, 4)).astype(np.float32)
    seen, tensor = [], tinycnn.from_numpy
    monkeypatch.setattr(tinycnn, "from_numpy", lambda array: seen.append(array) or tensor(array))
    fused, fuse = [], tinycnn.fuse
    monkeypatch.setattr(tinycnn, "fuse", lambda model: fused.append(fuse(model)) or fused[-1])
    run = ours.layer(model, None, x, dy) if training else ours.inference(model, trace(model.eval(), x.shape), x)
    assert len(seen) == 4  # twice both of 96 bytes, or four times one
    for _ in range(5):
        result = ours.array(run()[0] if training else run())
        np.testing.assert_array_equal(result, np.where(x > 0, dy, 0) if training else np.maximum(x, 0))
    assert [len(network.plans) for network in fused] == ([] if training else [1])


def test_tf32_only_where_it_is_asked_for():
    """Kills: rounded factors in a table of fp32, or exact ones in one of tf32."""
    layer = Layer("", 2, 16, 9, 8, 16, 3, 3, padding=(1, 1))
    arrays = draw(layer)
    expected = validate.truth.answers(*arrays, layer, ["forward"])["forward"]
    errors = {}
    for math in ("fp32", "tf32"):
        ours, = contestants(["tinycnn:default"], "conv", 1, Place("cuda", math, True))[0]
        errors[math] = error(ours.array(ours.conv(layer, *arrays)["forward"]()), expected)
    assert errors["fp32"] < allowed(144) < errors["tf32"] < allowed(144, "tf32")


def test_a_run_on_the_device(layer, tmp_path, monkeypatch):
    """Kills: rows without their precision, fp32 and tf32 as one task, results that cannot be read again, a nameless simulator, rivals missing without a reason."""
    monkeypatch.setattr(gpu, "peaks", lambda: PEAKS)
    files = tmp_path / "r.json", tmp_path / "plots"
    both, kept = ("--math", "fp32", "--math", "tf32"), ("--json", files[0], "--plot", files[1])
    done = bench("conv", layer, *QUICKLY, "--rivals", "standin,cudnn,cublas", *both, "--pass", "forward", *kept)
    assert done.exit_code == 0, done.output
    results = Results.from_json(files[0].read_text())
    rows = {(row.contestant, row.math): row for row in results.rows}
    assert set(rows) == {(name, math) for name in ("tinycnn", "tinycnn channels_last", "standin") for math in ("fp32", "tf32")}
    assert all(row.counts for row in rows.values())
    assert rows["standin", "fp32"].ratio > 0 and len(results.tasks()) == 2 and results.settings["cache"] == "cold" and results.environment["gpu"]["simulated"]
    assert set(results.skipped) >= {"cublas"} and "takes no part in 'conv'" in results.skipped["cublas"]
    assert "GPU: CPU simulator: times say nothing about a GPU" in done.output and "one, forward, batch 2, on the GPU, tf32" in done.output and "% of it" in done.output
    assert {path.name for path in files[1].iterdir()} == {f"{kind}-conv-small-forward-b2-{math}.png" for kind in ("bars", "roofline") for math in ("fp32", "tf32")}


def test_what_cannot_be_combined(layer):
    """Kills: options that are taken and mean nothing."""
    assert "give --device cuda" in bench("conv", layer, "--math", "tf32").output
    assert "it has no --device cuda" in bench("memory", "lenet5", "--device", "cuda").output
    assert "needs --device cuda" in str(bench("conv", layer, "--kernel", BYOK / "direct.cu:direct").exception)
    assert "unknown rival 'onnxruntime' on cuda (there are pytorch, cudnn" in str(bench("conv", layer, *QUICKLY, "--rivals", "onnxruntime").exception)
    assert set(everybody("cuda")) == {"pytorch", "cudnn", "cudnn_graph", "cublas"} and "cudnn" not in everybody("cpu")


SMALL = {"matmul": "9x20x30", "softmax": "3x10", "softmax_backward": "3x10", "cross_entropy": "3x10",
         **dict.fromkeys(("relu", "relu_backward", "add", "sgd", "adam"), "1025")}


def test_operations(tmp_path, monkeypatch):
    """Kills: an operation that is not measured, FLOPs or bytes of another, a rival without a reason; optimisers whose answer wanders from step to step."""
    monkeypatch.setattr(gpu, "peaks", lambda: PEAKS)
    both, kept = ("--math", "fp32", "--math", "tf32"), ("--json", tmp_path / "r.json")
    done = bench("operations", *map("=".join, SMALL.items()), *QUICKLY, "--rivals", "standin,cudnn,cublas", *both, *kept)
    assert done.exit_code == 0, done.output
    results = Results.from_json((tmp_path / "r.json").read_text())
    rows = {(row.what, row.contestant, row.math): row for row in results.rows}
    assert {key for key, row in rows.items() if row.counts} == {(name, who, math) for name in SMALL for who in ("tinycnn", "standin") for math in ("fp32", "tf32")} - {
        ("matmul", "tinycnn", "tf32")}
    assert all(row.ratio > 0 for (name, who, math), row in rows.items() if who == "standin" and (name, math) != ("matmul", "tf32"))
    assert results.skipped["tinycnn on matmul 9x20x30"] == "our matrix product rounds no factors" and set(results.skipped) >= {"cudnn", "cublas"}
    found = {name: (rows[name, "tinycnn", "fp32"].flops, rows[name, "tinycnn", "fp32"].bytes) for name in SMALL if name != "matmul"}
    assert found == {"softmax": (0, 240), "softmax_backward": (0, 360), "cross_entropy": (0, 240), "relu": (0, 8200), "relu_backward": (0, 12300), "add": (0, 12300),
                     "sgd": (0, 20500), "adam": (0, 28700)}
    product = rows["matmul", "tinycnn", "fp32"]
    assert (product.flops, product.bytes) == (2 * 9 * 20 * 30, 4 * (9 * 30 + 30 * 20 + 9 * 20)) and "20x30, matmul, batch 1, on the GPU, fp32" in done.output


@pytest.mark.parametrize("name", SMALL)
def test_operations_are_checked(name, monkeypatch):
    """Kills: a result that nobody compares, of several the first alone; what stays the same after a hundred steps."""
    size = tuple(map(int, SMALL[name].split("x")))
    operation = operations.OPERATIONS[name]
    arrays = operation.draw(np.random.default_rng(0), *size)
    expected = operations.exact(name, arrays)
    ours, = contestants(["tinycnn"], "operation", 1, Place("cuda", "fp32", False))[0]
    run = ours.operation(name, arrays)
    assert operations.check(ours, run, expected) < allowed(operation.length(*size))
    for _ in range(100):
        results = run()
    assert operations.check(ours, run, expected) < allowed(operation.length(*size)) and len(results) == len(expected)
    for number in range(len(expected)):
        wrong = [answer + (i == number) for i, answer in enumerate(expected)]
        assert operations.check(ours, run, wrong) > 0.01


@pytest.mark.parametrize("asked, message", [
    (["matmull"], "unknown operation 'matmull'; did you mean 'matmul'?"), (["matmul=3x4"], "the size of matmul is '3x4'; it must be MxNxK, numbers from 1 on, such as"),
    (["add=0"], "the size of add is '0'"), (["add="], "the size of add is ''"), (["softmax=3x-4"], "the size of softmax is '3x-4'"),
    (["--batch", 3], "bench operations has no --batch"), (["--device", "cpu"], "bench operations is about a GPU")])
def test_what_operations_can_be_asked_for(asked, message):
    """Kills: a size that is taken for another, options that are taken and mean nothing."""
    done = bench("operations", *QUICKLY, *asked)
    assert done.exit_code and message in " ".join(done.output.split())


def test_all_operations_unless_told_otherwise():
    assert {name for name, _ in operations.chosen(())} == set(operations.OPERATIONS) == set(SMALL)
    assert operations.chosen(["add=7", "relu"]) == [("add", (7,)), ("relu", operations.OPERATIONS["relu"].sizes[0])]


@pytest.mark.torch
def test_pytorchs_operations(monkeypatch):
    """On the CPU, since there is no GPU. Kills: arguments exchanged, an optimiser whose state is not the one that it was given."""
    torch = pytest.importorskip("torch")
    from tinycnn.bench.rivals.pytorch_cuda import PyTorchOnGpu
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    rival = PyTorchOnGpu("nchw", 1, Place("cpu", "fp32", False))
    for name, size in SMALL.items():
        arrays = operations.OPERATIONS[name].draw(np.random.default_rng(0), *map(int, size.split("x")))
        expected, run = operations.exact(name, arrays), rival.operation(name, arrays)
        for _ in range(3):
            assert operations.check(rival, run, expected) < 1e-5, name


# ---- kernels that somebody brings

def test_the_worked_example_is_right():
    """Kills: an example that is wrong, or claims more than it does."""
    right, report = run.check_kernel(f"{BYOK / 'direct.cu'}:direct", 1, HERE)
    assert right and "forward      17 of 19 cases right" in report and report.count("left out") == 2 == report.count("needs G == 1")


def test_python_on_device_arrays():
    kernel = run.own_kernel(BYOK / "on_device.py", 1, HERE)
    findings = validate.check(kernel.on_host(), validate.CASES[:3])
    assert len(findings) == 9 and all(finding.fault is None for finding in findings)


KERNEL = (BYOK / "direct.cu").read_text()


@pytest.mark.parametrize("change, message", [
    (("c = 0; c < C", "c = 1; c < C"), "elements are wrong"), (("q >= Q", "q + 1 >= Q"), "not finite"), (("r * dilation_h", "(R - 1 - r) * dilation_h"), "WRONG"),
    (("bias ? bias[k] : 0.0f", "0.0f"), "it is what comes out without the bias")])
def test_wrong_kernels_are_found(tmp_path, change, message):
    """Kills: elements that a kernel forgets and that hold the last answer; a check that does not launch."""
    assert change[0] in KERNEL
    (tmp_path / "k.cu").write_text(KERNEL.replace(*change))
    right, report = run.check_kernel(f"{tmp_path / 'k.cu'}:direct", 1, HERE)
    assert not right and message in report


@pytest.mark.parametrize("change, message", [
    (("// grid direct", "// grids direct"), "how direct is launched is missing: a comment // grid direct"), (("blocks(Q, 32)", "blocks(Z, 32)"), "NameError: name 'Z'"),
    (("int C,", "int channels,"), "what is its parameter 'channels'"), (("float* y", "const float* y"), "must write exactly one of y, dx and dw"),
    (("void __launch_bounds__(256) direct", "void __launch_bounds__(256) other"), "has no kernel 'direct': there are other")])
def test_descriptions_are_checked(tmp_path, change, message):
    """Kills: errors of Python's eval or of the launcher that do not say which line of the file is meant."""
    assert change[0] in KERNEL
    (tmp_path / "k.cu").write_text(KERNEL.replace(*change))
    with pytest.raises(ValueError, match="(?s).*" + message):
        run.own_kernel(f"{tmp_path / 'k.cu'}:direct", 1, HERE).conv(validate.CASES[0], *draw(validate.CASES[0]))


def test_a_backward_kernel_with_shared_memory(tmp_path):
    """Kills: dx or dw with the shape of y, shared memory that is not asked for, a result that is not zeroed where that was said."""
    (tmp_path / "k.cu").write_text("""// grid dw: K
// block dw: 32
// shared dw: 4 * P * Q
// zeroed dw
// needs dw: C == 1 and N == 1 and R == 1 and S == 1 and stride_h == 1 and padding_h == 0
#include "device.h"
extern "C" __global__ void dw(const float* dy, const float* x, float* dw, int P, int Q) {
    DYNAMIC_SHARED(float, held);
    for (int i = threadIdx.x; i < P * Q; i += 32) held[i] = dy[blockIdx.x * P * Q + i] * x[i];
    __syncthreads();
    if (threadIdx.x == 0)
        for (int i = 0; i < P * Q; ++i) dw[blockIdx.x] += held[i];
}
""")
    layer = Layer("", 1, 1, 4, 5, 3, 1, 1)
    kernel, arrays = run.own_kernel(f"{tmp_path / 'k.cu'}:dw", 1, HERE), draw(layer)
    function, = kernel.conv(layer, *arrays).values()
    assert kernel.form == "weight_grad" and error(function().get(), validate.truth.answers(*arrays, layer, ["weight_grad"])["weight_grad"]) < 1e-5
    with pytest.raises(NotImplementedError, match="needs C == 1"):
        kernel.conv(validate.CASES[0], *draw(validate.CASES[0]))["weight_grad"]()


@pytest.mark.torch
def test_pytorch_has_its_flags_and_other_inputs_each_time(monkeypatch):
    """On the CPU, since there is no GPU. Kills: TF32 on in fp32, flags left behind, warm inputs, an answer of another layer."""
    torch = pytest.importorskip("torch")
    from tinycnn.bench.rivals.pytorch_cuda import PyTorchOnGpu
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match="finds no GPU"):
        PyTorchOnGpu("nchw", 1, HERE)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(gpu, "l2_bytes", lambda: 2000)
    layer = Layer("", 2, 4, 9, 7, 6, 3, 2, stride=(2, 1), padding=(2, 1), groups=2, bias=True)
    arrays = draw(layer)
    expected = validate.truth.answers(*arrays, layer, ["forward", "input_grad", "weight_grad"])
    for math in ("fp32", "tf32"):
        rival, before = PyTorchOnGpu("nchw", 1, Place("cpu", math, True)), torch.backends.cudnn.allow_tf32
        with rival.running():
            assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == (math == "tf32") and torch.backends.cudnn.benchmark
            for form, function in rival.conv(layer, *arrays).items():
                for _ in range(3):
                    assert error(rival.array(function()), expected[form]) < 1e-5
        assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.torch
def test_pytorchs_cuda_graphs(monkeypatch):
    """With a compiler of the test, whose network writes where it wrote before, as a graph does. Kills: a result that the next call overwrites; no graphs asked for, or of
    who did not ask; graphs on the CPU; an eager step of training, or of a layer, under the name of a compiled one; weights that are not frozen, or are in training."""
    torch = pytest.importorskip("torch")
    import tinycnn
    from tinycnn import nn
    from tinycnn.bench.graph import trace
    from tinycnn.bench.rivals import Unsupported
    from tinycnn.bench.rivals.pytorch_cuda import PyTorchOnGpu
    asked = []

    def compiler(network, options):
        asked.append(options)
        kept = torch.empty(2, 3, 4, 4)
        return lambda images: kept.copy_(network(images))
    monkeypatch.setattr(torch, "compile", compiler)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    model, x = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU()).eval(), np.ones((2, 2, 4, 4), np.float32)
    graph = trace(model, x.shape)
    for setting, options in (("compiled", {"freezing": True}), ("cudagraphs", {"freezing": True, "triton.cudagraphs": True})):
        rival = PyTorchOnGpu(setting, 1, Place("cpu", "fp32", True))
        run = rival.inference(model, graph, x)
        first, second = run(), run()
        assert asked.pop() == options and (first.data_ptr() == second.data_ptr()) == (setting == "compiled")
        with tinycnn.no_grad():
            np.testing.assert_allclose(rival.array(first), model(tinycnn.from_numpy(x)).array, atol=1e-6)
    target = np.zeros((2, 4, 4), np.int64)
    for setting, options in (("nchw", []), ("channels_last", []), ("compiled", [None]), ("cudagraphs", [{"triton.cudagraphs": True}])):
        rival = PyTorchOnGpu(setting, 1, Place("cpu", "fp32", True))
        rival.training(model, graph, x, target)()
        assert asked == options
        asked.clear()
        if setting != "cudagraphs":
            assert len(rival.layer(model, graph, x, np.ones((2, 3, 4, 4), np.float32))()) == 3 and asked[:1] == options
            asked.clear()
    for setting in ("cudagraphs", "graph"):
        with pytest.raises(Unsupported, match="in whole networks only"):
            PyTorchOnGpu(setting, 1, Place("cpu", "fp32", True)).layer(model, graph, x, None)
    assert PyTorchOnGpu.settings_of("inference") == ("nchw", "channels_last", "compiled", "cudagraphs")
    assert PyTorchOnGpu.settings_of("training") == ("nchw", "channels_last", "compiled", "cudagraphs", "graph")
    assert PyTorchOnGpu.settings_of("layer") == ("nchw", "channels_last", "compiled")
    assert PyTorchOnGpu.settings_of("conv") == ("nchw", "channels_last")
    with pytest.raises(ValueError, match="pytorch has no setting 'cudagraphs': there are nchw, channels_last, compiled"):
        contestants(["pytorch:cudagraphs"], "inference", 1)
