"""`tinycnn predict`: what a trained network sees in an image."""
import json
from pathlib import Path

import click

BAR = 30  # characters for 100%


@click.command(short_help="The likeliest classes of an image, by a trained network.")
@click.argument("image", metavar="IMAGE")
@click.option("-c", "--checkpoint", required=True, metavar="CHECKPOINT", help="A checkpoint, or the folder of a run (then its best network).")
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="How many classes to show.")
@click.option("--invert", is_flag=True, help="Turn black into white first: the images of MNIST and Fashion-MNIST are white on black.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def predict(image, checkpoint, top, invert, as_json):
    """Say what is in IMAGE: a file (PNG, JPEG, ...), or the number of a test image of the data that the network was trained on.

    \b
    tinycnn predict photo.jpg -c runs/resnet18-1
    tinycnn predict 7 -c runs/lenet5-1
    """
    from ..train.build import inference_model, make_transform
    from ..train.checkpoint import load
    from ..train.evaluate import view_average
    loaded = load(checkpoint)
    config = loaded.config
    pixels, truth = _read(image, config)
    x = make_transform(config)(255 - pixels if invert else pixels)
    p = view_average(inference_model(loaded), _batch(x))[0]
    if not invert and _looks_inverted(pixels, config):
        click.echo("hint: this image has a bright ground, the images trained on have a dark one: try --invert", err=True)
    order = p.argsort(kind="stable")[::-1][:top]
    if as_json:
        best = [{"class": config["classes"][k], "label": int(k), "probability": float(p[k])} for k in order]
        click.echo(json.dumps({"image": image, "truth": truth, "top": best}, indent=2))
        return
    click.echo(f"{image}" + (f": the data says {truth}" if truth is not None else ""))
    width = max(len(config["classes"][k]) for k in order)
    for k in order:
        name = config["classes"][k]
        bar = _bar(float(p[k]))
        click.echo(f"  {name:{width}}  {p[k]:6.1%}  {click.style(bar, fg='green' if name == truth else None)}")


def _read(image, config):
    """(pixels (H, W, C), name of the true class or None) of an image file or of the test image with this number."""
    from ..data import open_dataset
    from ..data.folder import read_image
    from ..data.transforms.colour import grey
    if not Path(image).exists() and image.isdigit():
        dataset = open_dataset(config["data"], "test")
        if int(image) >= len(dataset):
            raise IndexError(f"predict: there is no test image {image}; {config['data']} has 0 to {len(dataset) - 1}")
        pixels, label = dataset[int(image)]
        return pixels, dataset.classes[label]
    if not Path(image).is_file():
        raise FileNotFoundError(f"predict: no image file {image!r} (a number would mean a test image)")
    pixels = read_image(image)
    return (grey(pixels.astype("float32")).round().astype("uint8") if config["model_options"]["in_channels"] == 1 else pixels), None


def _looks_inverted(pixels, config):
    """Whether the borders of this image are bright, and the network was trained on grey images that are mostly dark, as MNIST's and Fashion-MNIST's are."""
    border = (pixels[[0, -1]].mean() + pixels[:, [0, -1]].mean()) / 2
    return len(config["mean"]) == 1 and config["mean"][0] < 0.4 and border > 170


def _batch(x):
    """A batch of one, (1, C, H, W), of an image (H, W, C)."""
    import numpy as np

    from .. import from_numpy
    return from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1)[None], np.float32))


def _bar(share):
    """A bar in eighths of a character."""
    eighths = round(share * BAR * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
