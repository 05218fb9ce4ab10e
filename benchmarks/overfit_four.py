"""Can the published networks, at their published size, learn four images by heart? And do they fit: a training step with 16 images, its time and memory.

    python benchmarks/overfit_four.py                   all four, about half an hour on two cores
    python benchmarks/overfit_four.py alexnet vgg16     some of them

A network whose forward or backward is wrong anywhere hardly ever gets there, so this is the last check of a whole architecture. Dropout is off, everything else as
published, 1000 classes. Four of the bundled images, of different classes, are blown up to 224 (AlexNet: 227) pixels and three channels. Adam, since one learning rate
does for all four. Done when all four are right and the loss is below 0.01.

Each network runs in a process of its own, so that peak memory is its own. Results go to benchmarks/results/overfit_four.json, what is printed to overfit_four.log.
"""
import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

NETWORKS = ("alexnet", "vgg16", "googlenet", "resnet50")
STEPS, LR, ENOUGH = 150, 1e-4, 0.01
RESULTS = Path(__file__).parent / "results"


def four_images(size):
    """(4, 3, size, size) of four classes, and their labels."""
    from tinycnn import from_numpy
    from tinycnn.data import bundled
    from tinycnn.data.transforms import RGB, Compose, Normalize, Resize, ToFloat
    data = bundled()
    chosen = np.array([int(np.flatnonzero(data.labels == label)[0]) for label in (1, 5, 7, 8)])  # trouser, sandal, sneaker, bag
    images, labels = data.take(chosen)
    pixels = Compose([Resize((size, size)), RGB(), ToFloat(), Normalize([0.29], [0.35])])(images)
    return from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))), from_numpy(labels)


def build(name):
    """The network as published, dropout off; its loss; its optimiser."""
    from tinycnn import manual_seed, models, nn, optim
    from tinycnn.train.loss import ClassificationLoss
    manual_seed(0)
    model = models.build(name)
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return model, ClassificationLoss(), optim.Adam(model.parameters(), lr=LR)


def step(model, loss_function, optimizer, images, labels):
    """One training step: (loss, how many are right)."""
    optimizer.zero_grad()
    loss, logits = loss_function(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item(), int((logits.detach().numpy().argmax(axis=1) == labels.numpy()).sum())


def gibibytes():
    """The most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def overfit(name):
    """Train on the four images until they are known; then one step on sixteen."""
    from tinycnn import cat, get_num_threads
    from tinycnn.models import default_input
    images, labels = four_images(default_input(name)[1])
    parts = build(name)
    print(f"{name}: {sum(parameter.numel() for parameter in parts[0].parameters()):,} parameters, images of {default_input(name)[1]} pixels, "
          f"{get_num_threads()} threads", flush=True)
    start, losses = time.perf_counter(), []
    for number in range(1, STEPS + 1):
        loss, right = step(*parts, images, labels)
        losses.append(round(loss, 6))
        known = right == len(labels) and loss < ENOUGH
        if known or number % 5 == 1:
            print(f"  step {number:3}: loss {loss:.4f}, {right} of 4 right, {time.perf_counter() - start:.0f} s", flush=True)
        if known:
            break
    seconds = (time.perf_counter() - start) / number
    four = gibibytes()
    sixteen, start = (cat([images] * 4), cat([labels] * 4)), time.perf_counter()
    step(*parts, *sixteen)
    step_16 = time.perf_counter() - start
    print(f"  {'learned' if known else 'NOT LEARNED'} in {number} steps of {seconds:.2f} s, peak {four:.1f} GiB; "
          f"a step with 16 images: {step_16:.1f} s, peak {gibibytes():.1f} GiB", flush=True)
    return {"network": name, "learned": known, "steps": number, "losses": losses, "seconds_per_step_of_4": round(seconds, 3), "peak_gib_batch_4": round(four, 2),
            "seconds_per_step_of_16": round(step_16, 2), "peak_gib_batch_16": round(gibibytes(), 2)}


def main():
    parser = argparse.ArgumentParser(description="Overfit four images with each published network.")
    parser.add_argument("networks", nargs="*", default=NETWORKS, help="default: %(default)s")
    parser.add_argument("--alone", action="store_true", help="run in this process and print the result as a last line of JSON")
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(overfit(options.networks[0])))
        return
    RESULTS.mkdir(exist_ok=True)
    results = []
    with open(RESULTS / "overfit_four.log", "w", encoding="utf-8") as log:
        for name in options.networks:
            process = subprocess.Popen([sys.executable, __file__, name, "--alone"], stdout=subprocess.PIPE, text=True)
            lines = []
            for line in process.stdout:
                lines.append(line)
                if not line.startswith("{"):
                    print(line, end="", flush=True)
                    log.write(line)
            if process.wait() != 0:
                raise SystemExit(f"{name}: the process ended with status {process.returncode}")
            results.append(json.loads(lines[-1]))
    (RESULTS / "overfit_four.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
