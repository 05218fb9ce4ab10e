"""Training runs of the claims: what `tinycnn train` does, in a folder that is thrown away when its curves are known."""
import json
import shutil
from dataclasses import replace
from pathlib import Path

from ..train import NotFiniteError, begin, configure, recipes, resume
from ..train.run import read_config

# Nothing but the loss: no weight decay, no smoothing, no augmentation, one rate from beginning to end.
BARE = replace(recipes.get("quick"), name="bare", about="SGD with momentum 0.9 and a constant rate, nothing else", optimizer_options={"momentum": 0.9},
               label_smoothing=0.0, schedules=())


def train(folder, progress, datasets=None, **asked):
    """Train in `folder`, or go on with the run that was stopped there, and return its Trainer, finished. `asked` are arguments of `configure`."""
    config, folder = configure(datasets=datasets, **asked), Path(folder)
    if (folder / "config.json").exists() and read_config(folder) == config:
        trainer = resume(folder, progress=progress, datasets=datasets)
    else:
        shutil.rmtree(folder, ignore_errors=True)
        trainer = begin(config, folder, progress=progress, datasets=datasets)
    trainer.run()
    return trainer


def curves(folder, progress, datasets=None, **asked):
    """{"train_error": [one per epoch], "test_error": ..., "train_loss": ..., "test_loss": ...} of a training run: shares and nats. The training error is that of the
    images as they were learned from: augmented, with dropout, while the network was changing. A run that blows up has short curves."""
    try:
        train(folder, progress, datasets, **asked)
    except NotFiniteError:
        pass
    path = Path(folder) / "metrics.jsonl"
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines() if path.exists() else [])
    epochs = [line for line in lines if line["kind"] == "epoch"]
    return {f"{part}_{what}": [round(1 - line[f"{part}_accuracy"] if what == "error" else line[f"{part}_loss"], 6) for line in epochs]
            for what in ("error", "loss") for part in ("train", "test")}


def trained_on(rows):
    """What was trained on, in words."""
    data = rows[0]["data"]
    return "the 6,000 bundled images of Fashion-MNIST" if data == "bundled" else f"the images in {data}"


def last(row, part):
    """The "train" or "test" error in the last epoch of a run with these curves; 1 of a run that blew up in its first."""
    return (row[f"{part}_error"] or [1.0])[-1]
