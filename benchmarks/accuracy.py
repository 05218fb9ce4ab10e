"""Collects what training runs reached: python benchmarks/accuracy.py RUN_FOLDER ... adds them to benchmarks/results/accuracy.json and prints the table.

A run folder is what `tinycnn train` leaves: config.json says what was asked for, metrics.jsonl what came of it.
"""
import json
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "accuracy.json"


def collect(folder):
    """One row: network, data, recipe, seed, epochs, accuracy on the test images after the last epoch and at best, speed."""
    config = json.loads((folder / "config.json").read_text())
    epochs = [entry for entry in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if entry["kind"] == "epoch"]
    speeds = sorted(entry["images_per_second"] for entry in epochs)
    data = config["data"] if config["data"] == "bundled" else f"full {Path(config['data']).name}"
    return {"model": config["model"], "data": data, "recipe": config["recipe"]["name"], "seed": config["seed"], "epochs": len(epochs),
            "test_accuracy": epochs[-1]["test_accuracy"], "best_test_accuracy": max(entry["test_accuracy"] for entry in epochs),
            "images_per_second_median": speeds[len(speeds) // 2]}


def main():
    rows = {(row["model"], row["data"], row["recipe"], row["seed"]): row for row in (json.loads(RESULTS.read_text()) if RESULTS.exists() else [])}
    for folder in sys.argv[1:]:
        row = collect(Path(folder))
        rows[row["model"], row["data"], row["recipe"], row["seed"]] = row
    RESULTS.write_text(json.dumps(list(rows.values()), indent=1) + "\n")
    for row in rows.values():
        print(f"{row['model']:12} {row['data']:14} {row['recipe']:18} seed {row['seed']}  {row['epochs']:3} epochs  "
              f"{row['test_accuracy']:.2%} (best {row['best_test_accuracy']:.2%})  {row['images_per_second_median']:,.0f} images/s")


if __name__ == "__main__":
    main()
