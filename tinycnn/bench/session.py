"""A first hour on a GPU, in one command: `benchmarks/gpu_session`. It writes a folder of results that is ready to be committed.

    benchmarks/gpu_session                      ten minutes; --minutes 30 for more layers, batches and rounds
    benchmarks/gpu_session --only training      these steps alone (--list names them), and what makes them ready
    benchmarks/gpu_session --rehearse           the same steps, tiny, on the CPU simulator, with a stand-in for the rivals

A GPU may be there once, and for minutes, so nothing may be lost. Each step is a process of its own with a limit of time: whatever happens to it, a crash of the driver
among it, is recorded, and the next one runs. Steps go from cheap to costly, so that what is missing at the end is the costly part. What a step measures is written as it
goes; session.json, with what became of every step, after each. Nothing is downloaded. The last step, tables and plots of all that is there, has its time reserved.

What takes longest is nothing that a GPU does: the float64 answers, on the CPU, and compiling. So all that is not timed goes on at once, on all cores: the tests, the
sanitizer, and every benchmark once without rivals, for its answers and its machine code. After that each benchmark finds these ready, and has the machine to itself.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from ..train.files import replacing

ROOT = Path(__file__).parents[2]
RESERVED = 60  # seconds for tables and plots
LEAST = 5  # seconds: a step with less is not begun
TINY = {"layers": [{"name": "3x3", "N": 2, "C": 3, "H": 6, "W": 5, "K": 4, "R": 3, "S": 3, "bias": True}]}
SMALL = ("matmul=9x20x30", "softmax=3x10", "softmax_backward=3x10", "cross_entropy=3x10", "relu=1025", "relu_backward=1025", "add=1025", "sgd=1025", "adam=1025")


class Step(NamedTuple):
    """A command with its limit of time; needs: a program without which there is no point in it; goes: whatever happens, also when the time is up; beside: at the same
    time as the others of which this is said."""

    name: str
    command: list
    seconds: float
    needs: str = ""
    goes: bool = False
    beside: bool = False


def steps(out, minutes, rehearse=False):
    """The session, from cheap to costly."""
    python, more = sys.executable, minutes >= 30

    def bench(name, seconds, level, *what):
        beside = ("--rivals", "standin")
        tiny = {"conv": (out / "tiny.json", *beside), "operations": (*SMALL, *beside)}.get(level, ("lenet5", "--rivals", "none", "--batch", "1"))
        what = (*tiny, "--rounds", "2", "--seconds", "0", "--most-spread", "1000") if rehearse else what
        return Step(name, [python, "-m", "tinycnn.cli", "bench", level, *map(str, what), "--device", "cuda", "--json", str(out / f"{name}.json")], seconds)

    def ready(step):
        """The answers and the machine code that a benchmark needs, before it is timed."""
        command = step.command[:step.command.index("--json")] + ["--rivals", "none", "--rounds", "1", "--seconds", "0", "--most-spread", "1000"]
        return Step(f"{step.name}-ready", command, untimed, beside=True)

    def tests(name, *what, before=(), needs=""):
        what = ("tests/kernels/test_activation.py", "-k", "cuda and gradient") if rehearse else what
        return Step(name, [*before, python, "-m", "pytest", "-p", "no:cacheprovider", *what], untimed, needs, beside=True)

    untimed = 900 if more else 210
    quick, full = ("--rounds", 3, "--seconds", 0.02), ("--rounds", 5 if more else 3, "--seconds", 0.2 if more else 0.05)
    fewer = () if more else ("--rivals", "cudnn,pytorch")  # cuDNN's graph interface has hundreds of candidates for each layer: conv-one tries them
    both = ("--math", "fp32", "--math", "tf32")
    batch, others = ("--batch", 32 if more else 16), ("alexnet_owt", "googlenet_torchvision", "vgg16")
    sanitizer = ("compute-sanitizer", "--error-exitcode", "9", "--target-processes", "all")
    benchmarks = [
        bench("training", 240 if more else 90, "training", "resnet50", "--batch", 16, *quick),
        bench("inference", 240 if more else 90, "inference", "resnet50", "--batch", 1, "--batch", 16, *quick),
        bench("operations", 120 if more else 60, "operations", *quick),
        bench("layers-alexnet", 120 if more else 60, "layer", "alexnet", "--batch", 16, *quick),
        bench("conv-resnet50", 500 if more else 120, "conv", "resnet50", *batch, *(full if more else quick), *fewer),
        bench("conv-vgg16", 240 if more else 60, "conv", "vgg16", *batch, *full, *fewer),
        *([] if not more else [
            bench("conv-googlenet", 300, "conv", "googlenet", *both, *quick),
            bench("conv-alexnet", 120, "conv", "alexnet", *both, *quick),
            bench("layers-resnet50", 180, "layer", "resnet50", "--batch", 64, *quick),
        ]),
        bench("training-others", 400 if more else 90, "training", *others, "--batch", 32 if more else 16, *quick,
              *(() if more else ("--rivals", "pytorch:nchw,pytorch:graph"))),  # to compile GoogLeNet takes PyTorch more than a minute
        bench("inference-others", 300 if more else 90, "inference", *others, "--batch", 1, "--batch", 32 if more else 16, *quick),
    ]
    return [
        Step("device", ["nvidia-smi", "-q"], 30, "nvidia-smi"),
        Step("software", [python, "-m", "tinycnn.cli", "info"], 90),
        Step("packages", [python, "-m", "pip", "list", "--disable-pip-version-check"], 60),
        tests("kernels", "tests/kernels", "-k", "cuda"),
        tests("engine", "tests/engine", "-k", "cuda"),
        tests("memcheck", "-n", "0", "tests/kernels/test_activation.py", "tests/kernels/test_cuda_conv.py", "-k", "cuda or reference", before=sanitizer,
              needs="compute-sanitizer"),
        *([] if not more else [
            tests("racecheck", "-n", "0", "tests/kernels/test_cuda_conv.py", before=(*sanitizer, "--tool", "racecheck"), needs="compute-sanitizer")]),
        *map(ready, benchmarks),
        bench("conv-one", 120 if more else 60, "conv", "resnet50", "--layer", "layer2.0.conv2", *quick),
        *benchmarks,
        bench("conv-resnet50-tf32", 120, "conv", "resnet50", *batch, "--math", "tf32", *quick, *fewer),
        Step("tables-and-plots", [python, "-m", "tinycnn.bench.session", "--finish", str(out)], RESERVED, goes=True),
    ]


def chosen_steps(todo, only):
    """Of the steps those with these names, with the steps that make them ready; what says where it all ran, and tables and plots, always."""
    wrong = set(only) - {step.name for step in todo}
    if wrong:
        raise SystemExit(f"--only: there is no step {', '.join(sorted(wrong))}; there are {', '.join(step.name for step in todo)}")
    always = ("device", "software", "packages", "tables-and-plots")
    return [step for step in todo if step.name.removesuffix("-ready") in only or step.name in always]


# ---- running them

def run(todo, out, seconds, environment, tell=print, clock=time.monotonic):
    """Run the steps within so many seconds; returns their records, which are in session.json all the time."""
    began, records = clock(), []

    def one(number, step):
        left = seconds - (clock() - began) - (0 if step.goes else RESERVED)
        record = {"name": step.name, "command": step.command, "status": "", "seconds": 0.0, "log": f"{number:02}-{step.name}.log"}
        if step.needs and shutil.which(step.needs) is None:
            record |= {"status": "skipped", "why": f"there is no {step.needs} here", "log": ""}
        elif left < LEAST and not step.goes:
            record |= {"status": "skipped", "why": "no time was left", "log": ""}
        else:
            tell(f"{step.name} ({min(step.seconds, max(left, step.seconds if step.goes else 0)):.0f} s at most)")
            record |= attempt(step.command, step.seconds if step.goes else min(step.seconds, left), out / record["log"], environment)
            record |= judged(step.command, record)
        tell(f"  {step.name}: {record['status']}" + (f" ({record['why']})" if record.get("why") else f", {record['seconds']:.0f} s"))
        return record

    for beside, some in groupby(enumerate(todo), lambda numbered: numbered[1].beside):
        with ThreadPoolExecutor(max(2, os.cpu_count() // 2)) as pool:
            for record in (pool.map if beside else map)(one, *zip(*some)):  # one by one, each when what the one before did has been written down
                records.append(record)
                write(out, records, seconds)
    return records


def attempt(command, seconds, log, environment):
    """{"status", "seconds", "why"} of a process, whose output goes to the file `log`; it and its children are killed when its time is up."""
    began = time.monotonic()
    try:
        with open(log, "wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=ROOT, env=environment, start_new_session=True)
            try:
                code = process.wait(seconds)
                status, why = ("passed", "") if code == 0 else ("failed", f"ended with {code}: {last_line(log)}")
            except subprocess.TimeoutExpired:
                status, why = "timed out", f"after {seconds:.0f} s: {last_line(log)}"
            finally:
                kill(process)
    except OSError as error:
        status, why = "failed", str(error)
    return {"status": status, "seconds": round(time.monotonic() - began, 1), "why": why}


def judged(command, record):
    """{"status", "why"} of a step that was to measure something, by what it has measured: one without any figure has failed, however it ended."""
    path = Path(command[command.index("--json") + 1]) if "--json" in command else None
    if path is None or record["status"] == "failed":
        return {}
    try:
        rows = json.loads(path.read_text())["rows"]
    except (OSError, ValueError, KeyError):
        rows = []
    missing = sum(row["value"] is None or bool(row["refused"]) for row in rows)
    kept = f"{len(rows) - missing} of {len(rows)} rows have a figure"
    if record["status"] == "passed" and missing == len(rows):
        return {"status": "failed", "why": kept}
    return {"why": "; ".join(filter(None, (record["why"], kept if missing or record["status"] != "passed" else "")))}


def kill(process):
    """The process, if it still runs, and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:  # it hangs in the driver, where nothing reaches it: the session goes on without it
        pass


def last_line(log):
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"


def write(out, records, seconds):
    """session.json, and README.md with the same for people."""
    with replacing(out / "session.json") as part:
        part.write_text(json.dumps({"date": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": seconds, "steps": records}, indent=1) + "\n")
    when = f"{datetime.now(UTC):%d %B %Y}, {seconds / 60:.0f} minutes."
    lines = ["# A session on a GPU", "", f"{when} `device` and `software` say on what; tables.md has the figures, plots/ the pictures.", "",
             "| step | | seconds | why |", "|---|---|---:|---|"]
    lines += [f"| {r['name']} | {r['status']} | {r['seconds']:.0f} | {r.get('why', '').replace('|', '/')} |" for r in records]
    with replacing(out / "README.md") as part:
        part.write_text("\n".join(lines) + "\n")


def finish(out):
    """Tables and plots of all results in the folder, each by itself: a file that cannot be read is named, and the others are drawn."""
    from .plots import draw
    from .report import table
    from .results import Results
    texts, found, broken = [], {}, []
    for path in sorted(out.glob("*.json")):
        if path.name in ("session.json", "tiny.json"):
            continue
        try:
            found[path.stem] = Results.from_json(path.read_text())
            texts.append(f"# {path.stem}\n\n{table(found[path.stem], markdown=True)}")
        except Exception as error:  # whatever is wrong with one file, the others count
            broken.append(f"{path.name}: {type(error).__name__}: {error}")
    with replacing(out / "tables.md") as part:
        part.write_text("\n\n".join(texts) + "\n")
    for name, results in found.items():
        try:
            print(f"{name}: {len(results.rows)} rows, {len(draw(results, out / 'plots' / name))} pictures", flush=True)
        except Exception as error:
            broken.append(f"plots of {name}: {type(error).__name__}: {error}")
    if broken:
        sys.exit("\n".join(broken))


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="benchmarks/gpu_session", description=__doc__.partition("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="how long it may take; from 30 on it does more (default: 10)")
    parser.add_argument("--out", type=Path, help="the folder of results (default: benchmarks/results/gpu-DATE)")
    parser.add_argument("--only", metavar="STEP,STEP", help="these steps alone, and what makes them ready (--list names them)")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU simulator, with tiny problems and a stand-in for the rivals")
    parser.add_argument("--list", action="store_true", help="show the steps and do nothing")
    parser.add_argument("--finish", type=Path, metavar="FOLDER", help="only draw what is in a folder")
    chosen = parser.parse_args(arguments)
    if chosen.finish:
        return finish(chosen.finish)
    kind = "rehearsal" if chosen.rehearse else "gpu"
    out = (chosen.out or ROOT / "benchmarks" / "results" / f"{kind}-{datetime.now(UTC):%Y-%m-%d-%H%M}").resolve()
    todo = steps(out, chosen.minutes, chosen.rehearse)
    todo = chosen_steps(todo, chosen.only.split(",")) if chosen.only else todo
    if chosen.list:
        for step in todo:
            print(f"{step.name:20} {step.seconds:4.0f} s  {' '.join(step.command)}")
        return None
    out.mkdir(parents=True, exist_ok=True)
    (out / "tiny.json").write_text(json.dumps(TINY))
    with tempfile.TemporaryDirectory() as answers:
        environment = {**os.environ, "TINYCNN_CUDA": "simulate" if chosen.rehearse else "gpu", "TINYCNN_ANSWERS": answers, "MPLBACKEND": "Agg", "PYTHONUNBUFFERED": "1"}
        records = run(todo, out, 60 * chosen.minutes, environment, lambda text: print(text, flush=True))
    bad = [record["name"] for record in records if record["status"] in ("failed", "timed out")]
    print(f"{out}: {len(records) - len(bad)} of {len(records)} steps went well" + (f"; not {', '.join(bad)}" if bad else "") + f". To keep it: git add {out}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
