"""Convolution by unfolding and matrix product beside PyTorch's, on every convolution of AlexNet, VGG-16, GoogLeNet and ResNet-50.

    python benchmarks/conv_im2col.py                        all four, batch 8: some minutes on an idle machine
    python benchmarks/conv_im2col.py --network alexnet --rounds 3

Forward, input gradient and weight gradient of each distinct layer, float32, alternating with PyTorch in both of its memory layouts (tinycnn/bench/measure.py says how).
A layer's rival is the layout in which PyTorch's three are faster together. The input gradient of a first layer is left out, as in training. All answers are compared
before they are timed.
"""
import json
from pathlib import Path

import click
import numpy as np
import torch
from tqdm import tqdm

import tinycnn
from tinycnn.bench import layers, machine, measure
from tinycnn.kernels.conv import cpu

NETWORKS = ("alexnet", "vgg16", "googlenet", "resnet50")
LAYOUTS = {"NCHW": torch.contiguous_format, "channels-last": torch.channels_last}
OURS = "tinycnn"


def contestants(layer, algorithm):
    """{form: {who: function without arguments that gives the answer}}"""
    rng = np.random.default_rng(0)
    x, w, dy = (rng.standard_normal(shape).astype(np.float32) for shape in (layer.x_shape, layer.w_shape, layer.y_shape))
    g = layer.geometry
    forms = {
        "forward": {OURS: lambda: cpu.forward(x, w, None, g, algorithm)},
        "input_grad": {OURS: lambda: cpu.input_grad(dy, w, x.shape, g, algorithm)},
        "weight_grad": {OURS: lambda: cpu.weight_grad(dy, x, w.shape, g, algorithm)},
    }
    for layout, memory_format in LAYOUTS.items():
        X, W, DY = (torch.from_numpy(array).contiguous(memory_format=memory_format) for array in (x, w, dy))

        def gradient(which, X=X, W=W, DY=DY):
            wanted = [index == which for index in range(3)]  # of x, w and bias
            return torch.ops.aten.convolution_backward(DY, X, W, None, g.stride, g.padding, g.dilation, False, [0, 0], g.groups, wanted)[which]
        forms["forward"][layout] = lambda X=X, W=W: torch.nn.functional.conv2d(X, W, None, *g)
        forms["input_grad"][layout] = lambda gradient=gradient: gradient(0)
        forms["weight_grad"][layout] = lambda gradient=gradient: gradient(1)
    return forms


def compare(layer, form, functions):
    """Raise unless all give the same, up to rounding."""
    expected = functions["NCHW"]().numpy()
    error = np.max(np.abs(functions[OURS]() - expected)) / np.sqrt(np.mean(expected ** 2))
    if not error < 1e-3:
        raise click.ClickException(f"{layer.name} {form}: the answers differ by {error:.1e} of their size")


def measure_layer(layer, first, algorithm, plan):
    """{form: {who: Sample}}"""
    forms = contestants(layer, algorithm)
    if first:
        del forms["input_grad"]
    for form, functions in forms.items():
        compare(layer, form, functions)
    with torch.no_grad():
        return {form: measure.alternate(functions, plan) for form, functions in forms.items()}


def summarise(layer, samples):
    """What is kept of a layer: seconds of each form and contestant by round, the rival's layout, the ratio of the sums."""
    rounds = {who: {form: samples[form][who].rounds for form in samples} for who in (OURS, *LAYOUTS)}
    sums = {who: np.sum(list(forms.values()), 0) for who, forms in rounds.items()}
    rival = min(LAYOUTS, key=lambda layout: np.median(sums[layout]))
    return {"name": layer.name, "layer": str(layer), "count": layer.count, "gflop": layer.flops / 1e9, "rival": rival, "ratio": quartiles(sums[OURS] / sums[rival]),
            "ms": {who: {form: 1e3 * float(np.median(times)) for form, times in forms.items()} for who, forms in rounds.items()},
            "sums": {who: sums[who].tolist() for who in sums}}


def quartiles(values):
    """[median, lower, upper]"""
    return [float(value) for value in np.quantile(values, [0.5, 0.25, 0.75])]


def total(rows):
    """The ratio over a network, [median, lower, upper] over the rounds."""
    ours = sum(row["count"] * np.array(row["sums"][OURS]) for row in rows)
    return quartiles(ours / sum(row["count"] * np.array(row["sums"][row["rival"]]) for row in rows))


def table(network, rows):
    """The layers as text: milliseconds of ours / PyTorch's for each form, and the ratio of their sums."""
    lines = [f"{network}: ms tinycnn / PyTorch (its better layout)", f"{'':46}{'forward':>16}{'input_grad':>16}{'weight_grad':>16}   ratio"]
    for row in rows:
        times = "".join(f"{ours:8.2f}/{row['ms'][row['rival']][form]:7.2f}" if ours else f"{'':>16}" for form in layers.FORMS for ours in [row["ms"][OURS].get(form)])
        lines.append(f"{row['count']:2} x {row['layer']:42.42}{times}   {row['ratio'][0]:.2f} ({row['rival']})")
    ratio, low, high = total(rows)
    return "\n".join([*lines, f"all {sum(row['count'] for row in rows)} convolutions: {ratio:.2f} ({low:.2f} to {high:.2f})", ""])


@click.command(help=__doc__.split("\n")[0])
@click.option("--network", "networks", multiple=True, type=click.Choice(NETWORKS), default=NETWORKS, help="May be given several times. Default: all four.")
@click.option("--batch", default=8, show_default=True)
@click.option("--rounds", default=7, show_default=True, help="In each, every contestant has its turn.")
@click.option("--seconds", default=0.1, show_default=True, help="Of calls in each turn; one call at least.")
@click.option("--threads", default=2, show_default=True)
@click.option("--algorithm", default="im2col", show_default=True, help='"chosen" for what the cost model takes.')
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), default=Path(__file__).parent / "results" / "conv_im2col.json", show_default=True)
def main(networks, batch, rounds, seconds, threads, algorithm, output):
    torch.set_num_threads(threads)
    tinycnn.set_num_threads(threads)
    plan = measure.Plan(rounds=rounds, seconds=seconds)
    results = {"environment": machine.environment() | {"torch": torch.__version__},
               "settings": {"batch": batch, "rounds": rounds, "seconds": seconds, "threads": threads, "algorithm": algorithm, "dtype": "float32"}, "networks": {}}
    for network in networks:
        found = layers.load(network, batch)
        bar = tqdm(found, desc=network, leave=False)
        rows = [summarise(layer, measure_layer(layer, layer is found[0], None if algorithm == "chosen" else algorithm, plan)) for layer in bar]
        results["networks"][network] = {"ratio": total(rows), "largest": max(row["ratio"][0] for row in rows), "layers": rows}
        click.echo(table(network, rows))
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps(results, indent=1) + "\n")
    click.echo(f"written to {output}")


if __name__ == "__main__":
    main()
