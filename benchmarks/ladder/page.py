"""docs/ladder.md: the figures of a measurement, and what each step's own docstring says of it."""
from importlib import import_module

from tinycnn.bench.layers import FORMS

NAMES = {"forward": "forward", "input_grad": "dx", "weight_grad": "dw"}


def page(result):
    """The page as Markdown."""
    layer, peak, environment = result["layer"], result["peak"], result["environment"]
    steps = [*(row["step"] for row in result["steps"]), "step9_fused"]
    return "\n".join([
        "# The ladder: one convolution, an idea at a time", "",
        "Written by `python benchmarks/ladder/run.py`; the steps are in `benchmarks/ladder`, each a program that can be read and run by itself.", "",
        f"The layer: {layer['C']} channels to {layer['K']} filters of {layer['R']}x{layer['S']}, {layer['N']} images of {layer['H']} x {layer['W']}, float32: "
        f"{result['flops'] / 1e9:.3g} GFLOP for each of the three passes. GFLOP/s are those of the definition (2 for each of its products) per second, "
        "whatever a step really does.", "",
        f"Measured on {environment['processor']}, {environment['date'][:10]}, {result['threads']} threads (steps 0 to 2: one), which together can do "
        f"{peak['gflops']:.0f} GFLOP/s and move {peak['gbps']:.0f} GB/s. In brackets: how many times as fast as the step before.", "",
        "![GFLOP/s of each step](images/ladder.png)", "",
        *table(result), "",
        *(line for name in steps for line in section(name))])


def table(result):
    """GFLOP/s of all steps and passes; the last step has only a forward pass."""
    yield "| step | the one idea that it adds | " + " | ".join(NAMES[form] for form in FORMS) + " | of the machine | lines |"
    yield "|---|---|" + "---:|" * (len(FORMS) + 2)
    for row in result["steps"]:
        best = max(row["forms"][form]["share_of_peak"] for form in FORMS)
        yield f"| {number(row['step'])} | {row['idea']} | " + " | ".join(cell(row["forms"][form]) for form in FORMS) + f" | {best:.1%} | {row['lines']} |"
    for name, row in result["epilogue"].items():
        yield f"| 9 | bias and ReLU, {name} | {cell(row)} | | | {row['share_of_peak']:.1%} | |"


def cell(figures):
    return f"{figures['gflops']:.3g}" + (f" ({figures['speed_up']:.3g}x)" if figures["speed_up"] else "")


def number(step):
    return step.removeprefix("step").partition("_")[0]


def section(name):
    """A step's docstring: its first line is the heading, indented lines are a listing as they stand."""
    heading, _, text = import_module(name).__doc__.strip().partition("\n")
    title, _, rest = heading.removeprefix(f"Step {number(name)}: ").partition(". ")
    return [f"## {number(name)}. {title[0].upper()}{title[1:].rstrip('.')}", "", *(line for part in (rest, text.strip("\n")) if part for line in (part, "")),
            f"[benchmarks/ladder/{name}.py](../benchmarks/ladder/{name}.py)", ""]
