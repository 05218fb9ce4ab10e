"""Why a convolution is computed the way it is: every algorithm on one layer, what the model expects of it and what it really does.

The choice is made by the model alone (kernels/conv/algorithms.py); what is measured here shows whether the model is right. Images lie channels-last, as they do
between fast kernels; filters are packed within the measured time, as in training.
"""
import math
from dataclasses import asdict, dataclass, field

import numpy as np

from ..kernels.conv.algorithms import ALGORITHMS, algorithm_module, choose
from ..kernels.conv.sizes import sizes
from ..kernels.layout import from_nhwc, nhwc
from . import truth
from .layers import FORMS, Layer
from .measure import Plan, alternate
from .validate import draw, error


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


def candidates(layer, dtype=np.float32, algorithm=None):
    """[Candidate] of all forms and algorithms, predicted but not measured."""
    dtype, n, rows = np.dtype(dtype), sizes(layer.x_shape, layer.w_shape, layer.geometry), []
    for form in FORMS:
        chosen = choose(form, layer.x_shape, layer.w_shape, layer.geometry, dtype, algorithm).NAME
        costs = {name: algorithm_module(name).cost(form, n, layer.geometry, dtype) for name in ALGORITHMS}
        for name, cost in sorted(costs.items(), key=lambda item: item[1]):
            row = Candidate(form, name, cost, chosen=name == chosen)
            row.why = reason(name, chosen, costs)
            if cost < math.inf:
                module = algorithm_module(name)
                row.scratch = int(module.scratch(form, n, layer.geometry)) * dtype.itemsize
                row.terms = module.terms(form, n, layer.geometry, dtype) if hasattr(module, "terms") else {}
            rows.append(row)
    return rows


def reason(name, chosen, costs):
    """Why an algorithm is taken, or not."""
    if costs[name] == math.inf:
        return "cannot do this layer"
    cheapest = min(costs, key=costs.get)
    if name != chosen:
        return f"expected to take {costs[name] / costs[chosen]:.1f} times as long as {chosen}" if chosen == cheapest else f"overruled in favour of {chosen}"
    if name != cheapest:
        return f"asked for (TINYCNN_CONV, or measured: TINYCNN_AUTOTUNE), although {cheapest} is expected to be faster"
    others = sorted(cost for other, cost in costs.items() if other != name and cost < math.inf)
    return f"expected to be fastest, the next would take {others[0] / costs[name]:.1f} times as long" if others else "the only one that can"


def measured(layer, rows, plan=None, dtype=np.float32, tell=lambda text: None):
    """Fill in what the candidates really do."""
    plan = plan or Plan()
    x, w, bias, dy = (None if array is None else array.astype(dtype) for array in draw(layer))
    x, dy = (from_nhwc(np.ascontiguousarray(nhwc(array))) for array in (x, dy))
    for form in FORMS:
        able = {row.algorithm: row for row in rows if row.form == form and row.predicted < math.inf}
        tell(f"{form}: float64")
        expected = truth.answers(x, w, bias, dy, layer, [form])[form]
        runs = {name: run(form, algorithm_module(name), x, w, bias, dy, layer.geometry) for name in able}
        for name, row in able.items():
            row.error = error(runs[name](), expected)
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
    return lambda: module.forward(x, module.pack(w, x.shape, geometry), w.shape, bias, geometry)


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

def table(layer, rows, threads):
    """The candidates as text."""
    lines = [f"{layer}, batch {layer.N}, {threads} thread{'s' * (threads > 1)}: {layer.flops / 1e9:.3g} GFLOP, {layer.bytes / 2**20:.3g} MiB"]
    for form in FORMS:
        lines += ["", f"{form:11}  expected ms   median ms   quartiles            GFLOP/s   scratch    error",
                  *(f"{'*' if row.chosen else ' '} {row.algorithm:9}  {cells(row)}" for row in rows if row.form == form)]
        lines += [f"  {row.algorithm}: {row.why}{terms(row)}{'; ' + row.noise if row.noise else ''}" for row in rows if row.form == form]
    return "\n".join(lines)


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
