"""Measure all that docs/results.md shows, and write it anew: whole networks beside all rivals, convolutions one by one beside PyTorch.

    python benchmarks/everything.py                     three quarters of an hour on a machine that is otherwise idle
    python benchmarks/everything.py --only training     one part; the page shows the others as they were measured last

Results are kept as benchmarks/results/PART.json; the page and its pictures come from these files alone.
"""
import subprocess
import sys
from pathlib import Path

import click

HERE = Path(__file__).parent
RESULTS, PAGE, IMAGES = HERE / "results", HERE.parent / "docs" / "results.md", HERE.parent / "docs" / "images"
PARTS = {  # what `tinycnn bench` is asked
    "inference": ["inference", "--batch", "1", "--batch", "16", "--rounds", "5"],
    "training": ["training", "--rivals", "pytorch:nchw,pytorch:channels_last", "--rounds", "5"],
    "memory": ["memory", "--rivals", "pytorch:nchw,pytorch:channels_last", "--rounds", "3"],
    "startup": ["startup", "resnet50", "--rivals", "pytorch:nchw", "--rounds", "3"],
    "conv": ["conv", "--rivals", "pytorch:nchw,pytorch:channels_last", "--batch", "16", "--rounds", "5", "--seconds", "0.1"],
}
TITLES = {"inference": "Inference of whole networks", "training": "A step of training", "memory": "Memory of a step of training", "startup": "Starting",
          "conv": "Convolutions one by one"}


@click.command(help=__doc__.partition("\n")[0])
@click.option("--only", type=click.Choice([*PARTS, "page"]), multiple=True, help="Measure these parts only; \"page\": nothing, only write the page.  [default: all]")
@click.option("--rounds", type=int, help="How often contestants take turns, instead of what each part has.")
def main(only, rounds):
    for part in only or PARTS:
        if part != "page":
            arguments = PARTS[part] + (["--rounds", str(rounds)] if rounds else [])
            subprocess.run([sys.executable, "-m", "tinycnn.cli", "bench", *arguments, "--json", str(RESULTS / f"{part}.json")], check=True)
    write_page()


def write_page():
    """docs/results.md and its pictures, from the results that there are."""
    text = ["# Results", "", "Written by `python benchmarks/everything.py`; docs/benchmarks.md explains what is measured, and how it is kept fair.", ""]
    for part, title in TITLES.items():
        path = RESULTS / f"{part}.json"
        if path.exists():
            text += [f"# {title}", "", tables(path, part), ""]
    PAGE.write_text("\n".join(text))


def tables(path, part):
    """The tables as Markdown, and beside them the plots."""
    markdown = path.with_suffix(".md")
    subprocess.run([sys.executable, "-m", "tinycnn.cli", "bench", "show", str(path), "--markdown", str(markdown), "--plot", str(IMAGES / part)], check=True,
                   stdout=subprocess.DEVNULL)
    text = markdown.read_text()
    markdown.unlink()
    for other in set((IMAGES / part).glob("*.png")) - set((IMAGES / part).glob("bars-*.png")):
        other.unlink()  # the page shows times side by side; `tinycnn bench show FILE --plot FOLDER` draws rooflines and more
    pictures = sorted((IMAGES / part).glob("*.png"))
    return "\n".join([*(f"![{picture.stem}](images/{part}/{picture.name})" for picture in pictures), "", text])


if __name__ == "__main__":
    main()
