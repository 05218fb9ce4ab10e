"""The optimisation ladder: one convolution from seven loops in Python to the library's kernels, forward and both gradients, an idea at a time.

    python benchmarks/ladder/run.py             64 channels to 64 filters, 3x3, of 4 images of 56 x 56: a layer of ResNet-50
    python benchmarks/ladder/run.py --quick     the same in less time, not kept
    python benchmarks/ladder/run.py --channels 256 --filters 256 --size 14 --batch 1         another layer; stride is 1

Each step is first compared with float64 and then timed, all of them taking turns in rounds. GFLOP/s are FLOPs of the definition (2 for each product) per second,
whatever a step really does. Images lie as each step wants them (NCHW, or channels last), as they would between layers; filters are as a network keeps them, and
packing them is in the time. The pure Python of step 0 runs on a part of the layer. Steps 0 to 2 have one thread; the others --threads.

Measured in full and undisturbed, the usual layer's figures go to benchmarks/results/ladder.json, docs/images/ladder.png and docs/ladder.md.
"""
import argparse
import json
import sys
import tokenize
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
from page import page
from threadpoolctl import threadpool_limits

import tinycnn
from tinycnn.bench import machine, truth
from tinycnn.bench.layers import FORMS, Layer
from tinycnn.bench.measure import Plan, alternate
from tinycnn.bench.plots import figure, save
from tinycnn.bench.validate import allowed, draw, error

HERE = Path(__file__).parent
STEPS = ("step0_python", "step1_numba", "step2_reordered", "step3_channels_last", "step4_tiled", "step5_columns", "step6_registers", "step7_implicit", "step8_winograd")
RESULTS, DOCS = HERE.parent / "results" / "ladder.json", HERE.parents[1] / "docs"


def steps(layer):
    """[(name, module, the layer or part of it that this step computes)] of those that can."""
    found = []
    for name in STEPS:
        module = import_module(name)
        if getattr(module, "can", lambda layer: True)(layer):
            found.append((name, module, module.part(layer) if hasattr(module, "part") else layer))
    return found


def functions(module, layer, arrays):
    """{form: function without arguments}; its result is turned to NCHW by `logical`."""
    x, w, _, dy = arrays
    if module.ORDER == "NHWC":
        x, dy = (np.ascontiguousarray(array.transpose(0, 2, 3, 1)) for array in (x, dy))
    padding = layer.padding[0]
    return {"forward": partial(module.forward, x, w, padding), "input_grad": partial(module.input_grad, dy, w, padding),
            "weight_grad": partial(module.weight_grad, dy, x, padding)}


def logical(result, module, form):
    return result.transpose(0, 3, 1, 2) if module.ORDER == "NHWC" and form != "weight_grad" else result


def check(found):
    """{name: {form: error in sigma}} of all steps. Raises ValueError where one is wrong: nothing is timed that gives wrong answers."""
    errors = {}
    for name, module, layer in found:
        arrays = draw(layer)
        expected = truth.answers(*arrays[:2], None, arrays[3], layer, FORMS)
        errors[name] = {}
        for form, function in functions(module, layer, arrays).items():
            answer = logical(function(), module, form)
            if answer.shape != expected[form].shape:
                raise ValueError(f"{name}, {form}: the result has shape {answer.shape}, it must be {expected[form].shape}")
            errors[name][form] = off = error(answer, expected[form])
            if off > allowed(layer.length(form)):
                raise ValueError(f"{name}, {form}, is wrong by {off:.2g} sigma; rounding explains {allowed(layer.length(form)):.1g}")
    return errors


def measure(found, plan, threads, tell):
    """{name: {form: Sample}}, a form at a time."""
    samples = {name: {} for name, _, _ in found}
    for form in FORMS:
        tell(f"timing {form}")
        runs = {name: functions(module, layer, draw(layer))[form] for name, module, layer in found}
        blas = {name: partial(threadpool_limits, threads if name == "step5_columns" else 1, "blas") for name in runs}
        for name, sample in alternate(runs, plan, blas).items():
            samples[name][form] = sample
    return samples


def epilogue(layer, plan):
    """{"separate", "fused": (Sample, error in sigma)} of step 9, with bias and ReLU."""
    module, (x, w, bias, _) = import_module("step9_fused"), draw(layer._replace(bias=True))
    expected = np.maximum(truth.answers(x, w, bias, np.empty(0), layer, ["forward"])["forward"], 0)
    x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    runs = {name: partial(getattr(module, name), x, w, bias, layer.padding[0]) for name in ("separate", "fused")}
    errors = {name: error(run().transpose(0, 3, 1, 2), expected) for name, run in runs.items()}
    for name, off in errors.items():
        if off > allowed(layer.length("forward")):
            raise ValueError(f"step9_fused, {name}, is wrong by {off:.2g} sigma")
    return {name: (sample, errors[name]) for name, sample in alternate(runs, plan).items()}


def lines_of_code(module):
    """Lines that hold code, neither comments nor docstrings, of a step's file and of what it calls of the library."""
    files = [Path(module.__file__)] + [Path(tinycnn.kernels.__file__).parent / source for source in getattr(module, "SOURCES", ())]
    return sum(map(count_lines, files))


def count_lines(path):
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER)
    lines, first = set(), True  # first: of a statement, where a string is a docstring
    with open(path, "rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type not in silent and not (first and token.type == tokenize.STRING):
                lines.update(range(token.start[0], token.end[0] + 1))
                first = False
            elif token.type == tokenize.NEWLINE:
                first = True
    return len(lines)


def figures(sample, flops, off, peak, before, plan):
    """What is kept of one step and form. before: the GFLOP/s of the step before, or None."""
    gflops = flops / sample.median / 1e9
    return {"milliseconds": 1e3 * sample.median, "quartiles": [1e3 * quartile for quartile in sample.quartiles], "gflops": gflops,
            "share_of_peak": gflops / peak["gflops"], "speed_up": gflops / before if before else None, "error": off, "noise": sample.refusal(plan)}


def ladder(layer, plan, threads, tell=lambda text: None):
    """The whole measurement, as it goes into the JSON file."""
    found = steps(layer)
    tell("comparing with float64")
    errors = check(found)
    peak = machine.peak(threads)
    samples = measure(found, plan, threads, tell)
    rows, before = [], dict.fromkeys(FORMS)
    for name, module, part in found:
        forms = {form: figures(samples[name][form], part.flops, errors[name][form], peak, before[form], plan) for form in FORMS}
        before = {form: forms[form]["gflops"] for form in FORMS}
        rows.append({"step": name, "idea": module.IDEA, "order": module.ORDER, "lines": lines_of_code(module),
                     "part": None if part == layer else part._asdict(), "forms": forms})
    tell("timing bias and ReLU")
    last = {}
    for name, (sample, off) in epilogue(layer, plan).items():
        last[name] = figures(sample, layer.flops, off, peak, last["separate"]["gflops"] if last else None, plan)
    return {"layer": layer._asdict(), "flops": layer.flops, "threads": threads, "peak": peak, "environment": machine.environment(), "steps": rows, "epilogue": last}


def noise(result):
    """Which figures do not count, and why."""
    forms = [(f"{row['step']}, {form}", row["forms"][form]) for row in result["steps"] for form in FORMS]
    last = [(f"step9_fused, {name}", row) for name, row in result["epilogue"].items()]
    return [f"{what}: {row['noise']}" for what, row in forms + last if row["noise"]]


def table(result):
    """The measurement as text."""
    layer, peak = Layer(**{key: tuple(value) if isinstance(value, list) else value for key, value in result["layer"].items()}), result["peak"]
    lines = [f"{layer}, batch {layer.N}: {layer.flops / 1e9:.3g} GFLOP; {result['threads']} threads can do {peak['gflops']:g} GFLOP/s and move {peak['gbps']:g} GB/s",
             "GFLOP/s of the definition, share of the peak, times the step before, for each pass", "",
             f"{'':22}" + "".join(f"{form:>25}" for form in FORMS) + "   lines  idea"]
    for row in result["steps"]:
        idea = row["idea"] + (" (a part of the layer)" if row["part"] else "")
        lines.append(f"{row['step']:22}" + "".join(cell(row["forms"][form]) for form in FORMS) + f"{row['lines']:8}  {idea}")
    for name, row in result["epilogue"].items():
        lines.append(f"{f'step9_fused, {name}':22}" + cell(row) + f"{'':58}  bias and ReLU, {name}: {row['milliseconds']:.3g} ms")
    return "\n".join([*lines, "", f"largest error of any step: {worst(result):.1e} sigma", *noise(result)])


def worst(result):
    return max(row["forms"][form]["error"] for row in result["steps"] for form in FORMS)


def cell(row):
    times = f"x{row['speed_up']:.3g}" if row["speed_up"] else ""
    return f"{row['gflops']:10.4g} {row['share_of_peak']:6.1%} {times:>7}"


def picture(result, path):
    """A bar for each step and pass, on a logarithmic axis, below the machine's peak."""
    chart, axes = figure(9, 4.5, f"{result['threads']} threads, {result['environment']['date'][:10]}")
    for i, form in enumerate(FORMS):
        axes.bar([j + 0.27 * (i - 1) for j in range(len(result["steps"]))], [row["forms"][form]["gflops"] for row in result["steps"]], 0.26, label=form)
    axes.axhline(result["peak"]["gflops"], color="black", linewidth=0.8, label="all that the machine can do")
    axes.set_xticks(range(len(result["steps"])), [row["step"].removeprefix("step").replace("_", "\n", 1).replace("_", " ") for row in result["steps"]], fontsize=8)
    axes.set(yscale="log", ylabel="GFLOP/s of the definition")
    axes.legend(fontsize=8)
    return save(chart, path)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default, text in (("channels", 64, "C"), ("filters", 64, "K"), ("size", 56, "H and W"), ("kernel", 3, "R and S"), ("batch", 4, "N")):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{text}; {default} unless given")
    parser.add_argument("--padding", type=int, help="half the kernel unless given")
    parser.add_argument("--threads", type=int, default=tinycnn.get_num_threads(), help="of steps 3 to 9; all cores unless given")
    parser.add_argument("--quick", action="store_true", help="two short rounds: an impression, not a measurement")
    parser.add_argument("--json", type=Path, help="a file for the figures, whatever they are worth")
    parser.add_argument("--plot", type=Path, help="a file for the picture, likewise")
    options = parser.parse_args(arguments)
    padding = options.kernel // 2 if options.padding is None else options.padding
    layer = Layer("ladder", options.batch, options.channels, options.size, options.size, options.filters, options.kernel, options.kernel, padding=(padding, padding))
    usual = all(getattr(options, name) == parser.get_default(name) for name in ("channels", "filters", "size", "kernel", "batch", "padding", "threads", "quick"))
    tinycnn.set_num_threads(options.threads)
    plan = Plan(rounds=2, seconds=0, pause=0.01) if options.quick else Plan()
    result = ladder(layer, plan, options.threads, lambda text: print(f"... {text}", file=sys.stderr, flush=True))
    print(table(result))
    if options.json:
        keep(result, options.json)
    if options.plot:
        picture(result, options.plot)
    if usual and noise(result):
        print("Not kept: figures were disturbed. Once more, when the machine is quiet.")
    elif usual:
        keep(result, RESULTS)
        picture(result, DOCS / "images" / "ladder.png")
        (DOCS / "ladder.md").write_text(page(result))


def keep(result, path):
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
