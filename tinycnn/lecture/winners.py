"""Claim 13: the accuracies of ILSVRC's winners, year by year, with the depth and size of those networks that this package has."""
from .. import models, nn
from .claim import DID_NOT_HOLD, IN_PART, Report
from .depth import depth
from .plots import BLUE

TITLE = "The winners of ILSVRC: fewer errors each year, with deeper networks"
SLIDES = ("Accuracy comparison. ZFNet: 11.7% top 5 error in ILSVRC'13. VGGNet: 7.3% top 5 error in ILSVRC'14. GoogLeNet: classification winner (6.7% top 5 error). "
          "ResNet: ILSVRC'15 classification winner (3.57% top 5 error, humans generally hover around a 5-10% error rate)")
PAPER = "Top-5 error on the test images of the competition, as its organisers and the papers give it; mostly of several networks together"
HUMAN = 5.1  # one trained person (Russakovsky et al. 2015)
# year, who, top-5 error in %, its network here
WINNERS = (
    (2010, "shallow", 28.2, None),
    (2011, "shallow", 25.8, None),
    (2012, "AlexNet", 16.4, "alexnet"),
    (2013, "Clarifai", 11.7, None),
    (2013, "ZFNet", 14.8, "zfnet"),
    (2014, "VGG", 7.3, "vgg19"),
    (2014, "GoogLeNet", 6.7, "googlenet"),
    (2015, "ResNet", 3.57, "resnet152"),
)


def cells(plan):
    return [{"network": network} for *_, network in WINNERS if network]


def compute(cell, place):
    with nn.init.skip():  # counting needs no weights
        network = models.build(cell["network"], **({"aux_logits": False} if cell["network"] == "googlenet" else {}))
    return {"depth": depth(cell["network"]), "parameters": sum(parameter.numel() for parameter in network.parameters())}


def report(rows):
    found = {row["network"]: row for row in rows}
    table = [(f"{year} {who}", f"{error:g}%", str(found[network]["depth"]) if network else "", f"{found[network]['parameters']:,}" if network else "")
             for year, who, error, network in WINNERS]
    depths = [found[network]["depth"] for *_, network in WINNERS if network]
    grew, smallest = depths == sorted(depths), min(found.values(), key=lambda row: row["parameters"])
    words = ("The errors are the published ones: nothing was trained here; layers and parameters were counted. Three corrections. The 11.7% of 2013 are those of the "
             "company Clarifai, founded by ZFNet's first author; ZFNet's paper gives 14.8%. VGG's 7.3% were second to GoogLeNet's 6.7% in 2014. And \"humans 5-10%\" "
             f"rests on two people: one who had practised made {HUMAN}% errors, another 12%. The networks {'became' if grew else 'did not become'} deeper each time; "
             f"larger they did not: {smallest['network']} has the fewest parameters, {smallest['parameters']:,}.")
    return Report(("network", "top-5 error", "layers", "parameters"), table, IN_PART if grew else DID_NOT_HOLD, words,
                  ("AlexNet's 16.4% are without additional training data; with it the entry had 15.3%.",))


def draw(figure, rows):
    axes = figure.subplots()
    found = {row["network"]: row for row in rows}
    colours = [BLUE if network else "silver" for *_, network in WINNERS]
    drawn = axes.bar([f"{year}\n{who}" for year, who, *_ in WINNERS], [error for _, _, error, _ in WINNERS], color=colours)
    axes.bar_label(drawn, [f"{error:g}%" + (f"\n{found[network]['depth']} layers" if network else "") for _, _, error, network in WINNERS],
                   padding=3, bbox={"color": "white", "pad": 0})
    axes.axhline(HUMAN, color="black", linestyle=":", label=f"a trained person, {HUMAN}%", zorder=0)
    axes.set(ylabel="top-5 error, %", title="ILSVRC classification (grey: not among the networks here)")
    axes.margins(y=0.15)
    axes.legend()
