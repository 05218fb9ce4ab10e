"""The second half of claim 6: AlexNet's two towers in two processes that exchange maps over MPI, beside the whole network in one process.

The processes are those of `mpirun -n 2 python -m tinycnn.distributed.split_alexnet`, which compares every layer and counts every byte. They use the reference kernels,
which add in the same order however many filters a layer has, so that outputs can be equal to the last bit. A gradient that crosses over is the sum of two parts, and
rounding differs; in float64, where roundings are small, it is seen that nothing else does.
"""
import json

from ..distributed.launch import find_mpirun, mpirun
from .claim import CannotRun

CELLS = [{"processes": 2, "images": 2, "dtype": "float32", "width": 1}, {"processes": 2, "images": 2, "dtype": "float64", "width": 0.5}]
INSTALL = "pip install 'tinycnn[mpi]'"
SILENT = ["conv1", "conv2", "conv4", "conv5"]  # by the slides
ROUNDING = 1e-12  # of sums of some thousand terms in float64
HEADER = ("in two processes", "reads", "sends, bytes an image", "gradients, bytes", "outputs differ by", "gradients", "in float64")


def compute(cell):
    """A step of training: {"layers": what each layer sends, and how it differs from one process's}."""
    if not find_mpirun():
        raise CannotRun(f"AlexNet in two processes needs MPI: {INSTALL}")
    options = ["--json", "--steps", 1, "--images", cell["images"], "--width", cell["width"], *["--double"] * (cell["dtype"] == "float64")]
    ended = mpirun(cell["processes"], "-m", "tinycnn.distributed.split_alexnet", *options, environment={"TINYCNN_KERNELS": "reference"})
    try:
        return {"layers": json.loads(ended.stdout)["rows"]}
    except json.JSONDecodeError:  # it failed; or both processes believed to be alone, and printed a result each
        raise CannotRun(f"AlexNet in two processes: this MPI does not work: {ended.stderr.strip() or 'the processes do not find each other'}") from None


def table(single, double):
    """A line for each layer, from the rows of the two cells."""
    return [(layer["layer"], layer["reads"], *(f"{layer[f'{way}_sent'] // single['images']:,}" for way in ("forward", "backward")),
             *(shown(layer[what]) for what in ("output", "gradient")), shown(worst(wide))) for layer, wide in zip(single["layers"], double["layers"])]


def judge(single, double):
    """Whether the processes compute what one does and exchange what the slides say, and the sentences for it."""
    sent = {layer["layer"]: layer["forward_sent"] + layer["backward_sent"] for layer in single["layers"]}
    silent, largest = [name for name, count in sent.items() if not count], max(map(worst, double["layers"]))
    words = (f"All of AlexNet in two processes with half of the maps each {'computes' if largest < ROUNDING else 'does not compute'} what it does in one: outputs and "
             f"gradients differ by at most {largest:.0e} of the largest number in float64. For an image and a step each process sends "
             f"{sum(sent.values()) // single['images']:,} bytes; nothing is sent for {', '.join(silent)}.")
    return silent == SILENT and largest < ROUNDING, words


def worst(layer):
    return max(layer["output"], layer["gradient"])


def shown(difference):
    return f"{difference:.0e}" if difference else "same bits"


def draw(axes, single):
    """What each layer sends."""
    names = [layer["layer"] for layer in single["layers"]]
    below = [0] * len(names)
    for way, what in (("forward", "maps"), ("backward", "gradients")):
        kilobytes = [layer[f"{way}_sent"] / single["images"] / 1000 for layer in single["layers"]]
        drawn = axes.bar(names, kilobytes, bottom=below, label=what)
        below = [a + b for a, b in zip(below, kilobytes)]
    axes.bar_label(drawn, [f"{height:.0f}" for height in below])
    axes.set(ylabel="kB sent", title="What each of two processes sends for an image")
    axes.margins(y=0.2)
    axes.legend()
