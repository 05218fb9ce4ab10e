"""AlexNet's two towers in two processes, as its authors had them on two GPUs, beside the same network in one process: are they equal, and what do they exchange?

    mpirun -n 2 python -m tinycnn.distributed.split_alexnet

conv1, conv2, conv4 and conv5 read the maps of their own tower, conv3 and the fully connected layers those of both. Each process also runs the whole network, and
compares its share: what each layer gives, the gradients of its weights, and the weights after steps of SGD. The normalisation ends at the border of a tower, in both
networks: to look across, the processes would have to exchange maps behind conv1 and conv2 as well, where by the paper they do not.
"""
import json
from typing import NamedTuple

import click
import numpy as np

from .. import models, nn, optim, randint, randn, random, set_num_threads
from ..models.initialise import weighted
from .launch import communicator, ending_together, share_threads
from .shares import share_sizes
from .split import Split, normalise_within_towers


class Row(NamedTuple):
    """A layer in the first step. Bytes: what a process sends, as the shapes say and as counted. Differences: the largest, relative to the largest value; 0: same bits."""

    layer: str
    reads: str
    forward_expected: int = 0
    forward_sent: int = 0
    backward_expected: int = 0
    backward_sent: int = 0
    output: float = 0.0
    gradient: float = 0.0


@click.command()
@click.option("--images", type=click.IntRange(1), default=8, show_default=True, help="Images in the batch.")
@click.option("--width", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, help="Times the maps of every layer.")
@click.option("--image-size", type=click.IntRange(1), default=227, show_default=True, help="Height and width of the images, which are noise.")
@click.option("--classes", type=click.IntRange(2), default=1000, show_default=True, help="How many classes there are.")
@click.option("--steps", type=click.IntRange(1), default=2, show_default=True, help="Steps of SGD, after which weights are compared.")
@click.option("--double", is_flag=True, help="In float64, where rounding errors are smaller by nine digits, and other errors are not.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of weights, images and dropout.")
@click.option("--threads", type=click.IntRange(1), help="Threads of each process. [default: the machine's, shared equally]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def main(as_json, threads, **asked):
    """Split AlexNet over the processes of mpirun (two, as its authors did; there are as many towers), compare it with the whole one, and count what is sent."""
    comm = communicator()
    with ending_together(comm):
        share_threads(comm) if threads is None else set_num_threads(threads)
        result = compare(comm, **asked)
        if comm.rank == 0:
            click.echo(json.dumps(result, indent=2) if as_json else describe(result))


def compare(comm, images=8, width=1.0, image_size=227, classes=1000, steps=2, double=False, seed=0):
    """Train both networks for some steps. The result, the same in every process, is plain values; "rows" has the fields of Row."""
    dtype = "float64" if double else "float32"
    random.manual_seed(seed)
    whole = normalise_within_towers(models.alexnet(classes, width=width, image_size=image_size, groups=comm.size), comm.size).to(dtype)
    split = Split(whole, comm)
    layers = dict(zip(split.weighted, weighted(whole), strict=True))
    x, labels = randn(images, 3, image_size, image_size, dtype=dtype), randint(classes, size=(images,))
    optimizers = [optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4) for network in (whole, split)]
    rows, losses = None, []
    for _ in range(steps):
        rng_state = random.get_rng_state()
        loss, inputs, outputs = run(whole, layers, x, labels)
        random.set_rng_state(rng_state)  # the same dropout
        own_loss, _, own_outputs = run(split, split.weighted, x, labels)
        losses.append((loss, own_loss))
        rows = rows or [*(row(name, layers[name], own, inputs[name], outputs[name], own_outputs[name], comm) for name, own in split.weighted.items()),
                        logits_row(split, outputs[[*layers][-1]], losses[0])]
        for optimizer in optimizers:
            optimizer.step()
    weights = max(difference(own.layer.weight, layers[name].weight.array[own.own]) for name, own in split.weighted.items())
    everyone = comm.allgather((rows, weights))
    return {"processes": comm.size, "images": images, "dtype": dtype, "steps": steps, "parameters": sum(p.numel() for p in whole.parameters()), "losses": losses,
            "rows": [worst(of_layer)._asdict() for of_layer in zip(*(rows for rows, _ in everyone))], "weights": max(weights for _, weights in everyone)}


def run(network, layers, x, labels):
    """Forward and backward. Returns the loss, and the shapes of the inputs of `layers` and their outputs, by name."""
    inputs, outputs = {}, {}

    def note(name):
        def hook(layer, given, output):
            inputs[name], outputs[name] = given[0].shape, output.array.copy()  # a copy, since the ReLU behind it works in place
        return hook
    handles = [layer.register_forward_hook(note(name)) for name, layer in layers.items()]
    network.zero_grad()
    loss = nn.functional.cross_entropy(network(x), labels)
    loss.backward()
    for handle in handles:
        handle.remove()
    return loss.item(), inputs, outputs


def row(name, layer, own, input_shape, output, own_output, comm):
    """Compare this process's share of a layer with the whole one."""
    reads = "all maps" if own.gathers else "own maps" if layer.weight.shape[1] < input_shape[1] else "images"
    bytes_per_map = int(np.prod(input_shape)) // input_shape[1] * output.itemsize if own.gathers else 0
    mine = share_sizes(input_shape[1], comm.size)[comm.rank]
    return Row(name, reads, forward_expected=mine * (comm.size - 1) * bytes_per_map, forward_sent=own.traffic.forward,
               backward_expected=(input_shape[1] - mine) * bytes_per_map, backward_sent=own.traffic.backward,
               output=difference(own_output, output[:, own.own]),
               gradient=max(difference(getattr(own.layer, part).grad, getattr(layer, part).grad.array[own.own]) for part in ("weight", "bias")))


def logits_row(split, logits, losses):
    """The last exchange: every process needs all logits for the softmax."""
    N, K = logits.shape
    mine = share_sizes(K, split.comm.size)[split.comm.rank]
    return Row("softmax", "all logits", mine * (split.comm.size - 1) * N * logits.itemsize, split.traffic.forward, 0, split.traffic.backward,
               output=abs(losses[1] - losses[0]) / losses[0])


def difference(actual, expected):
    """The largest difference, relative to the largest expected value."""
    actual, expected = np.asarray(getattr(actual, "array", actual), np.float64), np.asarray(expected, np.float64)
    return float(np.abs(actual - expected).max() / max(np.abs(expected).max(), np.finfo(np.float64).tiny))


def worst(of_processes):
    """One row for all processes: the largest of each number."""
    return Row(*of_processes[0][:2], *(max(values) for values in list(zip(*of_processes))[2:]))


def describe(result):
    """The result as text."""
    lines = [f"AlexNet over {result['processes']} processes, {result['images']} images, {result['dtype']}; the whole network in one process beside it", "",
             "                          bytes sent by a process            largest difference,",
             "                       forward           backward            relative to the largest value",
             "layer    reads         expected    sent  expected    sent    output    gradient"]
    for row in map(Row._make, (values.values() for values in result["rows"])):
        numbers = f"{row.forward_expected:10,} {row.forward_sent:10,} {row.backward_expected:10,} {row.backward_sent:10,}"
        lines.append(f"{row.layer:8} {row.reads:11} {numbers}   {_shown(row.output)}  {_shown(row.gradient)}")
    sent = sum(row["forward_sent"] + row["backward_sent"] for row in result["rows"])
    P, gradients = result["processes"], result["parameters"] * np.dtype(result["dtype"]).itemsize
    lines += ["", f"weights after {result['steps']} steps of SGD: {_shown(result['weights'])}",
              f"sent by a process in a step of {result['images']} images: {sent / 1e6:,.2f} MB, in proportion to the images.",
              f"Sharing the data instead sends the gradients of {result['parameters']:,} weights, whatever the images: 2 (P - 1)/P of {gradients / 1e6:,.0f} MB, "
              f"{2 * (P - 1) / P * gradients / 1e6:,.0f} MB"]
    return "\n".join(lines)


def _shown(difference):
    return "same bits" if difference == 0 else f"{difference:9.1e}"


if __name__ == "__main__":
    main()
