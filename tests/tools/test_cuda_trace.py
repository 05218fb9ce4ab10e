"""`tinycnn cuda trace`: sectors, bank conflicts and bytes of kernels that were counted by hand."""
import json
from pathlib import Path

import numpy as np
import pytest
from cli_runs import failure
from cuda_device import needs_simulator

from tinycnn.cli import main
from tinycnn.kernels.cuda.simulator.trace import ACCESS, STATIC_SHARED
from tinycnn.tools.cuda import picture, trace, tracer

HERE = Path(__file__).parent
TRANSPOSE = HERE.parents[1] / "docs" / "cuda" / "transpose.cu"
GLOBAL = {  # name: (what the 32 lanes of one warp do, of the reads of x (requests, sectors of all, at best, bytes asked for), of the writes of y)
    "neighbours": ("y[lane] = x[lane];", (1, 4, 4, 128), (1, 4, 4, 128)),
    "shifted": ("y[lane] = x[lane + 1];", (1, 5, 4, 128), (1, 4, 4, 128)),
    "every_second": ("y[lane] = x[2 * lane];", (1, 8, 4, 128), (1, 4, 4, 128)),
    "columns": ("y[lane] = x[32 * lane];", (1, 32, 4, 128), (1, 4, 4, 128)),
    "backwards": ("y[lane] = x[31 - lane];", (1, 4, 4, 128), (1, 4, 4, 128)),
    "the_same": ("y[lane] = x[5];", (1, 1, 1, 4), (1, 4, 4, 128)),
    "sixteen_bytes": ("((float4*)y)[lane] = ((const float4*)x)[lane];", (1, 16, 16, 512), (1, 16, 16, 512)),
    "three_floats": ("((float3*)y)[lane] = ((const float3*)x)[lane];", (3, 36, 12, 384), (3, 36, 12, 384)),  # every third word, three times
    "half_the_lanes": ("if (lane < 16) y[lane] = x[lane];", (1, 2, 2, 64), (1, 2, 2, 64)),
    "a_loop": ("for (int i = 0; i < 5; ++i) y[32 * i + lane] = x[5 * lane + i];", (5, 100, 20, 640), (5, 20, 20, 640)),
    "uneven_loop": ("for (int i = 0; i < lane / 8; ++i) y[32 * i + lane] = x[32 * i + lane];", (3, 6, 6, 192), (3, 6, 6, 192)),  # by 24, 16 and 8 lanes
    "counter": ("atomicAdd(y, x[lane]);", (1, 4, 4, 128), (1, 1, 1, 4)),
    "asynchronous": ("__shared__ __align__(16) float s[128]; cp_async_16(s + 4 * lane, x + 4 * lane); cp_async_commit(); cp_async_wait<0>(); y[lane] = s[4 * lane];",
                     (1, 16, 16, 512), (1, 4, 4, 128)),
}
SHARED = {  # name: (type and step between lanes that read shared memory, turns of the banks, at best)
    "one_word_each": ("float", 1, 1, 1), "every_second_word": ("float", 2, 2, 1), "every_third_word": ("float", 3, 1, 1), "one_bank": ("float", 32, 32, 1),
    "padded": ("float", 33, 1, 1), "one_word_for_all": ("float", 0, 1, 1), "doubles": ("double", 1, 2, 2), "every_second_double": ("double", 2, 4, 2),
    "fours": ("float4", 1, 4, 4), "four_lanes_a_word": ("uint8", 1, 1, 1),
}


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    """All of these kernels, traced in one process."""
    path = tmp_path_factory.mktemp("trace") / "counts.cu"
    form = 'extern "C" __global__ void {}(const float* x, float* y) {{ int lane = threadIdx.x; {} }}\n'
    shared = "DYNAMIC_SHARED({0}, s); for (int i = lane; i < 1056; i += 32) s[i] = {0}(); __syncthreads(); (({0}*)y)[lane] = s[lane * {1}];"
    kernels = {name: body for name, (body, *_) in GLOBAL.items()} | {name: shared.format(kind, step) for name, (kind, step, *_) in SHARED.items()}
    path.write_text('#include "device.h"\n' + "".join(form.format(name, body) for name, body in kernels.items()))
    path.with_suffix(".py").write_text(f"x = np.zeros(1024, np.float32)\nfor kernel in {list(kernels)}:\n"
                                       "    launch(kernel, 1, 32, x, np.zeros(1024, np.float32), shared=1056 * 16)\n")
    return trace(path)


@needs_simulator
@pytest.mark.parametrize("kernel", GLOBAL)
def test_sectors(kernel, counts):
    """Kills: a sector of the wrong size; lanes counted one by one; requests put together wrongly in loops; a line that is not the access's."""
    lines = {line.memory: line for line in counts.lines if line.kernel == kernel and line.memory != "shared"}
    reads, writes = lines["x"], lines["y"]
    assert (reads.kind, writes.kind) == ("read", "atomic" if kernel == "counter" else "write")
    assert [(x.requests, x.sectors, x.least_sectors, x.asked) for x in (reads, writes)] == list(GLOBAL[kernel][1:])
    assert f"void {kernel}(" in reads.text
    assert {array.name: array.moved for array in counts.arrays if array.kernel == kernel} == {"x": 32 * reads.sectors, "y": 32 * writes.sectors}


@needs_simulator
@pytest.mark.parametrize("kernel", SHARED)
def test_banks(kernel, counts):
    """Kills: lanes that want the same word counted as a conflict; wide accesses made by all lanes at once."""
    line = next(line for line in counts.lines if line.kernel == kernel and line.memory == "shared" and line.kind == "read")
    assert (line.requests, line.passes, line.least_passes) == (1, *SHARED[kernel][2:])


@needs_simulator
def test_transpositions(capsys, tmp_path):
    """The worked example: strided, through shared memory, with padding. Table, JSON, picture. Kills: blocks or warps put together; an array's bytes counted twice."""
    result = trace(TRANSPOSE)
    of = {(line.kernel, line.memory, line.kind): line for line in result.lines}
    tiles, requests = 2 * 3, 2 * 3 * 32
    for kernel in ("transpose_naive", "transpose_tiled", "transpose_padded"):
        read, write = of[kernel, "x", "read"], of[kernel, "y", "write"]
        assert read.requests == write.requests == requests and read.accesses == 64 * 96 == tiles * 1024
        assert read.moved == read.asked == 4 * 64 * 96 and write.asked == 4 * 64 * 96
        assert write.moved == write.asked * (8 if kernel == "transpose_naive" else 1)
        if kernel != "transpose_naive":
            assert of[kernel, "shared", "write"].conflicts == 0
            assert of[kernel, "shared", "read"].conflicts == (31 * requests if kernel == "transpose_tiled" else 0)
    assert [(array.touched, array.moved) for array in result.arrays if array.kernel == "transpose_naive"] == [(24576, 24576), (24576, 8 * 24576)]
    text = str(result)
    assert "32.0      4.0  192 KB  24 KB   12%  y[column * height + row] =" in text and "tile[threadIdx.x][i];" in text
    main(["cuda", "trace", str(TRANSPOSE), "--kernel", "transpose_tiled", "--json", "--png", str(tmp_path / "picture.png")])
    shown = json.loads(capsys.readouterr().out)
    assert {line["kernel"] for line in shown["lines"]} == {"transpose_tiled"} and sum(line["conflicts"] for line in shown["lines"]) == 31 * requests
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert "no kernel 'transposed' was launched: there are transpose_naive" in failure(capsys, ["cuda", "trace", str(TRANSPOSE), "--kernel", "transposed"], 1)


@needs_simulator
def test_kernels_that_do_not_run(tmp_path, capsys):
    """Kills: a table of half a launch."""
    path = tmp_path / "wrong.cu"
    path.write_text('#include "device.h"\nextern "C" __global__ void f(float* x) { if (threadIdx.x) __syncthreads(); }\n/* check\nlaunch("f", 1, 32, random(4))\n*/\n')
    assert "the kernels do not run" in failure(capsys, ["cuda", "trace", str(path)], 1)


# ---- the arithmetic, without a compiler

def accesses(offsets, size=4, threads=None, instruction=1, memory=0):
    made = np.zeros(len(offsets), ACCESS)
    made["offset"], made["bytes"], made["instruction"], made["memory"] = offsets, size, instruction, memory
    made["thread"] = np.arange(len(offsets)) if threads is None else threads
    return made


def test_requests():
    """Lanes one after the other, two warps, one of them twice. Kills: the n-th time counted over threads; warps mixed."""
    order = accesses(range(5), threads=[0, 0, 1, 1, 32])
    numbers = tracer.request_numbers(order, 64)
    assert numbers[0] == numbers[2] and numbers[1] == numbers[3] and len(set(numbers.tolist())) == 3
    assert tracer.request_numbers(order[:0], 64).size == 0


@pytest.mark.parametrize("offsets, size, turns", [
    (range(0, 128, 4), 4, (1, 1)), ([0] * 32, 4, (1, 1)), ([128 * i for i in range(32)], 4, (32, 1)), ([0, 128], 4, (2, 1)), ([0, 2], 2, (1, 1)),
    (range(0, 512, 16), 16, (4, 4)), ([256 * i for i in range(32)], 8, (32, 2)), (range(0, 128, 16), 16, (1, 1)),
])
def test_turns_of_banks(offsets, size, turns):
    """Kills: half-warps and quarter-warps taken together; bytes of one word taken for several."""
    assert tracer.passes(accesses(list(offsets), size, memory=STATIC_SHARED)) == turns


def test_sectors_of_accesses():
    """Kills: an access across a border counted once."""
    assert tracer.sectors(accesses([28, 30], 4)).tolist() == [0, 1] and tracer.sectors(accesses([32], 16)).tolist() == [1]


def test_what_a_picture_shows():
    """Which lane is in which word; the banks in which lanes wait. Kills: the highest lane instead of the lowest; a conflict where lanes want one word."""
    lanes = picture._lanes_of_words(accesses([0, 4, 4, 128]))
    assert lanes == {0: (0, False), 1: (1, True), 32: (3, False)}
    assert picture._waiting_banks(lanes).tolist() == [0]
    assert picture._waiting_banks(picture._lanes_of_words(accesses([0] * 32))).tolist() == []
    assert picture._waiting_banks(picture._lanes_of_words(accesses(range(0, 512, 16), 16))).tolist() == []
