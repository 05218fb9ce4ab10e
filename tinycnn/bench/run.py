"""A whole run: the machine is described and its peaks are measured, the contestants are called together, everything is measured, and the results are kept."""
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from itertools import product
from pathlib import Path

from ..train.files import replacing
from . import kernels, layers, networks, operations, processes, validate
from .machine import environment, peak
from .measure import Plan
from .results import Results
from .rivals import Place, contestants, module_of
from .rivals.own import OwnKernel

# What torchvision ships, so that nobody is measured on operations (the LRN of the published AlexNet and GoogLeNet) that its makers no longer care for.
NETWORKS = ("alexnet_owt", "googlenet_torchvision", "resnet50", "vgg16")
SETS = ("alexnet", "googlenet", "resnet50", "vgg16")


class Run:
    """One run. tell: is given a line about what is happening; keep: a file that the results so far are written to before each task, so that a run that is cut short
    has given something.

    device: "cpu", or "cuda", where everything is done for each of `maths` ("fp32", "tf32") and threads are those that queue the work: one.
    """

    def __init__(self, plan=None, threads=(1,), rivals=(), tell=lambda text: None, keep=None, device="cpu", maths=("fp32",)):
        self.plan, self.threads, self.rivals, self.say, self.keep = plan or Plan(), threads, ("tinycnn", *rivals), tell, keep
        self.places = [Place()] if device == "cpu" else [Place(device, math, self.plan.cache == "cold") for math in maths]
        for name in self.rivals:
            module_of(name, device)  # raises where it is misspelt, before anything is measured
        tell("the machine's peaks")
        facts, peaks = {}, [peak(n) for n in threads] if device == "cpu" else None
        if peaks is None:
            from . import gpu
            facts, peaks, self.threads = {"gpu": gpu.facts()}, gpu.peaks(), (1,)
        self.results = Results(environment() | facts, peaks, asdict(self.plan))

    def contestants(self, level, threads, place=Place(), more=()):  # noqa: B008  it cannot be changed
        """Those that take part at this level, noted in the results."""
        found, skipped = contestants(self.rivals, level, threads, place)
        self.results.skipped |= skipped
        found += more
        self.results.contestants |= {contestant.name: contestant.details() for contestant in found}
        return found

    def tell(self, text):
        self.save()
        self.say(text)

    def save(self):
        if self.keep and self.results.rows:
            with replacing(self.keep) as part:
                part.write_text(self.results.to_json())

    def conv(self, sets, batches, forms=layers.FORMS, kernel=None, algorithms=(), only=None):
        """Convolutions. kernel: a file (rivals/own.py); algorithms: of ours, each as a contestant of its own; only: a part of the names of layers."""
        for place, threads in product(self.places, self.threads):
            own = [own_kernel(kernel, threads, place)] if kernel else []
            more = own + contestants([f"tinycnn:{name}" for name in algorithms], "conv", threads, place)[0]
            everybody = self.contestants("conv", threads, place, more)
            for name in sets:
                for batch in batches:
                    chosen = layers.chosen(name, batch, only)
                    group = Path(name).stem if str(name).endswith(".json") else name
                    kernels.measure_layers(everybody, group, chosen, self.results, forms, self.plan, threads, self.tell)
                    self.save()
                    if chosen[0].published_N:
                        break  # their batch is their own

    def operations(self, chosen):
        """chosen: [(name, size)] of operations.OPERATIONS."""
        for place, threads in product(self.places, self.threads):
            everybody = self.contestants("operation", threads, place)
            for name, size in chosen:
                operations.measure_operation(everybody, name, size, self.results, self.plan, threads, self.tell)
                self.save()

    def networks(self, level, names, batches, options=None, sizes=(None,)):
        """level: "inference" or "training" of whole networks, "layer", "memory" or "startup"."""
        measure = {"layer": networks.measure_network_layers, "memory": processes.measure_memory, "startup": processes.measure_startup}.get(level)
        for place, threads, name, batch, size in product(self.places, self.threads, names, batches, sizes):
            chosen = {**(options or {}), **({} if size is None else {"image_size": size})}
            before = len(self.results.rows)
            if level in ("inference", "training"):
                networks.measure_network(self.contestants(level, threads, place), name, level, batch, self.results, self.plan, threads, chosen, self.tell)
            elif level == "layer":
                measure(self.contestants(level, threads, place), name, batch, self.results, self.plan, threads, chosen, self.tell)
            else:
                part = "training" if level == "memory" else "inference"
                measure(self.contestants(part, threads, place), name, part, batch, self.results, self.plan, threads, chosen, self.tell)
            for row in self.results.rows[before:]:
                row.size = chosen.get("image_size", 0)
            self.save()


def own_kernel(path, threads, place=Place()):  # noqa: B008  it cannot be changed
    """The contestant that somebody brings."""
    if place.device == "cpu":
        if ".cu" in Path(path).suffix:
            raise ValueError(f"{path} is a CUDA kernel: it needs --device cuda")
        return OwnKernel(path, threads)
    from .rivals.own_cuda import own_kernel_on_gpu
    return own_kernel_on_gpu(path, threads, place)


def check_kernel(path, threads, place=Place()):  # noqa: B008  it cannot be changed
    """(whether all is right, a report) of the kernel in a file, on small awkward shapes."""
    kernel = own_kernel(path, threads, place)
    findings = validate.check(kernel.on_host() if place.device != "cpu" else kernel, math=place.math)
    return all(finding.fault is None or finding.unsupported for finding in findings), validate.report(findings)


def check_on_simulator(path):
    """(whether all is right, a report) of a CUDA kernel on the CPU simulator, which also sees accesses out of bounds, in a process of its own."""
    from ..kernels.cuda.simulator.build import environment as simulated
    program = ("import sys; from tinycnn.bench.run import check_kernel; from tinycnn.bench.rivals import Place; "
               "right, report = check_kernel(sys.argv[1], 1, Place('cuda', 'fp32')); print(report); sys.exit(not right)")
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, env={**os.environ, **simulated("asan")})
    return done.returncode == 0, done.stdout.rstrip() or done.stderr.rstrip()


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
