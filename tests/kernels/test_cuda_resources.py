"""Every CUDA kernel compiled for two architectures: what it takes of registers and shared memory, held to a recorded budget, and nothing spilled.

A kernel that takes more than its budget has fewer warps under way, and may be slower without anything being wrong otherwise. Needs NVIDIA's compiler, no GPU:
pip install -e '.[cuda-compile]'. After a change that is meant, and for a new kernel:  python tests/kernels/test_cuda_resources.py  records what there is.
"""
import json
from pathlib import Path

import numpy as np
import pytest
from cuda_device import simulator_only

from tinycnn.kernels.cuda import compiler, source

BUDGETS = Path(__file__).parent / "cuda_budgets.json"  # {file: {types: {kernel: {architecture: [registers, bytes of shared memory, bytes of stack]}}}}
ARCHITECTURES = ("sm_80", "sm_90")
FILES = sorted(str(path.relative_to(source.KERNELS)) for path in source.KERNELS.rglob("*.cu"))
GRANULARITY = 8  # registers come in eights


def types(dtype):
    """What a launch would give to names that a source leaves open, all numbers being of one dtype."""
    numbers = {name: np.dtype(dtype) for name in ("real", "input", "A", "B", "C", "T", "X", "Y")}
    return numbers | {"index_t": np.dtype(np.int32), "winner_t": np.dtype(np.uint8), "FORMULA": "a + b", "COMBINE": "a + b", "BEATS": "a > b"}


TYPES = {file: {"float32": types(np.float32), "float64": types(np.float64)} for file in FILES}
TYPES["conv/tensor.cu"] = {"float32": types(np.float32), "float16": types(np.float32) | {"input": np.dtype(np.float16)}}


def needs(file, defines):
    """{kernel: {architecture: Resources}}"""
    found = {}
    for architecture in ARCHITECTURES:
        for kernel, resources in compiler.resources(source.path_of(file), defines, architecture).items():
            found.setdefault(kernel, {})[architecture] = resources
    return found


@simulator_only  # budgets are those of the newest compiler; a GPU's driver may need an older one
@pytest.mark.parametrize("file", FILES)
def test_budget(file):
    """Kills: registers spilled to memory; a change by which fewer blocks fit a multiprocessor; a kernel that NVIDIA's compiler refuses."""
    try:
        compiler.find()
    except RuntimeError as error:
        pytest.skip(str(error))
    budgets = json.loads(BUDGETS.read_text()).get(file, {})
    for label, defines in TYPES[file].items():
        for kernel, by_architecture in needs(file, defines).items():
            for architecture, found in by_architecture.items():
                what = f"{file}, {kernel} of {label} for {architecture}"
                assert found.spills == 0, f"{what}: {found.spills} bytes of registers are spilled"
                budget = budgets.get(label, {}).get(kernel, {}).get(architecture)
                assert budget, f"{what} has no budget: python {Path(__file__).name} records it"
                taken = [found.registers, found.shared, found.stack]
                assert all(a <= b for a, b in zip(taken, budget)), f"{what} takes {taken} (registers, shared memory, stack); its budget is {budget}"


def record():
    """Write what all kernels take now, registers rounded up to what is really given out."""
    budgets = {}
    for file in FILES:
        for label, defines in TYPES[file].items():
            for kernel, by_architecture in needs(file, defines).items():
                for architecture, found in by_architecture.items():
                    assert found.spills == 0, f"{file}, {kernel} of {label} for {architecture} spills"
                    registers = -(-found.registers // GRANULARITY) * GRANULARITY
                    budgets.setdefault(file, {}).setdefault(label, {}).setdefault(kernel, {})[architecture] = [registers, found.shared, found.stack]
    lines = []
    for file, by_type in budgets.items():
        rows = []
        for label, kernels in by_type.items():
            rows.append(f'  "{label}": {{\n' + ",\n".join(f'   "{kernel}": {json.dumps(budget)}' for kernel, budget in sorted(kernels.items())) + "}")
        lines.append(f' "{file}": {{\n' + ",\n".join(rows) + "}")
    BUDGETS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    record()
