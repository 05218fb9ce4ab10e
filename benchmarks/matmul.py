"""Matrix products of the networks' shapes: kernels/matmul/cpu.py beside NumPy's BLAS (and PyTorch's, if installed).

    python benchmarks/matmul.py                 on all threads: wall time
    python benchmarks/matmul.py --threads 1     on one: CPU time, which a busy machine disturbs little

The rivals take turns in one process (tinycnn/bench/measure.py): a pause, so that none's idle threads spin into another's time, some calls to wake up, and the
median of the calls after them. Medians and quartiles over the rounds; "speed" is NumPy's time over ours, round by round. Results go to
benchmarks/results/matmul.json, under the number of threads.
"""
import os

os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # read when NumPy is imported: its idle threads give the core back at once

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from tinycnn.bench.measure import Plan, alternate, ratio
from tinycnn.kernels import runtime
from tinycnn.kernels.matmul import cpu

# name: (M, K, N), whether A is a transposed view, whether B is
SHAPES = {
    "convolution 3x3, VGG conv1_2, unfolded": ((64, 576, 50176), False, False),
    "convolution 1x1, ResNet stage 2": ((256, 64, 3136), False, False),
    "convolution 3x3, VGG conv4, unfolded": ((512, 4608, 784), False, False),
    "convolution 3x3, VGG conv5, unfolded": ((512, 4608, 196), False, False),
    "fc6 of VGG, batch 16": ((16, 25088, 4096), False, True),
    "fc6 of VGG, batch 1": ((1, 25088, 4096), False, True),
    "fc6 of AlexNet, batch 16": ((16, 9216, 4096), False, True),
    "fc6 of VGG, batch 16, input gradient": ((16, 4096, 25088), False, False),
    "fc6 of VGG, batch 16, weight gradient": ((4096, 16, 25088), True, False),
    "fc1 of LeNet, batch 128": ((128, 400, 120), False, True),
    "a small layer": ((10, 120, 128), False, False),
    "square": ((1024, 1024, 1024), False, False),
}


def draw(rng, rows, columns, transposed):
    return rng.standard_normal((columns, rows), np.float32).T if transposed else rng.standard_normal((rows, columns), np.float32)


def rivals(a, b, threads):
    """{name: a function that multiplies}"""
    candidates = {"tinycnn": lambda: cpu.matmul(a, b), "numpy": lambda: np.matmul(a, b)}
    try:
        import torch
    except ImportError:
        return candidates
    torch.set_num_threads(threads)
    a_torch, b_torch = torch.from_numpy(a), torch.from_numpy(b)
    return candidates | {"torch": lambda: a_torch @ b_torch}


def compare(shape, rng, threads, plan):
    """The medians and quartiles of each rival on one shape, as a line of the results."""
    (M, K, N), a_transposed, b_transposed = shape
    functions = rivals(draw(rng, M, K, a_transposed), draw(rng, K, N, b_transposed), threads)
    answers = [np.asarray(function()) for function in functions.values()]
    assert all(np.allclose(answer, answers[0], rtol=1e-3, atol=1e-4 * K**0.5) for answer in answers)
    samples = alternate(functions, plan, clock=time.thread_time if threads == 1 else time.perf_counter)
    line = {"M, K, N": [M, K, N], "rounds": plan.rounds}
    for rival, sample in samples.items():
        low, high = sample.quartiles
        line[rival] = {"ms": [round(1e3 * seconds, 6) for seconds in (low, sample.median, high)], "gflops": round(2e-9 * M * N * K / sample.median, 2)}
    speed, quartiles = ratio(samples["numpy"], samples["tinycnn"])
    return line | {"speed": [round(value, 3) for value in (quartiles[0], speed, quartiles[1])]}


def save(threads, results):
    """Add to what is stored for this number of threads."""
    path = Path(__file__).parent / "results" / "matmul.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    blas = next(info for info in threadpool_info() if info["user_api"] == "blas")
    entry = stored.setdefault(f"{threads} threads", {"results": {}})
    entry["machine"] = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    entry["versions"] = {"numpy": np.__version__, "blas": f"{blas['internal_api']} {blas['version']} {blas.get('architecture', '')}"}
    entry["results"] |= results
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(stored, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=runtime.get_num_threads())
    parser.add_argument("--rounds", type=int, default=Plan.rounds, help="in each, every rival has its turn")
    parser.add_argument("--seconds", type=float, default=0.1, help="of calls in each turn; one call at least")
    parser.add_argument("--only", default="", help="shapes whose name contains this")
    options = parser.parse_args()
    runtime.set_num_threads(options.threads)
    plan = Plan(rounds=options.rounds, seconds=options.seconds, most_calls=2000)
    rng = np.random.default_rng(0)
    results = {}
    with threadpool_limits(options.threads, "blas"):
        for name, shape in SHAPES.items():
            if options.only in name:
                results[name] = line = compare(shape, rng, options.threads, plan)
                columns = [f"{rival} {line[rival]['ms'][1]:8.3f} ms {line[rival]['gflops']:6.1f} GFLOP/s" for rival in line if rival in ("tinycnn", "numpy", "torch")]
                print(f"{name:40}" + "   ".join(columns) + f"   speed {line['speed'][1]:.2f} of NumPy's", flush=True)
    save(options.threads, results)


if __name__ == "__main__":
    main()
