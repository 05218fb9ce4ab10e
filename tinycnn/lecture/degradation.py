"""Claim 11: the deeper a plain network, the worse it learns, on training images too; with skip connections deeper is better. The paper's figure 6.

Plain and residual networks of 20, 32, 44 and 56 layers, pair by pair with the same number of parameters (shortcuts A have none) and the same initial weights.
"""
from .claim import DID_NOT_HOLD, HELD, NOT_SHOWN, Report
from .noise import difference, percent, points, together
from .plots import curve, percentages
from .training import curves, last, trained_on

TITLE = "Deeper plain networks learn worse, on training and test images; residual networks do not"
SLIDES = ("What happens when we continue stacking deeper layers on a convolutional neural network? 6-layer model performs worse on both training and test error. The "
          "deeper model performs worse (not caused by overfitting)! ResNet: 152 layers. Able to train very deep networks without degrading. Deeper networks now "
          "achieve lower training errors as expected")
PAPER = ("“With the network depth increasing, accuracy gets saturated (which might be unsurprising) and then degrades rapidly. Unexpectedly, such degradation is not "
         "caused by overfitting, and adding more layers to a suitably deep model leads to higher training error” (He, Zhang, Ren, Sun 2015, section 1). Test error on "
         "CIFAR-10 of residual networks of 20, 32, 44, 56 layers: 8.75%, 7.51%, 7.17%, 6.97% (table 6)")


def cells(plan):
    layers, epochs, width, image_size, recipe = plan.choose(([20, 56], 2, 0.5, 14, "quick_resnet"), ([20, 32, 44, 56], 5, 0.5, 14, "quick_resnet"),
                                                            ([20, 32, 44, 56], None, 1, None, "resnet_cifar"))
    return [{"kind": kind, "layers": depth, "seed": seed, "epochs": epochs, "width": width, "image_size": image_size, "recipe": recipe, "data": plan.data}
            for seed in plan.seed_list(2, 3, 3) for kind in ("plain", "resnet") for depth in layers]


def compute(cell, place):
    return curves(place.folder, place.progress, model=f"{cell['kind']}{cell['layers']}", data=cell["data"], recipe=cell["recipe"], epochs=cell["epochs"],
                  image_size=cell["image_size"], seed=cell["seed"], model_options={"width": cell["width"]})


def report(rows):
    depths = sorted({row["layers"] for row in rows})
    shallow, deep = depths[0], depths[-1]
    table = [(f"{kind} {depth}", *(percent(final(rows, kind, depth, part)) for part in ("train", "test"))) for kind in ("plain", "resnet") for depth in depths]
    worse = {part: difference(final(rows, "plain", deep, part), final(rows, "plain", shallow, part)) for part in ("train", "test")}
    better = {part: difference(final(rows, "resnet", shallow, part), final(rows, "resnet", deep, part)) for part in ("train", "test")}
    beats = difference(final(rows, "plain", deep, "train"), final(rows, "resnet", deep, "train"))
    degradation = together([found.verdict for found in worse.values()])
    verdict = together([degradation, better["train"].verdict, beats.verdict])
    words = (f"Plain networks: {deep} layers instead of {shallow} change the training error by {points(worse['train'])} and the test error by "
             f"{points(worse['test'])}: {said(degradation, 'degradation, and not overfitting')}. Residual networks: {shallow} layers instead of {deep} change the "
             f"training error by {points(better['train'])} and the test error by {points(better['test'])}: {said(better['train'].verdict, 'deeper learns better')}. "
             f"At {deep} layers the plain network's training error is above the residual one's by {points(beats)}. (Errors in the last epoch, "
             f"{len({row['seed'] for row in rows})} seeds.)")
    first = rows[0]
    size = f", brought to {first['image_size']} pixels" if first["image_size"] else ""
    length = f"{first['epochs']} epochs" if first["epochs"] else "64,000 steps"
    different = (f"{length} by the recipe {first['recipe']} at {first['width']:g} of the width on {trained_on(rows)}"
                 f"{size}; the paper trains for 64,000 steps on CIFAR-10. Few epochs show who learns fast, which is not yet who learns best.",
                 "The slides' \"6-layer model\" can only be the 56-layer model of the paper's figure 1.")
    return Report(("network", "training error", "test error"), table, verdict, words, different)


def final(rows, kind, depth, part):
    """Errors in the last epoch, one for each seed."""
    return [last(row, part) for row in sorted(rows, key=lambda row: row["seed"]) if (row["kind"], row["layers"]) == (kind, depth)]


def said(verdict, what):
    return {HELD: what, NOT_SHOWN: f"{what} is not shown", DID_NOT_HOLD: f"the opposite of \"{what}\""}.get(verdict, f"{what}, in part")


def draw(figure, rows):
    panels = figure.subplots(1, 2, sharey=True)
    depths = sorted({row["layers"] for row in rows})
    for axes, kind in zip(panels, ("plain", "resnet")):
        for i, depth in enumerate(depths):
            runs = [row for row in rows if (row["kind"], row["layers"]) == (kind, depth)]
            for part, line in (("train", "--"), ("test", "-")):
                curve(axes, [run[f"{part}_error"] for run in runs], color=f"C{i}", linestyle=line, label=f"{depth} layers" if part == "test" else None)
        axes.set(title={"plain": "plain networks", "resnet": "residual networks"}[kind], xlabel="epoch")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("images that are wrong")
    percentages(panels[0].yaxis)
    panels[1].legend(title="dashed: training images\nsolid: test images")
