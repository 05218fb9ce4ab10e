"""Claim 5: several networks together make fewer errors than one. Seven networks that differ in their seed alone; their probabilities are averaged.

Theory has a say in this: minus the logarithm is convex, so the loss of the average is never above the average of the losses (Jensen). Errors have no such guarantee.
"""
from itertools import combinations, cycle
from statistics import fmean

import numpy as np

from ..train.evaluate import ensemble, probabilities, score
from .claim import Report
from .noise import difference, percent, points
from .plots import LINES, percentages
from .training import train, trained_on

TITLE = "An ensemble of seven networks is better than one"
SLIDES = "AlexNet, details/retrospectives: 7 CNN ensemble. VGGNet: use ensembles for best results"
PAPER = ("Top-5 error on ILSVRC-2012's validation images: one network 18.2%; “averaging the predictions of five similar CNNs gives an error rate of 16.4%”; with two "
         "more that were pre-trained on other images, 15.4% (Krizhevsky, Sutskever, Hinton 2012, section 6)")
MEMBERS = 7


def cells(plan):
    network, epochs = plan.choose(("lenet5", 3), ("lenet5", 10), ("alexnet", 24))
    return [{"network": network, "epochs": epochs, "seed": seed, "members": MEMBERS, "data": plan.data} for seed in plan.seed_list(3, 5, 3)]


def compute(cell, place):
    members = []
    for i in range(cell["members"]):
        trainer = train(place.folder / str(i), place.progress, model=cell["network"], data=cell["data"], epochs=cell["epochs"], seed=cell["seed"] * cell["members"] + i)
        p, labels = probabilities(trainer.model, trainer.test_loader)
        members.append(p)
    scores = [[score(np.asarray(ensemble(chosen)), labels) for chosen in combinations(members, k)] for k in range(1, len(members) + 1)]
    return {"error": [fmean(1 - found.top1 for found in of_k) for of_k in scores], "loss": [fmean(found.loss for found in of_k) for of_k in scores],
            "best_member": min(1 - found.top1 for found in scores[0])}


def report(rows):
    """error[k - 1] of a row is the mean error of all ensembles of k that its members can form."""
    table = [(f"{k} together" if k > 1 else "one network", percent([row["error"][k - 1] for row in rows]), f"{fmean(row['loss'][k - 1] for row in rows):.4f}")
             for k in range(1, rows[0]["members"] + 1)]
    gain = difference([row["error"][0] for row in rows], [row["error"][-1] for row in rows])
    best = difference([row["best_member"] for row in rows], [row["error"][-1] for row in rows])
    mean = [fmean(errors) for errors in zip(*(row["error"] for row in rows))]
    members = rows[0]["members"]
    words = (f"The test error falls from {percent([row['error'][0] for row in rows])} for one network to {percent([row['error'][-1] for row in rows])} for {members} "
             f"together: {points(gain)} ({len(rows)} ensembles of {members}). Against the best of its own members: {points(best)}.")
    if mean[0] > mean[-1]:
        words += f" {(mean[0] - mean[1]) / (mean[0] - mean[-1]):.0%} of the gain comes with the second network."
    different = (f"{rows[0]['network']}, {rows[0]['epochs']} epochs on {trained_on(rows)}, and top-1 errors, instead of AlexNet, ImageNet and top-5 errors.",
                 "Members differ in their seed alone (weights, order of the images).")
    return Report(("networks", "test error", "test loss"), table, gain.verdict, words, different)


def draw(figure, rows):
    left, right = figure.subplots(1, 2)
    for axes, what in ((left, "error"), (right, "loss")):
        for line, row in zip(cycle(LINES), rows):
            axes.plot(range(1, row["members"] + 1), row[what], marker="o", linestyle=line, label=f"ensemble {row['seed'] + 1}")
        axes.set(xlabel="networks together", ylabel={"error": "test images that are wrong", "loss": "test loss, nats"}[what])
        axes.grid(alpha=0.3)
    percentages(left.yaxis)
    left.legend()
    figure.suptitle("The average of several networks' probabilities (mean over all choices of so many of the seven)")
