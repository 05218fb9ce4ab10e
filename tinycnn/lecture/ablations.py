"""Claim 4: what local response normalisation, overlapping pools, dropout and augmentation do for AlexNet. Each is switched off in turn, everything else stays.

A difference of one percent is easily smaller than what another seed makes, so every form of the network is trained with several seeds, and compared with the whole
one seed by seed.
"""
from dataclasses import replace

from ..train import recipes
from .claim import NOT_SHOWN, Report
from .noise import difference, percent, points, together
from .plots import LINES, curve, percentages
from .training import curves, last, trained_on

TITLE = "LRN, overlapping pools, dropout and augmentation each make AlexNet better"
SLIDES = "AlexNet, details/retrospectives: used Norm layers (not common anymore); heavy data augmentation; dropout 0.5"
PAPER = ("Top-1 and top-5 error on ImageNet: response normalisation -1.4% and -1.2%, overlapping pooling -0.4% and -0.3% (Krizhevsky, Sutskever, Hinton 2012, sections "
         "3.3, 3.4). Without augmentation “our network suffers from substantial overfitting”; without dropout it “exhibits substantial overfitting” (4.1, 4.2)")
WITHOUT = {"LRN": {"lrn": None}, "overlapping pools": {"pool_size": 2}, "dropout": {"dropout": 0.0}, "augmentation": {}}
RECIPE = replace(recipes.get("quick_alexnet"), name="lecture_alexnet", about="quick_alexnet with a shorter warm-up, and with images moved by a pixel",
                 schedules=(recipes.Schedule("LinearLR", {"start_factor": 0.01, "total_iters": 100}, every="step"), recipes.COSINE),
                 train_transforms=recipes.get("quick_vgg").train_transforms)


def cells(plan):
    width, epochs = plan.choose((0.125, 3), (0.125, 10), (0.25, 90))
    return [{"without": without, "seed": seed, "width": width, "epochs": epochs, "data": plan.data}
            for seed in plan.seed_list(3, 5, 10) for without in ("nothing", *WITHOUT)]


def compute(cell, place):
    options = {"width": cell["width"], "lrn": "paper", "pool_size": 3, "dropout": 0.5} | WITHOUT.get(cell["without"], {})
    return curves(place.folder, place.progress, model="alexnet", data=cell["data"], recipe=RECIPE, epochs=cell["epochs"], seed=cell["seed"],
                  augment=cell["without"] != "augmentation", model_options=options)


def report(rows):
    final = {without: {part: [last(row, part) for row in rows if row["without"] == without] for part in ("train", "test")}
             for without in ("nothing", *WITHOUT)}
    whole = final["nothing"]
    gains = {without: difference(final[without]["test"], whole["test"]) for without in WITHOUT}
    table = [("nothing", percent(whole["train"]), percent(whole["test"]), "", "")]
    table += [(without, percent(final[without]["train"]), percent(final[without]["test"]), points(gain), gain.verdict) for without, gain in gains.items()]
    n = len(whole["test"])
    words = " ".join(sentence(without, gain) for without, gain in gains.items())
    words += f" (Errors on the test images after the last epoch, {n} seeds. ± of errors: standard deviation; ± of differences: what chance makes of 95 in 100.)"
    different = (f"AlexNet at {rows[0]['width']:g} of its width, {rows[0]['epochs']} epochs on {trained_on(rows)} instead of 90 on ImageNet.",
                 "Augmentation is flips and shifts by a pixel; colour noise means nothing to grey images, and no ten crops are averaged.",
                 "The training error is that of the images as they are learned from: with dropout and augmentation it is higher than the network's own.")
    return Report(("without", "training error", "test error", "worse by", "that it helps"), table, together([gain.verdict for gain in gains.values()]), words, different)


def sentence(without, gain):
    if gain.verdict == NOT_SHOWN:
        return f"Without {without} the test error changes by {points(gain)}, which can be chance."
    return f"Without {without} the test error is {'higher' if gain.mean > 0 else 'lower'}: {points(gain)}."


def draw(figure, rows):
    left, right = figure.subplots(1, 2, sharey=True)
    for line, without in zip(LINES, ("nothing", *WITHOUT)):
        runs = [row for row in rows if row["without"] == without]
        for axes, part in ((left, "train"), (right, "test")):
            curve(axes, [run[f"{part}_error"] for run in runs], linestyle=line, label=f"without {without}" if without != "nothing" else "the whole network")
    for axes, title in ((left, "training error"), (right, "test error")):
        axes.set(title=f"{title}, band: ± standard deviation", xlabel="epoch", ylim=(0, None))
        percentages(axes.yaxis)
        axes.grid(alpha=0.3)
    left.set_ylabel("images that are wrong")
    right.legend(fontsize="small")
