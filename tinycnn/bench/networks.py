"""Whole networks (inference, a step of training), and their layers one by one.

All contestants get the same network on the same weights: He's initial values, and BatchNorms whose statistics and weights are drawn too, since at their initial
values they would do nothing that could go wrong. Answers are checked before and after the timing: scores against float64; for training the gradients of all
parameters, with dropout off, which the timing has on.
"""
import numpy as np

import tinycnn
from tinycnn import models, nn
from tinycnn.nn import functional as F

from . import truth
from .graph import trace
from .kernels import clocks_of
from .measure import alternate, timer_for
from .modules import NAMES, describe, module_of, signature
from .results import Row, compare, timed
from .rivals import Place, Unsupported
from .rivals.base import TrainingStep
from .validate import error

MOST_ERROR = {"inference": 1e-3, "training": 1e-2, "layer": 1e-3}  # sigma of the scores; of all gradients together; sigma of a layer's result
AMPLIFIED = 4  # times the error of plain summation in float32 is rounding too: a deep network's gradients jump where a rectifier's input changes sign


def drawn(model, seed=0):
    """The model, with BatchNorms that do something."""
    rng = np.random.default_rng(seed)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor, low, high in ((layer.weight, 0.5, 1.5), (layer.bias, -0.1, 0.1), (layer.running_mean, -0.1, 0.1), (layer.running_var, 0.5, 1.5)):
                tensor.array[...] = rng.uniform(low, high, tensor.shape)
    return model


def build(name, options=None):
    """The network called `name` with weights that depend on nothing but its options."""
    tinycnn.manual_seed(0)
    return drawn(models.build(name, **{"init": "he", **(options or {})}))


def inputs(name, batch, options=None):
    """(images, class numbers)"""
    options = options or {}
    C, size, _ = models.default_input(name)
    size = options.get("image_size", size)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((batch, options.get("in_channels", C), size, size), np.float32)
    return x, rng.integers(0, options.get("num_classes", 10), batch)


def measure_network(contestants, name, level, batch, results, plan, threads, options=None, tell=lambda text: None):
    """Add the rows of one network, at the level "inference" or "training"."""
    tell(f"{name}, {level}, batch {batch}: float64")
    exact_threads = truth.threads_for(contestants[0].place, threads) if contestants else threads
    model = build(name, options)
    x, target = inputs(name, batch, options)
    graph = trace(model.train(level == "training"), x.shape)
    key = level, name, sorted((options or {}).items()), batch
    if level == "inference":
        expected, limit = truth.kept(lambda: exact_scores(name, options, x, exact_threads), *key), MOST_ERROR[level]
    else:
        expected = truth.kept(lambda: exact_gradients(name, options, x, target, exact_threads), *key)
        rounded = truth.kept(lambda: distance(exact_gradients(name, options, x, target, exact_threads, np.float32), expected), *key, "float32")
        limit = max(MOST_ERROR[level], AMPLIFIED * rounded)
    runs = {}
    for contestant in contestants:
        tell(f"{name}, {level}, batch {batch}: {contestant.name} gets ready")
        own = build(name, options) if contestant.library == "tinycnn" else model
        try:
            with contestant.running():
                run = contestant.inference(own, graph, x) if level == "inference" else contestant.training(own, graph, x, target)
        except Exception as failure:  # another library's, or Unsupported: it must not stop the others
            results.skipped[f"{contestant.name} on {name}, {level}"] = reason(failure)
            continue
        runs[contestant.name] = contestant, run
    tell(f"{name}, {level}, batch {batch}: timing")
    row = Row(level, name, name, level, "", "", batch, threads, plan.cache)
    training = level == "training"
    least = graph.least_seconds(batch, results.peak(threads, place_of(runs).math), training)
    check = check_scores if level == "inference" else check_gradients
    results.rows += measure_task(row, runs, expected, check, limit, plan, results, graph.flops(batch, training), graph.moved(batch, training), least)


def reason(failure):
    return str(failure) if isinstance(failure, Unsupported) else f"{type(failure).__name__}: {str(failure).strip().partition(chr(10))[0]}"


def measure_task(template, runs, expected, check, limit, plan, results, flops, moved, least=None):
    """The rows of one task. check(contestant, run, expected): its error, of which `limit` is allowed."""
    rows, right, place = {}, {}, place_of(runs)
    limit += 2**-7 * AMPLIFIED if place.math == "tf32" else 0  # see validate.py
    for name, (contestant, run) in runs.items():
        rows[name] = row = Row(**{**template.__dict__, "contestant": name, "library": contestant.library, "math": place.math, "choice": getattr(run, "choice", "")})
        try:
            row.error = check(contestant, run, expected)
        except Exception as failure:  # compiled when first called, by another library
            row.refused = f"fails: {reason(failure)}"
            continue
        row.refused = verdict(row.error, limit)
        if not row.refused:
            right[name] = contestant, run
    samples = alternate({name: run for name, (_, run) in right.items()}, plan, {name: contestant.running for name, (contestant, _) in right.items()},
                        timer=timer_for(place, plan, back_to_back=template.level in ("layer", "operation")))
    clocks = clocks_of(place)
    for name, (contestant, run) in right.items():
        row = timed(rows[name], samples[name], results.peak(row.threads, place.math), plan, flops, moved, least)
        row.error_after, row.clocks = check(contestant, run, expected), clocks
        row.refused = row.refused or verdict(row.error_after, limit, " after the timing")
    compare(list(rows.values()), samples)
    return list(rows.values())


def place_of(runs):
    """Where they all compute."""
    return next((contestant.place for contestant, _ in runs.values()), Place())


def verdict(off, limit, when=""):
    return "" if off is None or off <= limit else f"wrong{when}: off by {off:.2g}, at most {limit:g} is rounding"


# ---- inference

def exact_scores(name, options, x, threads):
    model = build(name, options).eval().double()
    with truth.engine(threads), tinycnn.no_grad():
        return model(tinycnn.from_numpy(x.astype(np.float64))).array


def check_scores(contestant, run, expected):
    with contestant.running():
        return error(contestant.array(run()), expected)


# ---- training

def exact_gradients(name, options, x, target, threads, dtype=np.float64):
    """{parameter: gradient}, without dropout."""
    model = build(name, options).train().to(np.dtype(dtype))
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    with truth.engine(threads):
        outputs = model(tinycnn.from_numpy(x.astype(dtype)))
        scores, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
        loss = F.cross_entropy(scores, tinycnn.from_numpy(target))
        for extra in auxiliary:
            loss = loss + TrainingStep.AUXILIARY * F.cross_entropy(extra, tinycnn.from_numpy(target))
        loss.backward()
    return {name: parameter.grad.array for name, parameter in model.named_parameters()}


def check_gradients(contestant, step, expected):
    """The length of the error over the length of the gradient, all parameters together."""
    step.dropout(False)
    with contestant.running():
        step()
    _, gradients = step.gradients()
    step.dropout(True)
    missing = sorted(set(expected) - set(gradients))
    if missing:
        raise ValueError(f"no gradient for {', '.join(missing[:3])} ({len(missing)} parameters)")
    return distance(gradients, expected)


def distance(gradients, expected):
    """The length of the difference over the length of what is expected, all parameters together."""
    off = sum(float(np.sum(np.square(gradients[name] - gradient))) for name, gradient in expected.items())
    off = (off / sum(float(np.sum(np.square(gradient))) for gradient in expected.values())) ** 0.5
    return off if np.isfinite(off) else float("inf")


# ---- the layers of a network

def measure_network_layers(contestants, name, batch, results, plan, threads, options=None, tell=lambda text: None):
    """Add the rows of every distinct layer of a network, by itself: forward as in inference, and forward and backward in training."""
    x, _ = inputs(name, 1, options)
    graph = trace(build(name, options).train(), x.shape)
    counts = {}
    for node in graph.nodes:
        if node.op not in ("add", "cat", "flatten"):
            counts.setdefault(signature(graph, node), [node, 0])[1] += 1
    for node, count in counts.values():
        tell(f"{name}, {describe(graph, node)}")
        measure_layer(contestants, name, graph, node, count, batch, results, plan, threads)


def measure_layer(contestants, name, graph, node, count, batch, results, plan, threads):
    """The rows of one layer."""
    rng = np.random.default_rng(2)
    x, dy = (rng.standard_normal((batch, *shape), np.float32) for shape in (graph.shape(node.inputs[0]), node.shape))
    model = single(graph, node)
    exact, flops, dropout = single(graph, node).double(), 2 * batch * graph.macs(node), node.op == "dropout"
    for what in ("training",) if dropout else ("forward", "training"):
        training = what == "training"
        alone = trace(model.train(training), x.shape)
        with truth.engine(truth.threads_for(contestants[0].place, threads) if contestants else threads):
            expected = None if dropout else truth.kept(lambda: exact_result(exact.train(training), x.astype(np.float64), dy.astype(np.float64)),  # noqa: B023
                                                       "layer", name, node.name, x.shape, what)
        runs = {}
        for contestant in contestants:
            if training and not {"training", "layer"} & set(contestant.levels):
                continue
            try:
                with contestant.running():
                    own = single(graph, node)
                    runs[contestant.name] = contestant, contestant.layer(own, alone, x, dy) if training else contestant.inference(own, alone, x)
            except Exception as failure:
                results.skipped[f"{contestant.name} on {describe(graph, node)}, {what}"] = reason(failure)
        moved = 4 * batch * (x[0].size + dy[0].size) + sum(array.nbytes for array in alone.values.values())
        row = Row("layer", name, describe(graph, node), what, "", "", batch, threads, plan.cache, count=count)
        check = (lambda *_: None) if dropout else check_layer_gradients if training else check_scores
        results.rows += measure_task(row, runs, expected, check, MOST_ERROR["layer"], plan, results, flops * (3 if training else 1), moved * (2 if training else 1))


def check_layer_gradients(contestant, run, expected):
    """The worst of the gradients."""
    with contestant.running():
        return max(error(contestant.array(gradient), exact) for gradient, exact in zip(run(), expected, strict=True))


def single(graph, node):
    """A network of this layer alone, with its weights."""
    values = {part: graph.values[name] for part, name in node.weights.items()}
    module = module_of(nn, node, values)
    for part, value in values.items():
        getattr(module, NAMES.get(part, part)).array[...] = value
    if node.op == "relu":
        module.inplace = False
    return nn.Sequential(module)


def exact_result(model, x, dy):
    """The scores, or in training mode the gradients of x and of the weights."""
    images = tinycnn.from_numpy(x)
    if not model.training:
        with tinycnn.no_grad():
            return model(images).array
    images.requires_grad_()
    model(images).backward(tinycnn.from_numpy(dy))
    return [tensor.grad.array for tensor in (images, *model.parameters())]
