"""`tinycnn cuda check`: every detector fires on its planted bug, names the line, and says nothing of the repaired kernel."""
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_runs import failure
from cuda_device import needs_simulator

from tinycnn.cli import main
from tinycnn.kernels.cuda.simulator import build
from tinycnn.tools.cuda import check, check_kernel

pytestmark = needs_simulator

HERE = Path(__file__).parent
MUSEUM = HERE / "cuda_museum.cu"
BUGS = HERE.parents[1] / "docs" / "cuda" / "bugs"
BYOK = HERE.parents[1] / "benchmarks" / "byok"
LAUNCH = "y = {y}\nlaunch({kernel!r}, {grid}, {block}, x, y, shared={shared}, BUG={bug})\n"

PLANTED = {  # file: (who finds it, what, words in the lines that are named)
    "1_reverse": ("tsan", "race between threads of a block", ["s[i] = x[first + i]", "y[first + i] = s[THREADS"]),
    "2_blur": ("asan", "out of bounds", ["right = x[i + 1]"]),
    "3_sum": ("plain", "barrier", ["__syncthreads();"]),
    "4_histogram": ("tsan", "race between", ["counts[x[i] % 16] += 1"]),
    "5_convolve": ("trace", "uninitialised memory", ["sum += w[tap] * s[i + tap]"]),
}
KERNELS = {  # kernel: (who finds it, what, words of the message, launch)
    "after_the_end": ("asan", "out of bounds", "thread (31, 0, 0) of block (0, 0, 0) writes `y`[32] (but `y` has 32 elements of float32)", {}),
    "before_the_beginning": ("asan", "out of bounds", "thread (0, 0, 0) of block (0, 0, 0) reads `x`[-1] (but `x` has 256", {}),
    "shared_index": ("asan", "out of bounds", "index 2 of an array declared as float [2][32]", {}),
    "shared_pointer": ("asan", "out of bounds", "writes shared or static `s`, which has 128 bytes: 0 bytes after it", {}),
    "dynamic_shared": ("asan", "out of bounds", "dynamic shared memory, which has 128 bytes", {"shared": 128}),
    "misaligned": ("asan", "misaligned", "takes a float4 from `x`[", {}),
    "overflow": ("asan", "undefined behaviour", "signed integer overflow", {"y": "empty(32, dtype=np.int32)"}),
    "early_return": ("plain", "barrier", "is reached by 17 threads", {}),
    "two_barriers": ("plain", "barrier", "divergent __syncthreads", {}),
    "half_a_warp": ("plain", "barrier", "waits at __shfl_xor_sync", {}),
    "order_of_blocks": ("plain", "depends on the order of threads", "`y`", {"grid": 8, "y": "np.zeros(1, np.float32)"}),
    "lanes_of_a_warp": ("tsan", "race between threads of a warp", "shared `s`", {}),
    "warps_of_a_block": ("tsan", "race between threads of a block", "dynamic shared memory", {"block": 64, "shared": 256, "y": "empty(64)"}),
    "blocks_of_a_grid": ("tsan", "race between blocks", "`y`[0]", {"grid": 4, "y": "np.zeros(1, np.float32)"}),
    "fresh_memory": ("trace", "uninitialised memory", "reads `y`[0], which nobody has written", {}),
    "unset_shared": ("trace", "uninitialised memory",
                     "thread (0, 0, 0) of block (1, 0, 0) reads 4 bytes of shared memory", {"grid": 2, "y": "empty(64, dtype=np.int32)"}),
    "copy_not_awaited": ("trace", "uninitialised memory", "shared memory", {}),
}


def launches(tmp_path, kernels, bug):
    """A description that launches these kernels of the museum."""
    path = tmp_path / "launch.py"
    with_defaults = (LAUNCH.format(kernel=kernel, bug=bug, **({"grid": 1, "block": 32, "shared": 0, "y": "empty(32)"} | KERNELS[kernel][3])) for kernel in kernels)
    path.write_text("x = np.arange(256, dtype=np.float32)\n" + "".join(with_defaults))
    return path


def places(path, finding):
    """The lines that a finding names."""
    text = path.read_text().splitlines()
    assert all(Path(place.file).resolve() == path.resolve() for place in finding.places)
    return [text[place.line - 1] for place in finding.places]


@pytest.mark.parametrize("name", PLANTED)
def test_planted_bugs_are_found(name):
    """The five of docs/cuda/bugs. Kills: a detector that sleeps; a line that is not named."""
    way, kind, lines = PLANTED[name]
    report = check(BUGS / f"{name}.cu", seeds=1, ways=(way,))
    first = report.findings[0]
    assert first.kind.startswith(kind) and first.advice and way in first.found_by, str(report)
    named = places(report.path, first)
    assert all(any(line in there for there in named) for line in lines), named


@pytest.mark.parametrize("name", PLANTED)
def test_solutions_are_silent(name):
    """Kills: a detector that always barks."""
    check_kernel(BUGS / "solutions" / f"{name}.cu", seeds=2, ways=(PLANTED[name][0],))


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", sorted([*BUGS.glob("solutions/*.cu"), BUGS.parent / "transpose.cu", BYOK / "direct.cu"]), ids=lambda path: path.stem)
def test_solutions_are_silent_in_all_ways(path):
    check_kernel(path)


@pytest.mark.parametrize("kernel", [kernel for kernel in KERNELS if KERNELS[kernel][0] in ("asan", "plain")])
def test_bugs_that_end_a_launch(kernel, tmp_path):
    """Kills: a report that is not understood; a thread, an array or a line that is not named."""
    way, kind, words, _ = KERNELS[kernel]
    seeds = 3 if kernel == "order_of_blocks" else 1
    report = check(MUSEUM, seeds=seeds, ways=(way,), launch=launches(tmp_path, [kernel], 1))
    assert [finding.kind for finding in report.findings] == [kind] * len(report.findings) and words in report.findings[0].message, str(report)
    if kernel != "order_of_blocks":
        assert any(f"here: {kernel}" in line for line in places(MUSEUM, report.findings[0])), str(report)


@pytest.mark.parametrize("way", ["tsan", "trace"])
def test_bugs_that_do_not(way, tmp_path):
    """All in one process: each is found. Kills: a detector that stops at the first; reports that are taken for another launch's."""
    kernels = [kernel for kernel in KERNELS if KERNELS[kernel][0] == way]
    report = check(MUSEUM, seeds=1, ways=(way,), launch=launches(tmp_path, kernels, 1))
    for kernel in kernels:
        found = [finding for finding in report.findings if any(f"here: {kernel}" in line for line in places(MUSEUM, finding))]
        assert found and all(finding.kind == KERNELS[kernel][1] and KERNELS[kernel][2] in finding.message for finding in found), f"{kernel}\n{report}"
    named = {re.search(r"here: (\w+)", line) and re.search(r"here: (\w+)", line)[1] for finding in report.findings for line in places(MUSEUM, finding)}
    assert named - {None} == set(kernels)


@pytest.mark.parametrize("n, races", [(64, False), (32, True)])
def test_races_of_a_second_launch(n, races, tmp_path):
    """Where ThreadSanitizer's threads serve again: other threads write the same elements in the next launch, which is no race, or blocks of one launch do, which is one.
    Kills: launches without an order; a thread that serves again in its own launch, or under its old name."""
    path = tmp_path / "wrap.cu"
    path.write_text('''#include "device.h"
extern "C" __global__ void wrap(float* y, int n) {
    y[(2 * n - 1 - blockIdx.x * blockDim.x - threadIdx.x) % n] = 1;
}
/* check
y = empty(96)
launch("wrap", 3, 32, y, 96)
''' + f'launch("wrap", 2, 32, y, {n})\n*/\n')
    report = check(path, seeds=1, ways=("tsan",))
    assert [finding.kind for finding in report.findings] == ["race between blocks"] * races, str(report)
    assert all(f"thread (0, 0, 0) of block ({block}, 0, 0)" in str(report) for block in range(2 * races)), str(report)


def test_races_of_blocks_far_apart(tmp_path):
    """The last thread of one block of 1024 with the first of the one before. Kills: a thread forgotten before the next block has ended."""
    path = tmp_path / "far.cu"
    path.write_text('''#include "device.h"
extern "C" __global__ void far(float* y) {
    if (threadIdx.x == 1023 * blockIdx.x) y[0] = 1;
}
/* check
y = empty(1)
launch("far", 2, 1024, y)
launch("far", 2, 1024, y)
*/
''')
    report = check(path, seeds=1, ways=("tsan",))
    assert [finding.kind for finding in report.findings] == ["race between blocks"] and "thread (0, 0, 0) of block (0, 0, 0)" in str(report), str(report)


@pytest.mark.parametrize("meeting", ["syncthreads", "syncwarp"])
def test_races_of_blocks_that_wait(meeting, tmp_path):
    """A block writes before it waits, the next but one after it has waited. Kills: one block's barriers, or its warps' meetings, that order the next blocks."""
    path = tmp_path / "wait.cu"
    path.write_text('''#include "device.h"
extern "C" __global__ void wait(float* y) {
    if (blockIdx.x == 0) y[threadIdx.x] = 1;
    __MEETING();
    if (blockIdx.x == 2) y[31 - threadIdx.x] = 1;
}
/* check
y = empty(32)
launch("wait", 3, 32, y)
*/
'''.replace("MEETING", meeting))
    report = check(path, seeds=1, ways=("tsan",))
    assert [finding.kind for finding in report.findings] == ["race between blocks"], str(report)


def test_a_launch_that_fails_comes_before_the_next(tmp_path):
    """Kills: races with threads that had not ended."""
    path = tmp_path / "half.cu"
    path.write_text('''#include "device.h"
extern "C" __global__ void half(float* y, int waits) {
    y[waits ? threadIdx.x : 63 - threadIdx.x] = 1;
    if (threadIdx.x < waits) __syncthreads();
}
/* check
y = empty(64)
try:
    launch("half", 1, 64, y, 40)
except RuntimeError as error:
    assert "__syncthreads" in str(error)
launch("half", 1, 64, y, 0)
expect(y, np.ones(64))
*/
''')
    check_kernel(path, seeds=1, ways=("tsan",))


def test_a_forked_process_finds_no_race(tmp_path):
    """After a launch a process forks, and its child launches. Kills: threads of the parent that serve again in the child."""
    path = tmp_path / "wrap.cu"
    path.write_text('''#include "device.h"
extern "C" __global__ void wrap(float* y, int n) {
    y[(blockIdx.x * blockDim.x + threadIdx.x + n) % 96] = 1;
}
''')
    program = tmp_path / "fork.py"
    program.write_text(f'''import os
os.environ.pop("LD_PRELOAD")
from tinycnn.kernels.cuda import array_module, launch
cuda = array_module()
y = cuda.empty(96, "float32")
def run(n):
    launch({str(path)!r}, "wrap", 3, 32, y, n)
    cuda.cuda.Device().synchronize()
run(0)
child = os.fork()
run(5)
if child == 0: os._exit(0)
assert os.waitpid(child, 0)[1] == 0
''')
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **build.environment("tsan")}
    result = subprocess.run([sys.executable, program], env=variables, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("way", ["plain", "asan", "tsan", "trace"])
def test_the_repaired_museum_is_silent(way, tmp_path):
    """All kernels of it in one process. Kills: a false alarm, of any way about any kernel."""
    check_kernel(MUSEUM, seeds=2, ways=(way,), launch=launches(tmp_path, KERNELS, 0))


# ---- descriptions, launches, the command

SCALE = """#include "device.h"
extern "C" __global__ void scale(const float* x, float* y, float factor, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = factor * x[i];
}
"""
GOOD = 'x = random(100)\ny = empty(100)\nlaunch("scale", blocks(100, 32), 32, x, y, 2.0, 100)\nexpect(y, 2 * x)\n'


def scale(tmp_path, change=("", ""), kernel=("", "")):
    path = tmp_path / "scale.cu"
    path.write_text(f"{SCALE.replace(*kernel)}/* check\n{GOOD.replace(*change)}*/\n")
    return path


@pytest.mark.parametrize("change, kind, message", [
    (("x, y,", "x.astype(np.float64), y,"), "wrong launch", "`const float* x` is an array of float64, the kernel was compiled for float32"),
    (("2.0, 100)", "2.0, 2.5)"), "wrong launch", "`int n` is 2.5, which a int32 cannot hold"),
    (("2.0, 100)", "2.0)"), "wrong launch", "3 arguments were given, it takes 4"),
    (("x, y,", "random(200)[::2], y,"), "wrong launch", "is not C-contiguous: give np.ascontiguousarray"),
    ((", 32, x", ", 2048, x"), "wrong launch", "has 2048 threads"),
    (("blocks(100, 32)", "1"), "wrong result", "68 of 100 elements are wrong; the first is element 32: nan (which memory is that nobody has written), expected was"),
    (("2 * x", "2 * z"), "wrong description", "NameError: name 'z' is not defined"),
    (("2 * x", "np.add(x)"), "wrong description", "TypeError"),
    (("expect(y", "expect((y"), "wrong description", "SyntaxError"),
])
def test_what_a_description_gets_wrong(change, kind, message, tmp_path):
    """Kills: any of these without its line, or taken for the kernel's fault."""
    path = scale(tmp_path, change)
    report = check(path, seeds=1, ways=("plain",))
    assert len(report.findings) == 1 and report.findings[0].kind == kind and message in report.findings[0].message, str(report)
    line = path.read_text().splitlines()[report.findings[0].places[0].line - 1]
    assert change[1] in line or (change[1] == "1" and "expect" in line)


@pytest.mark.parametrize("between, unset", [("", True), ("y[32:] = 1", False), ("y[40:] = 1", True), ("launch('scale', 4, 32, x, y, 1.0, 100)", False)])
def test_arrays_keep_their_marks_between_launches(between, unset, tmp_path):
    """The first kernel writes 32 elements of y; what comes between, more; the second reads all. Kills: marks forgotten, or set by the upload; numbers written by hand
    taken for unset."""
    path = tmp_path / "add.cu"
    path.write_text(SCALE + 'extern "C" __global__ void add(float* y, int n) {\n    if (threadIdx.x < n) y[threadIdx.x] += 1;\n}\n'
                    f"/* check\nx = random(100)\ny = empty(100)\nlaunch('scale', 1, 32, x, y, 2.0, 100)\n{between}\nlaunch('add', 1, 128, y, 100)\n*/\n")
    report = check(path, seeds=1, ways=("trace",))
    assert [finding.kind for finding in report.findings] == ["uninitialised memory"] * unset, str(report)
    assert not unset or "reads `y`[32" in report.findings[0].message


def test_what_does_not_compile(tmp_path):
    """Kills: a compiler's message without its line."""
    report = check(scale(tmp_path, kernel=("y[i] =", "z[i] =")), seeds=1, ways=("plain",))
    assert report.findings[0].kind == "does not compile" and report.findings[0].places[0].line == 4


@pytest.mark.exhaustive
def test_kernels_that_do_not_end_or_crash(tmp_path):
    """Kills: a checker that waits for ever; one that dies with the kernel."""
    report = check(scale(tmp_path, kernel=("y[i] =", "for (volatile int k = 1; k;) y[i] =")), seeds=1, ways=("plain",), timeout=20)
    assert [finding.kind for finding in report.findings] == ["does not end"]
    report = check(scale(tmp_path, kernel=("y[i] =", "y[i + (1ll << 44)] =")), seeds=1, ways=("plain", "asan"))
    assert sorted(finding.kind for finding in report.findings) == ["crash", "out of bounds"]


@pytest.mark.skipif(shutil.which("gdb") is None, reason="gdb is not installed")
def test_a_debugger_stops_where_it_is_told():
    """Kills: kernels without their lines or variables."""
    command = [sys.executable, "-m", "tinycnn.cli", "cuda", "debug", str(BUGS / "3_sum.cu"), "17", "--if", "i == 3"]
    shown = subprocess.run(command, input="print half * 1000 + i\nprint simulator::here.thread.x + 500\nkill\nquit\n", capture_output=True, text=True).stdout
    assert "s[i] += s[i + half];" in shown and "64003" in shown and "503" in shown, shown


def test_files_without_a_description(tmp_path, capsys):
    path = tmp_path / "scale.cu"
    path.write_text(SCALE)
    assert "does not say how it is launched" in failure(capsys, ["cuda", "check", str(path)], 1)
    (tmp_path / "scale.py").write_text("x = 1\n")
    report = check(path, seeds=1, ways=("plain",))
    assert "launches nothing" in report.findings[0].message
    (tmp_path / "scale.py").write_text(GOOD)
    check_kernel(path, seeds=1, ways=("plain",))


def test_without_a_compiler(monkeypatch, tmp_path, capsys):
    """Kills: a traceback where g++ is missing."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no-such-compiler, which is not installed" in failure(capsys, ["cuda", "check", str(scale(tmp_path))], 1)


def test_the_command(tmp_path, capsys):
    """A failing order of threads is named, and alone fails again; JSON; exit status. Kills: a seed that is not the one."""
    path = tmp_path / "order.cu"
    path.write_text('#include "device.h"\nextern "C" __global__ void last(float* y) { atomicExch(y, float(blockIdx.x)); }\n'
                    '/* check\ny = np.zeros(1, np.float32)\nlaunch("last", 4, 1, y)\nexpect(y, [3])\n*/\n')
    failure(capsys, ["cuda", "check", str(path), "--seeds", "6", "--mode", "plain", "--json"], 1)
    with pytest.raises(SystemExit):
        main(["cuda", "check", str(path), "--seeds", "6", "--mode", "plain"])
    text = capsys.readouterr().out
    seed = re.search(r"again: tinycnn cuda check \S+ --seed (\d+)", text)[1]
    assert seed != "0" and "line 6: expect(y, [3])" in text
    with pytest.raises(SystemExit):
        main(["cuda", "check", str(path), "--seed", seed, "--mode", "plain", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["seeds"] == [int(seed)] and found["findings"][0]["found_by"] == {"plain": int(seed)}
    main(["cuda", "check", str(path), "--seed", "0", "--mode", "plain"])
    assert "nothing found in 1 launches" in capsys.readouterr().out
