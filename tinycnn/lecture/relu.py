"""Claim 3: networks of ReLUs train several times faster than networks of tanhs. The paper's figure 1: how many epochs until the training error is down to 25%?

Both kinds of LeNet-5 are trained at several learning rates, with nothing that would slow one of them down (no regularisation, no schedule), and each is judged by the
rate that suits it best.
"""
import math
from statistics import fmean

from .claim import DID_NOT_HOLD, HELD, IN_PART, NOT_SHOWN, Report
from .noise import scatter
from .plots import BLUE, RED, curve, percentages
from .training import BARE, curves, trained_on

TITLE = "ReLUs train several times faster than tanhs"
SLIDES = "AlexNet, details/retrospectives: first use of ReLU"
PAPER = ("“A four-layer convolutional neural network with ReLUs [...] reaches a 25% training error rate on CIFAR-10 six times faster than an equivalent network with "
         "tanh neurons [...]. The learning rates for each network were chosen independently to make training as fast as possible. No regularization of any kind was "
         "employed” (Krizhevsky, Sutskever, Hinton 2012, figure 1)")
TARGETS = (0.25, 0.20, 0.15, 0.12, 0.10, 0.08, 0.06, 0.04, 0.02)  # training errors
SEVERAL = 2  # times faster, at least


def cells(plan):
    rates = plan.choose([0.01, 0.02, 0.04], [0.003, 0.01, 0.02, 0.05, 0.1], [0.001, 0.003, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2])
    epochs, width = plan.choose(5, 10, 40), plan.choose(1, 1, 4)
    return [{"activation": activation, "lr": lr, "seed": seed, "epochs": epochs, "width": width, "data": plan.data}
            for seed in plan.seed_list(2, 5, 5) for lr in rates for activation in ("relu", "tanh")]


def compute(cell, place):
    init = {"relu": "he", "tanh": "glorot"}[cell["activation"]]  # each starts with the weights that keep its signals in size
    return curves(place.folder, place.progress, model="lenet5", data=cell["data"], recipe=BARE, epochs=cell["epochs"], lr=cell["lr"], seed=cell["seed"],
                  model_options={"activation": cell["activation"], "width": cell["width"], "init": init})


def report(rows):
    table, found = [], None
    for target in TARGETS:
        relu, tanh = (fastest(rows, activation, target) for activation in ("relu", "tanh"))
        both = math.isfinite(fmean(relu[1] + tanh[1]))
        if both:
            found = target, relu, tanh
        if math.isfinite(min(fmean(relu[1]), fmean(tanh[1]))):
            table.append((f"{target:.0%}", *shown(relu), *shown(tanh), f"{fmean(tanh[1]) / fmean(relu[1]):.1f}x" if both else ""))
    header = ("training error", "ReLU: epochs", "at rate", "tanh: epochs", "at rate", "tanh / ReLU")
    different = (f"LeNet-5 (five layers) instead of a network of four that the paper does not describe; {rows[0]['epochs']} epochs on {trained_on(rows)}; the paper "
                 "has CIFAR-10.",
                 "Judged at the lowest training error that both kinds reach with every seed.")
    if found is None:
        return Report(header, table, NOT_SHOWN, "The runs are too short: there is no training error that both kinds reach with every seed.", different)
    target, relu, tanh = found
    verdict, words = judged([math.log(b / a) for a, b in zip(relu[1], tanh[1])])
    return Report(header, table, verdict, f"{words} It is about the epochs until {target:.0%} of the training images are wrong: {fmean(relu[1]):.1f} with ReLUs, "
                  f"{fmean(tanh[1]):.1f} with tanhs (means over {len(relu[1])} seeds, each kind at its best rate).", different)


def fastest(rows, activation, target):
    """(rate, [epochs to the target for each seed]) at the rate that gets there fastest."""
    runs = [row for row in rows if row["activation"] == activation]
    tried = {lr: [epochs_until(row["train_error"], target) for row in runs if row["lr"] == lr] for lr in sorted({row["lr"] for row in runs})}
    return min(tried.items(), key=lambda item: (fmean(item[1]), min(item[1])))


def epochs_until(errors, target):
    """How many epochs until the error is down to the target, with a straight line between epochs; infinite if it never is. A network that knows nothing stands at 0,
    with the error 1."""
    before = 1.0
    for epoch, error in enumerate(errors):
        if error <= target:
            return epoch + (before - target) / (before - error)
        before = error
    return math.inf


def judged(logarithms):
    """Verdict and sentence for the logarithms of how many times longer tanh takes, one for each seed."""
    found = scatter(logarithms)
    low, middle, high = (math.exp(value) for value in (found.mean - found.margin, found.mean, found.mean + found.margin))
    between = f"{middle:.2f} times as long as ReLUs (between {low:.2f} and {high:.2f} times, allowing for the seeds)"
    if found.verdict == NOT_SHOWN:
        return NOT_SHOWN, f"tanhs take {middle:.2f} times as long as ReLUs, which with these seeds could be chance."
    if found.verdict == DID_NOT_HOLD:
        return DID_NOT_HOLD, f"tanhs take {between}: they are faster here."
    if low >= SEVERAL:
        return HELD, f"tanhs take {between}."
    return IN_PART, f"ReLUs are faster, but not clearly several times: tanhs take {between}."


def shown(choice):
    """Mean epochs and the rate as text."""
    rate, epochs = choice
    return (f"{fmean(epochs):.1f}", f"{rate:g}") if math.isfinite(fmean(epochs)) else ("never", "")


def draw(figure, rows):
    axes = figure.subplots()
    for activation, kind, line, colour in (("relu", "ReLU", "-", BLUE), ("tanh", "tanh", "--", RED)):
        runs = {lr: [row["train_error"] for row in rows if row["activation"] == activation and row["lr"] == lr] for lr in sorted({row["lr"] for row in rows})}
        best = min(runs, key=lambda lr: fmean(errors[-1] if errors else 1.0 for errors in runs[lr]))
        for lr, errors in runs.items():
            if lr == best:
                curve(axes, errors, linestyle=line, color=colour, label=f"{kind}, best rate ({lr:g}), ± standard deviation")
            else:
                curve(axes, [[fmean(values) for values in zip(*errors)]], linestyle=line, color=colour, alpha=0.35, linewidth=1)
    axes.set(xlabel="epoch", ylabel="training images that are wrong", ylim=(0, 0.5), title="LeNet-5 with ReLUs and with tanhs (thin: at other learning rates)")
    percentages(axes.yaxis)
    axes.legend()
    axes.grid(alpha=0.3)
