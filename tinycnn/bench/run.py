"""A whole run: the machine is described and its peaks are measured, the contestants are called together, everything is measured, and the results are kept."""
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from ..train.files import replacing
from . import kernels, layers, networks, processes, validate
from .machine import environment, peak
from .measure import Plan
from .results import Results
from .rivals import contestants
from .rivals.own import OwnKernel

# What torchvision ships, so that nobody is measured on operations (the LRN of the published AlexNet and GoogLeNet) that its makers no longer care for.
NETWORKS = ("alexnet_owt", "googlenet_torchvision", "resnet50", "vgg16")
SETS = ("alexnet", "googlenet", "resnet50", "vgg16")


class Run:
    """One run. tell: is given a line about what is happening; keep: a file that the results so far are written to again and again."""

    def __init__(self, plan=None, threads=(1,), rivals=(), tell=lambda text: None, keep=None):
        self.plan, self.threads, self.rivals, self.tell, self.keep = plan or Plan(), threads, ("tinycnn", *rivals), tell, keep
        tell("the machine's peaks")
        self.results = Results(environment(), [peak(n) for n in threads], asdict(self.plan))

    def contestants(self, level, threads, more=()):
        """Those that take part at this level, noted in the results."""
        found, skipped = contestants(self.rivals, level, threads)
        self.results.skipped |= skipped
        found += more
        self.results.contestants |= {contestant.name: contestant.details() for contestant in found}
        return found

    def save(self):
        if self.keep:
            with replacing(self.keep) as part:
                part.write_text(self.results.to_json())

    def conv(self, sets, batches, forms=layers.FORMS, kernel=None, algorithms=(), only=None):
        """Convolutions. kernel: a file (rivals/own.py); algorithms: of ours, each as a contestant of its own; only: a part of the names of layers."""
        for threads in self.threads:
            own = [OwnKernel(kernel, threads)] if kernel else []
            more = own + contestants([f"tinycnn:{name}" for name in algorithms], "conv", threads)[0]
            everybody = self.contestants("conv", threads, more)
            for name in sets:
                for batch in batches:
                    chosen = [layer for layer in layers.load(name, batch) if not only or only in layer.name]
                    if not chosen:
                        raise ValueError(f"no layer of {name} has {only!r} in its name: {', '.join(layer.name for layer in layers.load(name))}")
                    group = Path(name).stem if str(name).endswith(".json") else name
                    kernels.measure_layers(everybody, group, chosen, self.results, forms, self.plan, threads, self.tell)
                    self.save()
                    if chosen[0].published_N:
                        break  # their batch is their own

    def networks(self, level, names, batches, options=None, sizes=(None,)):
        """level: "inference" or "training" of whole networks, "layer", "memory" or "startup"."""
        measure = {"layer": networks.measure_network_layers, "memory": processes.measure_memory, "startup": processes.measure_startup}.get(level)
        for threads in self.threads:
            for name in names:
                for batch in batches:
                    for size in sizes:
                        chosen = {**(options or {}), **({} if size is None else {"image_size": size})}
                        before = len(self.results.rows)
                        if level in ("inference", "training"):
                            everybody = self.contestants(level, threads)
                            networks.measure_network(everybody, name, level, batch, self.results, self.plan, threads, chosen, self.tell)
                        elif level == "layer":
                            measure(self.contestants("inference", threads), name, batch, self.results, self.plan, threads, chosen, self.tell)
                        else:
                            part = "training" if level == "memory" else "inference"
                            measure(self.contestants(part, threads), name, part, batch, self.results, self.plan, threads, chosen, self.tell)
                        for row in self.results.rows[before:]:
                            row.size = chosen.get("image_size", 0)
                        self.save()


def check_kernel(path, threads):
    """(whether all is right, a report) of the kernel in a file, on small awkward shapes."""
    findings = validate.check(OwnKernel(path, threads))
    return all(finding.fault is None or finding.unsupported for finding in findings), validate.report(findings)


def with_default_malloc(results, arguments):
    """Run the command again, in a process that leaves malloc as it is, and note in each row what came out there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "results.json")
        command = [sys.executable, "-m", "tinycnn.cli", *(argument for argument in arguments if argument != "--default-malloc"), "--json", str(path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "TINYCNN_MALLOC": "default"})
        others = {(row.task, row.contestant): row for row in Results.from_json(path.read_text()).rows}
    for row in results.rows:
        other = others.get((row.task, row.contestant))
        row.default_malloc = other.value if other is not None and other.counts else None
