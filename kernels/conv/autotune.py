"""Choosing the algorithm by trying: the first time that a problem (form, shape, dtype) is met, every algorithm that can do it runs, and the fastest is taken
from then on.

Off unless asked for (TINYCNN_AUTOTUNE=1, or tinycnn.set_autotune(True)), because it gives something up: algorithms round differently, so which bits a network
computes would depend on the machine and on what else ran there during a few milliseconds. With the model's choice (algorithms.py) they depend on shapes alone.

What was found is kept in the cache folder, in a file for each machine and each state of the kernels' sources, so that the same machine chooses the same the next time;
deleting the folder lets it try again.
"""
import json
import os
import tempfile
import threading
import time
from contextlib import suppress
from math import inf
from pathlib import Path

import llvmlite.binding as llvm
import numba
import numpy as np

from ..layout import from_nhwc
from ..runtime import cache_folder
from .sizes import sizes

ROUNDS = 5  # in each, every algorithm runs once; its best round counts
HOPELESS = 8  # an algorithm is not tried where the model expects it to take so many times as long as the best

_on = os.environ.get("TINYCNN_AUTOTUNE", "0") not in ("", "0")
_lock = threading.Lock()
_chosen = {}  # problem -> the name of an algorithm, in this process


def set_autotune(on):
    """Choose algorithms by trying them (True), or by the model of their cost (False)."""
    global _on
    _on = bool(on)


def autotune_enabled():
    """Whether algorithms are chosen by trying them."""
    return _on


def fastest(form, x_shape, w_shape, geometry, dtype, modules):
    """The name of the fastest of the algorithms `modules` (looked at only if need be) for this problem; None for one without elements."""
    problem = form, x_shape, w_shape, geometry, dtype, numba.get_num_threads()
    if problem not in _chosen:
        with _lock:
            _chosen[problem] = None if 0 in (*x_shape, *w_shape) else _look_up(problem, list(modules))
    return _chosen[problem]


def _look_up(problem, modules):
    """What an earlier process found, or what shows now."""
    *what, dtype, threads = problem
    key, file = f"{' '.join(map(str, what))} {dtype}, {threads} threads", path()
    known = _read(file)
    if key not in known:
        seconds = _try(*what, dtype, modules)
        known = _read(file) | {key: {"algorithm": min(seconds, key=seconds.get), "seconds": seconds}}  # others may have found something meanwhile
        _write(file, known)
    return known[key]["algorithm"]


def path():
    """The file in which this machine's findings are kept. The folder's name has the hash of the kernels."""
    return Path(cache_folder("conv")) / f"autotune-{llvm.get_host_cpu_name()}-{os.cpu_count()}.json"


def _read(file):
    """{problem: what was found}; a file that is not there, or that another program wrote, tells nothing."""
    with suppress(OSError, ValueError):
        return json.loads(file.read_text())
    return {}


def _write(file, known):
    """Whole or not at all. A folder that cannot be written is no reason to fail: the next process tries again."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, suffix=".part", delete=False) as part:
            json.dump(known, part, indent=1)
        os.replace(part.name, file)


def _try(form, x_shape, w_shape, geometry, dtype, modules):
    """{name: seconds}, the least of ROUNDS."""
    n = sizes(x_shape, w_shape, geometry)
    costs = {module: module.cost(form, n, geometry, dtype) for module in modules}
    limit = HOPELESS * min(costs.values())
    runs = {module.NAME: _run(form, module, n, w_shape, geometry, dtype) for module, cost in costs.items() if cost <= limit and cost < inf}
    for run in runs.values():  # compiles
        run()
    seconds = dict.fromkeys(runs, inf)
    for _ in range(ROUNDS if len(runs) > 1 else 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def _run(form, module, n, w_shape, geometry, dtype):
    """The problem with random numbers, as a function without arguments. Images lie channels-last, as they do between fast kernels."""
    rng = np.random.default_rng(0)
    x, dy = (from_nhwc(rng.standard_normal(shape).astype(dtype)) for shape in ((n.N, n.H, n.W, n.C), (n.N, n.P, n.Q, n.K)))
    w = rng.standard_normal(w_shape).astype(dtype)
    if form == "input_grad":
        return lambda: module.input_grad(dy, w, x.shape, geometry)
    if form == "weight_grad":
        return lambda: module.weight_grad(dy, x, w_shape, geometry)
    return lambda: module.forward(x, module.pack(w, x.shape, geometry, once=True), w_shape, None, geometry)
