"""The kernels that are made of vectors, as machines with others would run them: narrower vectors, and 16 registers in place of 32, for which a tile has 6 rows.

The tests below run here, and once more, with some from other files, in a process that believes to be on such a machine. (Float32 only: each takes the compiler a minute.
What it compiles is kept in a folder of its own inside the usual one: Numba would take code for one number of registers for code for the other.)
"""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tolerance import close

from tinycnn.kernels import backend
from tinycnn.kernels.conv.geometry import Geometry
from tinycnn.kernels.runtime import cache_root

cpu, reference = backend("cpu"), backend("reference")

#   features as LLVM has them, (lanes, rows of a tile) that follow
MACHINES = {
    "SSE": (dict(sse2=True), (4, 6)),
    "scalar": (dict(neon=True), (1, 8)),
}
#   which tests of which files, as pytest's -k has it
TESTS = """(test_widths and convolution) or float32 and not reference and (
    test_pool and channels_last and overlapping and 17 and False
    or test_norm and both_orders_on_all_sizes and False
    or test_lrn and channels_last and 5-0.75 and False
    or test_elementwise and two_large_arrays and False
    or test_layout and conversion
    or test_reduce and sums_of_channels
    or test_matmul and few_rows) or test_activation and channels_last and False"""
#   x (N, C, H, W), w (K, C/G, R, S), Geometry: whole vectors and parts of one, whatever the width; results that are no multiple of a tile's rows
LAYERS = {
    "3x3": ((2, 37, 7, 9), (43, 37, 3, 3), Geometry((1, 1), (1, 1))),
    "5x5, groups": ((1, 38, 6, 11), (26, 19, 5, 5), Geometry((1, 1), (2, 2), (1, 1), 2)),
    "strided and dilated": ((1, 18, 13, 12), (35, 18, 3, 2), Geometry((2, 2), (2, 1), (1, 3))),
    "1x1": ((2, 35, 5, 3), (37, 35, 1, 1), Geometry()),
    "1x1, whole tiles": ((2, 48, 5, 11), (24, 48, 1, 1), Geometry()),
}


@pytest.mark.parametrize("algorithm", ["implicit", "winograd"])
@pytest.mark.parametrize("case", LAYERS)
def test_convolution(case, algorithm):
    """All three forms. Kills: sizes that are right for 16 lanes or 8 rows only."""
    x_shape, w_shape, geometry = LAYERS[case]
    if algorithm == "winograd" and case in ("strided and dilated", "1x1", "1x1, whole tiles"):
        pytest.skip("winograd is not for this")
    rng, P_Q = np.random.default_rng(0), geometry.output_size(x_shape[2:], w_shape[2:])
    x, w, bias, dy = (rng.standard_normal(shape).astype(np.float32) for shape in (x_shape, w_shape, w_shape[:1], (x_shape[0], w_shape[0], *P_Q)))
    wide = [array.astype(np.float64) for array in (x, w, bias, dy)]
    close(cpu.conv.forward(x, w, bias, geometry, algorithm), reference.conv.forward(*wide[:3], geometry), w[0].size)
    close(cpu.conv.input_grad(dy, w, x.shape, geometry, algorithm), reference.conv.input_grad(wide[3], wide[1], x.shape, geometry), w[:, 0].size)
    close(cpu.conv.weight_grad(dy, x, w.shape, geometry, algorithm), reference.conv.weight_grad(wide[3], wide[0], w.shape, geometry), dy[:, 0].size)


CHILD = """
import sys
import llvmlite.binding
import pytest
asked = llvmlite.binding.get_host_cpu_features
llvmlite.binding.get_host_cpu_features = lambda: {features}
from tinycnn.kernels.simd import tile, vector
llvmlite.binding.get_host_cpu_features = asked  # Numba compiles for the machine that there is
assert (vector.WIDTH, tile.ROWS) == {expected}
sys.exit(pytest.main({arguments}))
"""


@pytest.mark.parametrize("machine", MACHINES)
def test_on_other_machines(machine):
    """Kills: anything that holds for this machine's vectors only."""
    features, expected = MACHINES[machine]
    environment = os.environ | {"TINYCNN_SIMD_WIDTH": str(expected[0]), "TINYCNN_CACHE": str(Path(cache_root()) / f"as if {machine}")}
    arguments = ["-q", "-p", "no:cacheprovider", "--durations=10", "-k", " ".join(TESTS.split()), str(Path(__file__).parent)]
    run = subprocess.run([sys.executable, "-c", CHILD.format(features=features, expected=expected, arguments=arguments)], env=environment,
                         capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
