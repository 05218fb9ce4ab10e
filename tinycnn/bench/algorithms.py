"""Why a convolution is computed the way it is: every algorithm on one layer, what the model expects of it and what it really does.

The choice is made by the model alone (kernels/conv/algorithms.py); what is measured here shows whether the model is right. Images lie channels-last, as they do
between fast kernels; filters are packed within the measured time, as in training.

For CUDA the model is a roofline of one device (kernels/conv/cuda_model.py), whose figures are shown too. Without a GPU, on the simulator, nothing is
measured: times there say nothing of a GPU.
"""
import math
from dataclasses import asdict, dataclass, field

import numpy as np

from ..kernels.conv import algorithms as cpu
from ..kernels.conv.sizes import sizes
from ..kernels.layout import from_nhwc, nhwc
from . import truth
from .layers import FORMS, Layer
from .measure import Plan, alternate
from .validate import draw, error

DEVICES = ("cpu", "cuda")


def algorithms_of(device):
    """The table of a device's algorithms: a module with ALGORITHMS, algorithm_module and choose."""
    if device == "cpu":
        return cpu
    from ..kernels.conv import cuda_algorithms
    return cuda_algorithms


@dataclass
class Candidate:
    """One algorithm on one form of a layer. Seconds; bytes; sigma of the answer. What it cannot do has no figures."""

    form: str
    algorithm: str
    predicted: float = math.inf
    terms: dict = field(default_factory=dict)  # what the prediction consists of, where the algorithm tells
    scratch: int = 0
    chosen: bool = False
    why: str = ""
    median: float | None = None
    quartiles: tuple | None = None
    gflops: float | None = None
    error: float | None = None
    noise: str = ""  # why the figure is not to be trusted
    stages: list = field(default_factory=list)  # on CUDA: what it does, one launch after the other


def candidates(layer, dtype=np.float32, algorithm=None, device="cpu"):
    """[Candidate] of all forms and algorithms, predicted but not measured."""
    dtype, n, rows, known = np.dtype(dtype), sizes(layer.x_shape, layer.w_shape, layer.geometry), [], algorithms_of(device)
    for form in FORMS:
        chosen = known.choose(form, layer.x_shape, layer.w_shape, layer.geometry, dtype, algorithm).NAME
        costs = {name: known.algorithm_module(name).cost(form, n, layer.geometry, dtype) for name in known.ALGORITHMS}
        for name, cost in sorted(costs.items(), key=lambda item: item[1]):
            row = Candidate(form, name, cost, chosen=name == chosen)
            row.why = reason(name, chosen, costs, only_if_asked(device))
            if cost < math.inf:
                module = known.algorithm_module(name)
                row.scratch = int(module.scratch(form, n, layer.geometry)) * dtype.itemsize
                row.terms = module.terms(form, n, layer.geometry, dtype) if hasattr(module, "terms") else {}
                row.stages = [describe(stage) for stage in module.stages(form, n, layer.geometry, dtype)] if device == "cuda" else []
            rows.append(row)
    return rows


def only_if_asked(device):
    """The algorithms that the model leaves out."""
    return {name for name, (_, asked) in algorithms_of(device).ALGORITHMS.items() if asked} if device == "cuda" else set()


def reason(name, chosen, costs, asked=()):
    """Why an algorithm is taken, or not. asked: those that are taken only if asked for."""
    if costs[name] == math.inf:
        return "cannot do this layer"
    cheapest = min((other for other in costs if other not in asked), key=costs.get)
    if name != chosen:
        if name in asked:
            return f"rounds its factors, so only if asked for; expected to take {costs[name] / costs[chosen]:.2f} times as long as {chosen}"
        return f"expected to take {costs[name] / costs[chosen]:.1f} times as long as {chosen}" if chosen == cheapest else f"overruled in favour of {chosen}"
    if name != cheapest:
        return f"asked for (TINYCNN_CONV{'_CUDA' * bool(asked)}, or measured: TINYCNN_AUTOTUNE), although {cheapest} is expected to be faster"
    others = sorted(cost for other, cost in costs.items() if other != name and other not in asked and cost < math.inf)
    return f"expected to be fastest, the next would take {others[0] / costs[name]:.1f} times as long" if others else "the only one that can"


def describe(stage):
    """A Stage of kernels/conv/cuda_model.py for people and programs; what the compiler reports, where it is installed."""
    from ..kernels.conv import cuda_model
    found = {"name": stage.name, "seconds": cuda_model.stage_seconds(stage), "flops": stage.flops, "bytes": stage.bytes, "launches": stage.launches,
             "blocks": stage.blocks, "kernel": stage.kernel.name}
    report = cuda_model.resident(stage.kernel)
    return found if report is None else found | dict(zip(("warps", "registers", "shared"), report))


def measured(layer, rows, plan=None, dtype=np.float32, tell=lambda text: None, device="cpu"):
    """Fill in what the candidates really do."""
    plan = plan or Plan()
    x, w, bias, dy = (None if array is None else array.astype(dtype) for array in draw(layer))
    x, dy = (from_nhwc(np.ascontiguousarray(nhwc(array))) for array in (x, dy))
    for form in FORMS:
        able = {row.algorithm: row for row in rows if row.form == form and row.predicted < math.inf}
        tell(f"{form}: float64")
        expected = truth.answers(x, w, bias, dy, layer, [form])[form]
        make = run if device == "cpu" else run_on_device
        runs = {name: make(form, algorithms_of(device).algorithm_module(name), x, w, bias, dy, layer.geometry) for name in able}
        for name, row in able.items():
            answer = runs[name]()
            row.error = error(answer if device == "cpu" else answer.get(), expected)
        tell(f"{form}: timing")
        for name, sample in alternate(runs, plan).items():
            row = able[name]
            row.median, row.quartiles, row.gflops = sample.median, sample.quartiles, layer.flops / sample.median / 1e9 if sample.median else None
            row.noise = sample.refusal(plan) or ""
    return rows


def run(form, module, x, w, bias, dy, geometry):
    """A function without arguments."""
    if form == "input_grad":
        return lambda: module.input_grad(dy, w, x.shape, geometry)
    if form == "weight_grad":
        return lambda: module.weight_grad(dy, x, w.shape, geometry)
    return lambda: module.forward(x, module.pack(w, x.shape, geometry, once=True), w.shape, bias, geometry)


def run_on_device(form, module, x, w, bias, dy, geometry):
    """The same on the device: until it is done."""
    from ..kernels.cuda import array_module
    xp = array_module()
    x, dy = (xp.asarray(nhwc(array)).transpose(0, 3, 1, 2) for array in (x, dy))
    w, bias = xp.asarray(w), None if bias is None else xp.asarray(bias)
    calls = {"forward": lambda: module.forward(x, w, bias, geometry), "input_grad": lambda: module.input_grad(dy, w, x.shape, geometry),
             "weight_grad": lambda: module.weight_grad(dy, x, w.shape, geometry)}

    def wait_for():
        answer = calls[form]()
        xp.cuda.Device().synchronize()
        return answer
    return wait_for


# ---- which layer

def layer_of_network(path, batch, image_size=None):
    """The Layer called MODEL.LAYER, such as resnet50.layer1.0.conv2, of the published network."""
    from .. import models
    from .graph import trace
    name, _, wanted = path.partition(".")
    options = {} if image_size is None else {"image_size": image_size}
    C, size, _ = models.default_input(name)
    graph = trace(models.build(name, init=None, **options).eval(), (1, C, *[image_size or size] * 2))
    found = {node.weights["weight"].removesuffix(".weight"): node for node in graph.nodes if node.op == "conv"}
    if wanted not in found:
        raise ValueError(f"{name} has no convolution {wanted!r}; it has {', '.join(found)}")
    node = found[wanted]
    (C, H, W), (K, _, R, S) = graph.shape(node.inputs[0]), graph.values[node.weights["weight"]].shape
    return Layer(path, batch, C, H, W, K, R, S, **node.options, bias="bias" in node.weights)


# ---- how it prints

def table(layer, rows, threads, device="cpu"):
    """The candidates as text."""
    where = f"{threads} thread{'s' * (threads > 1)}" if device == "cpu" else "CUDA"
    width = max(9, *(len(row.algorithm) for row in rows))
    lines = [f"{layer}, batch {layer.N}, {where}: {layer.flops / 1e9:.3g} GFLOP, {layer.bytes / 2**20:.3g} MiB"]
    for form in FORMS:
        mine = [row for row in rows if row.form == form]
        lines += ["", f"{form:{width + 2}}  expected ms   median ms   quartiles            GFLOP/s   scratch    error",
                  *(f"{'*' if row.chosen else ' '} {row.algorithm:{width}}  {cells(row)}" for row in mine)]
        for row in mine:
            lines.append(f"  {row.algorithm}: {row.why}{terms(row)}{'; ' + row.noise if row.noise else ''}")
            lines += [f"      {stage_text(stage)}" for stage in row.stages]
    return "\n".join(lines)


def stage_text(stage):
    """products 0.1 ms: 3.7 GFLOP, 40 MiB, 784 blocks of multiply_large (16 of 64 warps: 124 registers, 16.5 KiB shared)"""
    parts = [f"{stage['flops'] / 1e9:.3g} GFLOP" * bool(stage["flops"]), f"{stage['bytes'] / 2**20:.3g} MiB"]
    work = f"{stage['blocks']} blocks of {stage['kernel']}" if stage["blocks"] else stage["kernel"]
    report = f" ({stage['warps']} of 64 warps: {stage['registers']} registers, {stage['shared'] / 1024:.3g} KiB shared)" if "warps" in stage else ""
    return f"{stage['name']} {1e3 * stage['seconds']:.3g} ms: {', '.join([part for part in parts if part] + [work])}{report}"


def cells(row):
    if row.predicted == math.inf:
        return f"{'-':>11}"
    text = f"{1e3 * row.predicted:11.4g}   "
    if row.median is None:
        return f"{text}{'':52}{row.scratch / 2**20:6.2f} MiB"
    low, high = row.quartiles
    quartiles = f"{1e3 * low:.4g} - {1e3 * high:.4g}"
    return f"{text}{1e3 * row.median:9.4g}   {quartiles:17} {row.gflops or 0:10.1f}   {row.scratch / 2**20:5.2f} MiB  {row.error:.1e}"


def terms(row):
    return f" ({', '.join(f'{name} {1e3 * seconds:.3g} ms' for name, seconds in row.terms.items())})" if row.terms else ""


def as_dict(layer, rows, threads):
    """For JSON, which knows no infinity."""
    plain = [{key: None if value == math.inf else value for key, value in asdict(row).items()} for row in rows]
    return {"layer": layer._asdict(), "threads": threads, "flops": layer.flops, "candidates": plain}
