"""Claim 12: gradients vanish or explode on their way through a deep network. Measured at the output of every convolution, from the last back to the first.

Networks of 56 layers, plain and residual, with BatchNorm and without, at initialisation and after some steps of training. Without BatchNorm a plain network gets by on
its initial weights alone: drawn by Glorot's rule, which does not know that a ReLU halves what it gets, gradients vanish; drawn by He's, which does, they should not.

(Not the gradients of the weights: in a plain network each is the product of a signal that has shrunk on its way from the image to the layer, and one that has shrunk from
the loss to the layer. Together they come as far wherever the layer is, so those gradients are equally small in all layers.)
"""
import math
from statistics import fmean

import numpy as np

from .. import manual_seed, models, nn, optim
from ..data import DataLoader, open_dataset
from ..data.transforms import Compose, Normalize, Resize, ToFloat
from ..nn import functional as F
from .claim import DID_NOT_HOLD, HELD, IN_PART, Report
from .plots import COLOURS, LINES
from .training import trained_on

TITLE = "Gradients vanish or explode in deep plain networks"
SLIDES = "Deeper neural networks are more difficult to train. Deep networks suffer from vanishing and exploding gradients."
PAPER = ("“We argue that this optimization difficulty is unlikely to be caused by vanishing gradients. These plain networks are trained with BN, which ensures forward "
         "propagated signals to have non-zero variances. We also verify that the backward propagated gradients exhibit healthy norms with BN. So neither forward nor "
         "backward signals vanish” (He, Zhang, Ren, Sun 2015, section 4.1)")
NETWORKS = {  # what it is called: kind, BatchNorm, init, learning rate
    "plain, Glorot's weights": ("plain", False, "glorot", 0.01),
    "plain": ("plain", False, "he", 0.001),
    "plain, BatchNorm": ("plain", True, "he", 0.1),
    "residual": ("resnet", False, "he", 0.001),
    "residual, BatchNorm": ("resnet", True, "he", 0.1),
}
BOUND = 1000  # times between the first and the last layer, up or down
HEALTHY = "healthy"


def cells(plan):
    steps, width, image_size = plan.choose((20, 0.5, 14), (200, 0.5, 14), (1000, 1, 28))
    return [{"network": name, "layers": 56, "seed": seed, "steps": steps, "batch": 64, "width": width, "image_size": image_size, "data": plan.data}
            for seed in plan.seed_list(2, 5, 5) for name in NETWORKS]


def compute(cell, place):
    kind, batch_norm, init, lr = NETWORKS[cell["network"]]
    train = open_dataset(cell["data"])
    manual_seed(cell["seed"])
    network = models.build(f"{kind}{cell['layers']}", num_classes=len(train.classes), in_channels=train[0][0].shape[-1], width=cell["width"],
                           image_size=cell["image_size"], init=init)
    if not batch_norm:
        remove_batch_norm(network)
    optimizer = optim.SGD(network.parameters(), lr=lr, momentum=0.9)
    pixels = Compose([Resize((cell["image_size"], cell["image_size"])), ToFloat(), Normalize([0.3], [0.35])])
    batches = forever(DataLoader(train, min(cell["batch"], len(train)), shuffle=True, transform=pixels, drop_last=True, seed=cell["seed"]))

    def backward():
        images, labels = next(batches)
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()

    with np.errstate(all="ignore"):  # what overflows is found and told
        before = norms(network, backward)
        for _ in place.progress.over(range(cell["steps"]), cell["network"]):
            optimizer.step()
            backward()
        return {"before": before, "after": norms(network, backward)}


def remove_batch_norm(network):
    """Put nothing in the place of every BatchNorm."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())


def forever(loader):
    """Its batches, epoch after epoch."""
    while True:
        yield from loader


def norms(network, backward):
    """The norm of the gradient that each convolution's output gets in backward(), first layer first; None where it is not finite."""
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    found = {}

    def note(layer, grad_input, grad_output):
        found[layer] = float(np.linalg.norm(grad_output[0].numpy().astype(np.float64)))
    hooks = [layer.register_full_backward_hook(note) for layer in convolutions]
    backward()
    for hook in hooks:
        hook.remove()
    return [found[layer] if math.isfinite(found[layer]) else None for layer in convolutions]


def ratio(gradients):
    """The norm at the first layer over that at the last; infinite where it has overflowed, 0 where nothing arrives."""
    first, last = gradients[0], gradients[-1]
    return math.inf if first is None or last is None else first / last if first else 0.0


def report(rows):
    found = {name: {when: [ratio(row[when]) for row in rows if row["network"] == name] for when in ("before", "after")} for name in NETWORKS}
    table = [(label(name), times(ratios["before"]), state(ratios["before"]), times(ratios["after"]), state(ratios["after"])) for name, ratios in found.items()]
    states = {name: [state(ratios[when]) for when in ("before", "after")] for name, ratios in found.items()}
    sick = [name for name, (before, _) in states.items() if before != HEALTHY and NETWORKS[name][0] == "plain"]
    with_norm = [name for name, (_, batch_norm, *_) in NETWORKS.items() if batch_norm]
    paper_right = all(set(states[name]) == {HEALTHY} for name in with_norm)
    told = "; ".join(f"{label(name)}: {before} at initialisation" + (f", {after} after {rows[0]['steps']} steps" if after != before else "")
                     for name, (before, after) in states.items())
    words = (f"{told}. The paper's remark that with BatchNorm gradients are healthy {'holds here' if paper_right else 'does not hold here at all times'}. (Healthy: at "
             f"the first layer less than {BOUND} times larger or smaller than at the last; geometric mean of {len(rows) // len(NETWORKS)} seeds.)")
    different = (f"{rows[0]['layers']} layers at {rows[0]['width']:g} of the width on {trained_on(rows)}, brought to {rows[0]['image_size']} pixels; the paper speaks of "
                 f"34 layers and ImageNet. “After” is after {rows[0]['steps']} steps, without BatchNorm at smaller learning rates.",)
    verdict = IN_PART if 0 < len(sick) < 3 else HELD if sick else DID_NOT_HOLD
    return Report(("network", "first / last layer", "", f"after {rows[0]['steps']} steps", ""), table, verdict, words, different)


def label(name):
    """What a network of NETWORKS is called where it is shown."""
    return {"plain": "plain, He's weights", "residual": "residual, no BatchNorm"}.get(name, name)


def times(ratios):
    return f"{typical(ratios):.2g}" if math.isfinite(typical(ratios)) else "overflow"


def typical(ratios):
    """The geometric mean."""
    if any(not math.isfinite(value) for value in ratios):
        return math.inf
    return math.exp(fmean(math.log(max(value, 1e-45)) for value in ratios))


def state(ratios):
    middle = typical(ratios)
    return HEALTHY if 1 / BOUND <= middle <= BOUND else "vanishing" if middle < 1 else "exploding"


def draw(figure, rows):
    panels = figure.subplots(1, 2, sharey=True)
    for axes, when, title in zip(panels, ("before", "after"), ("at initialisation", f"after {rows[0]['steps']} steps (missing: overflow)")):
        for i, name in enumerate(NETWORKS):
            runs = [row[when] for row in rows if row["network"] == name]
            for run in runs:
                line, = axes.plot(range(1, len(run) + 1), [value or math.nan for value in run], color=COLOURS[i], linestyle=LINES[i])
            if when == "before":
                line.set_label(label(name))
        axes.set(title=title, xlabel="layer", yscale="log")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("norm of the gradient at a layer's output")
    figure.legend(loc="outside lower center", ncols=3)
