"""Runs: a folder for each, with everything about it.

    config.json             what was asked for, every decision made explicit
    metrics.jsonl           what happened (metrics.py)
    curves.png              the same as a picture
    last.safetensors        where it stands: to go on from (checkpoint.py)
    best.safetensors        the network of the epoch with the best test accuracy: to be used
"""
import json
from contextlib import suppress
from itertools import count
from pathlib import Path

from ..distributed.data_parallel import Alone
from .build import make_trainer
from .checkpoint import CheckpointError, load
from .files import replacing


def begin(config, folder=None, processes=None, **options):
    """A Trainer at its beginning, in a new run folder: `folder`, or runs/MODEL-1, -2, ... Options are those of make_trainer."""
    processes = processes or Alone()
    folder = processes.from_first(lambda: new_folder(config["model"], folder))
    try:
        trainer = make_trainer(config, folder, processes=processes, **options)
        if processes.is_first:
            with replacing(folder / "config.json") as part:
                part.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    except BaseException:
        with suppress(OSError):
            folder.rmdir()  # nothing is in it
        raise
    return trainer


def resume(folder, processes=None, **options):
    """The Trainer of the run in `folder`, where its last checkpoint left it (at its beginning, if it did not come so far)."""
    folder, processes = Path(folder), processes or Alone()
    config = processes.from_first(lambda: read_config(folder))
    trainer = make_trainer(config, folder, processes=processes, **options)
    last = folder / "last.safetensors"
    checkpoint = processes.from_first(lambda: load(last) if last.exists() else None)
    if checkpoint is not None:
        if checkpoint.config != config:
            raise CheckpointError(f"{checkpoint.path}: belongs to another run than {folder / 'config.json'}: their settings differ in "
                                  f"{', '.join(name for name in config if checkpoint.config.get(name) != config[name])}")
        trainer.resume(checkpoint)
    return trainer


def new_folder(model, folder=None):
    """Make the folder for a new run."""
    if folder is not None:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise FileExistsError(f"{folder}: this folder is not empty; give another one, or `tinycnn train --resume {folder}` to continue the run in it")
        return folder
    for number in count(1):
        folder = Path("runs") / f"{model}-{number}"
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue


def read_config(folder):
    """The config of the run in `folder`."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: not the folder of a run: there is no config.json in it; runs of `tinycnn train` are in runs/, e.g. runs/lenet5-1")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from error
