"""Collect what training runs reached: add runs of a day and a machine to benchmarks/results/accuracy.json, and print the table.

    python benchmarks/accuracy.py "25 November 2026" "two cores of ..." runs/lenet5-1 ...

A run folder is what `tinycnn train` leaves: config.json says what was asked for, metrics.jsonl what came of it. Speed is not collected: `tinycnn bench` measures it.
"""
import json
from pathlib import Path

import click

RESULTS = Path(__file__).parent / "results" / "accuracy.json"


def collect(folder, date, machine):
    """One row: network, data, recipe, seed, epochs, accuracy on the test images after the last epoch and at best, when and where."""
    config = json.loads((folder / "config.json").read_text())
    epochs = [entry for entry in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if entry["kind"] == "epoch"]
    data = config["data"] if config["data"] == "bundled" else f"full {Path(config['data']).name}"
    return {"model": config["model"], "data": data, "recipe": config["recipe"]["name"], "seed": config["seed"], "epochs": len(epochs),
            "test_accuracy": epochs[-1]["test_accuracy"], "best_test_accuracy": max(entry["test_accuracy"] for entry in epochs),
            "date": date, "machine": machine}


@click.command(help=__doc__.partition("\n")[0])
@click.argument("date")
@click.argument("machine")
@click.argument("folders", nargs=-1, type=click.Path(exists=True, file_okay=False), metavar="RUN_FOLDER...")
def main(date, machine, folders):
    rows = {(row["model"], row["data"], row["recipe"], row["seed"]): row for row in (json.loads(RESULTS.read_text()) if RESULTS.exists() else [])}
    for folder in folders:
        row = collect(Path(folder), date, machine)
        rows[row["model"], row["data"], row["recipe"], row["seed"]] = row
    RESULTS.write_text(json.dumps(list(rows.values()), indent=1) + "\n")
    for row in rows.values():
        print(f"{row['model']:12} {row['data']:14} {row['recipe']:18} seed {row['seed']}  {row['epochs']:3} epochs  "
              f"{row['test_accuracy']:.2%} (best {row['best_test_accuracy']:.2%})  {row['date']}")


if __name__ == "__main__":
    main()
