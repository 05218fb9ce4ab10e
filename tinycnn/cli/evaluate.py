"""`tinycnn evaluate`: how good trained networks are, alone and together."""
import json

import click

from .train import DEVICE


@click.command()
@click.argument("checkpoints", nargs=-1, required=True, metavar="CHECKPOINT...")
@click.option("--data", metavar="FOLDER", help="Images to test on. [default: those of the first checkpoint's run]")
@click.option("--split", type=click.Choice(["test", "train", "val"]), default="test", show_default=True, help="Which part of the data.")
@click.option("--ten-crop", is_flag=True, help="Average over ten views of each image: corners, centre, and their mirror images.")
@click.option("--batch-size", type=click.IntRange(1), default=100, show_default=True, help="Images at a time.")
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True, help="Threads that prepare images.")
@click.option("--threads", type=click.IntRange(1), help="Processor cores to use. [default: all]")
@click.option("--device", type=DEVICE, default="cpu", show_default=True, help="Where to compute.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def evaluate(checkpoints, data, split, ten_crop, batch_size, workers, threads, device, as_json):
    """Test trained networks: top-1 and top-5 accuracy.

    A CHECKPOINT is a file, or the folder of a run (then its best network). Several are tested one by one, and as an ensemble, which averages their probabilities.

    \b
    tinycnn evaluate runs/lenet5-1
    tinycnn evaluate runs/lenet5-1/last.safetensors --ten-crop
    tinycnn evaluate runs/lenet5-1 runs/lenet5-2 runs/resnet20-1 --json
    """
    from ..data import open_dataset
    from ..train.checkpoint import load
    from ..train.evaluate import ensemble, score
    if threads is not None:
        from .. import set_num_threads
        set_num_threads(threads)
    loaded = [load(path) for path in checkpoints]
    dataset = open_dataset(data or loaded[0].config["data"], split)
    members = []
    for checkpoint in loaded:
        if len(checkpoint.config["classes"]) != len(dataset.classes):
            raise ValueError(f"{checkpoint.path}: a network for {len(checkpoint.config['classes'])} classes; {dataset!r} has {len(dataset.classes)}")
        p, labels = _probabilities(checkpoint, dataset, ten_crop, batch_size, workers, device, as_json)
        members.append(p)
    rows = [(str(checkpoint.path), checkpoint.config["model"], score(p, labels)) for checkpoint, p in zip(loaded, members)]
    if len(members) > 1:
        rows.append((f"ensemble of {len(members)}", "", score(ensemble(members), labels)))
    (_print_json if as_json else _print_table)(rows, len(dataset), ten_crop)


def _probabilities(checkpoint, dataset, ten_crop, batch_size, workers, device, quiet):
    """(probabilities, labels) of one network."""
    from tqdm import tqdm

    from ..data import DataLoader
    from ..train.build import inference_model, make_transform
    from ..train.evaluate import probabilities
    loader = DataLoader(dataset, batch_size, num_workers=workers, transform=make_transform(checkpoint.config, ten_crop=ten_crop), device=device)
    with tqdm(total=len(dataset), desc=str(checkpoint.path), unit="img", leave=False, disable=True if quiet else None) as bar:
        return probabilities(inference_model(checkpoint, device), loader, bar.update)


def _print_json(rows, images, ten_crop):
    results = [{"checkpoint": name, "model": model, **result._asdict()} for name, model, result in rows]
    click.echo(json.dumps({"images": images, "crops": 10 if ten_crop else 1, "results": results}, indent=2))


def _print_table(rows, images, ten_crop):
    width = max(len(name) for name, _, _ in rows)
    click.echo(f"{'':{width}}  {'model':12}  top-1    top-5    loss      ({images:,} images, {'ten crops' if ten_crop else 'one crop'} each)")
    for name, model, result in rows:
        click.echo(f"{name:{width}}  {model:12}  {result.top1:6.2%}  {result.top5:7.2%}   {result.loss:.4f}")
