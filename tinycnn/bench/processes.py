"""What can only be measured in a process of its own: memory, and how long it takes to start."""
import json
import os
import subprocess
import sys
import tempfile

from .measure import Plan, Sample
from .results import Row, timed

IMPORTS = {"tinycnn": "tinycnn", "pytorch": "torch", "onnxruntime": "onnxruntime", "openvino": "openvino", "mnn": "MNN", "ncnn": "ncnn", "numpy": "numpy"}
IMPORT = "import sys, time; start = time.perf_counter(); __import__(sys.argv[1]); print(time.perf_counter() - start)"


def run_child(task, environment=None):
    """What tinycnn.bench.child prints about this task. Raises RuntimeError with the last line of its complaint."""
    return last_line([sys.executable, "-m", "tinycnn.bench.child", json.dumps(task)], environment)


def last_line(command, environment=None):
    """The JSON in the last line that a process prints."""
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(environment or {})})
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])


def task_of(contestant, network, level, batch, options):
    """What the child is told."""
    return {"network": network, "contestant": f"{contestant.library}:{contestant.setting}", "level": level, "batch": batch, "threads": contestant.threads,
            "options": options or {}}


def measure_memory(contestants, network, level, batch, results, plan, threads, options=None, tell=lambda text: None):
    """Add rows with the most memory that runs of a network take, in fresh processes: above what is there when all is prepared, and in all."""
    rows = {"above": [], "in all": []}
    for contestant in contestants:
        tell(f"memory of {network}, {level}, batch {batch}: {contestant.name}")
        try:
            children, failure = [run_child({"what": "memory", **task_of(contestant, network, level, batch, options)}) for _ in range(min(plan.rounds, 3))], ""
        except (RuntimeError, OSError) as error:
            children, failure = [], f"fails: {error}"
        for what, part in (("above the prepared network", "above"), ("in all", "in all")):
            row = Row("memory", network, network, f"{level}, peak {what}", contestant.name, contestant.library, batch, threads, "", unit="MiB", refused=failure)
            if children:
                seen = [child[part] for child in children]
                row.value, row.quartiles, row.rounds = sorted(seen)[len(seen) // 2], (min(seen), max(seen)), tuple(seen)
            rows[part].append(row)
    for part in rows.values():
        ours = next((row for row in part if row.contestant == "tinycnn" and row.counts), None)
        for row in part:
            if ours and row is not ours and row.counts and row.value:
                row.ratio = ours.value / row.value
        results.rows += part


def measure_startup(contestants, network, level, batch, results, plan, threads, options=None, tell=lambda text: None):
    """Add rows about starting: importing each library; and the first result of a network, with nothing compiled and with everything compiled before."""
    libraries = dict.fromkeys(contestant.library for contestant in contestants)
    for library in libraries:
        tell(f"import {library}")
        row = Row("startup", network, "import", "import", library, library, 1, threads, "")
        results.rows.append(seconds(row, [last_line([sys.executable, "-c", IMPORT, IMPORTS[library]]) for _ in range(plan.rounds)]))
    rows = {"nothing compiled": [], "compiled before": []}
    for contestant in contestants:
        tell(f"the first {level} of {network}: {contestant.name}")
        task = {"what": "startup", **task_of(contestant, network, level, batch, options)}
        with tempfile.TemporaryDirectory() as folder:
            caches = {"TINYCNN_CACHE": folder, "TORCHINDUCTOR_CACHE_DIR": folder}
            for what, rounds in zip(rows, (1, plan.rounds)):
                row = Row("startup", network, f"first {level} after importing", what, contestant.name, contestant.library, batch, threads, "")
                rows[what].append(row)
                try:
                    seconds(row, [run_child(task, caches)["first"] for _ in range(rounds)])
                except (RuntimeError, OSError) as failure:
                    row.refused = f"fails: {failure}"
    results.rows += rows["nothing compiled"] + rows["compiled before"]


def seconds(row, seen):
    """The row, with what processes of their own took: their spread is shown and never a reason to refuse."""
    return timed(row, Sample(seen), None, Plan(most_spread=float("inf")))
