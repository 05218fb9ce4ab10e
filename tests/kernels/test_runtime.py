"""How kernels are compiled: what the cache depends on, and that nothing is compiled or imported before it is needed."""
import ast
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinycnn
from tinycnn import kernels
from tinycnn.kernels import runtime

FOLDER = Path(kernels.__file__).parent


def test_kernels_import_only_what_their_cache_folder_depends_on():
    """A kernel that imports from another folder without saying so (USES) would not be recompiled when that changes. Kills: such an import."""
    for source in FOLDER.rglob("*.py"):
        operation = source.relative_to(FOLDER).parts[0] if source.parent != FOLDER else None
        compiled = operation != "cuda" and source.name != "reference.py" and not source.name.startswith("cuda")  # by Numba
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 2 and operation and compiled:
                target = (node.module or "").split(".")[0]
                allowed = ("graph", *runtime.USES.get(operation, ()))  # which notes what is called: no machine code depends on it
                assert (FOLDER / f"{target}.py").exists() or target in allowed, f"{source} imports from ..{node.module}"
                assert set(runtime.USES.get(target, ())) <= {*allowed}, f"what {target} uses, {operation} uses"
            assert not (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tinycnn")), f"{source} imports a floor above, {node.module}"


def test_the_cache_folder_follows_the_sources(tmp_path, monkeypatch):
    """Kills: stale machine code after an edit in the operation or in what it shares; recompiling everything after an edit elsewhere."""
    for path in ("runtime.py", "conv/cpu.py", "pool/cpu.py", "simd/vector.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("")
    monkeypatch.setattr(runtime, "__file__", str(tmp_path / "runtime.py"))

    def name():
        runtime.cache_folder.cache_clear()
        return runtime.cache_folder("conv")
    try:
        before = name()
        (tmp_path / "pool/cpu.py").write_text("edited")
        assert name() == before
        for path in ("conv/cpu.py", "simd/vector.py", "runtime.py"):
            (tmp_path / path).write_text("edited")
            assert name() != before
            before = name()
    finally:
        runtime.cache_folder.cache_clear()


def test_numba_keeps_its_own_cache_folder_for_others():
    import numba
    before = numba.config.CACHE_DIR

    @runtime.jit
    def f(x):
        return x + 1
    assert f(1) == 2 and numba.config.CACHE_DIR == before


def test_importing_compiles_nothing(tmp_path):
    """A fresh cache folder stays empty. Kills: a kernel called, or compiled for a fixed signature, at import."""
    code = ("import tinycnn, tinycnn.nn, tinycnn.optim, tinycnn.models, tinycnn.data\n"
            "from tinycnn import kernels\n"
            "cpu = kernels.backend('cpu')\n"
            "for operation in kernels.OPERATIONS: getattr(cpu, operation)\n")
    subprocess.run([sys.executable, "-c", code], check=True, env={"TINYCNN_CACHE": str(tmp_path), "PATH": "", "HOME": str(tmp_path)})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def parameters(function):
    """Names of the parameters that may go by position, in their order, and of those that may not."""
    found = inspect.signature(function).parameters.values()
    by_name = {parameter.name for parameter in found if parameter.kind == inspect.Parameter.KEYWORD_ONLY}
    return [parameter.name for parameter in found if parameter.name not in by_name], by_name


def test_every_implementation_has_the_functions_of_its_reference():
    """The table of backends rests on it. Kills: a function or an argument that only one side has."""
    for operation in kernels.OPERATIONS:
        reference, cpu = (getattr(kernels.backend(name), operation) for name in ("reference", "cpu"))
        for name, function in inspect.getmembers(reference, inspect.isfunction):
            if function.__module__ == reference.__name__ and not name.startswith("_") and hasattr(cpu, name):
                (expected, named), (found, also_named) = map(parameters, (function, getattr(cpu, name)))
                assert found[:len(expected)] == expected and named <= also_named, f"{operation}.{name}"


def test_contiguous():
    x = np.arange(6.0).reshape(2, 3)
    assert runtime.contiguous(x) is x or np.shares_memory(runtime.contiguous(x), x)
    assert runtime.contiguous(x.T).flags.c_contiguous and runtime.contiguous(np.float64(3)).shape == ()


def test_threads_are_set_and_refused():
    most = tinycnn.get_num_threads()
    tinycnn.set_num_threads(1)
    assert tinycnn.get_num_threads() == 1
    tinycnn.set_num_threads(most)
    with pytest.raises(ValueError, match="NUMBA_NUM_THREADS"):
        tinycnn.set_num_threads(10_000)


def test_unknown_names():
    with pytest.raises(AttributeError, match="no kernel operation 'convolve'"):
        kernels.backend("cpu").convolve  # noqa: B018
    with pytest.raises(ValueError, match="unknown kernel backend 'gpu'"):
        kernels.backend("gpu")
