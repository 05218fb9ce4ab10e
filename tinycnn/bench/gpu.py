"""The harness on a GPU: time by the device's own clock, inputs that are not in its cache, the most that it can do, and what it says about itself.

**Time.** A call only queues work, so events are queued around each call, and the device notes when it passes them. In Python a call takes some tens of microseconds to
queue, longer than many kernels take to run. So that the device never waits for the next call, it is first given something else to do for as long as queueing takes:
what is measured is the work, back to back. (Whole networks are measured without this: there, queueing is part of what a user waits for.)

**Cold inputs.** Arrays that were just used are in the L2 cache (50 MB on an H100, a whole layer). In a network they often are not. So a call takes the next of several
copies of its inputs, which together are three times as large as that cache, as far as MOST_COPIES go.

**Peaks** are measured by own kernels (gpu.cu), in the same run; what the device's properties promise is noted beside. The peak of tensor cores is what mma.sync
reaches, the instruction that hand-written kernels use; it is below the data sheet's figure on devices that have a faster one.

On the CPU simulator (TINYCNN_CUDA=simulate) all of this runs and its times say nothing about any GPU; results are marked so.
"""
import shutil
import subprocess
import time
from itertools import cycle
from pathlib import Path

import numpy as np

from ..kernels.cuda import array_module, launch
from ..kernels.cuda.backend import is_simulated

SOURCE = str(Path(__file__).with_name("gpu.cu"))
CHAINS, BLOCK = 8, 256  # of gpu.cu
MOST_COPIES = 128
MOST_HOLD = 0.05  # seconds that the device is kept busy while calls are queued
LANES = {"70": 64, "75": 64, "80": 64, "86": 128, "87": 128, "89": 128, "90": 128, "100": 128, "103": 128, "120": 128}  # FP32 units of a multiprocessor
CLOCKS = ("clocks.sm", "clocks.mem", "temperature.gpu", "power.draw")  # as nvidia-smi calls them


# ---- time

class GpuTimer:
    """Times calls by events of the device (see measure.Timer). back_to_back: keep the device busy while calls are queued."""

    exchange = None

    def __init__(self, back_to_back=True):
        self.back_to_back, self.queueing = back_to_back, {}

    def times(self, function, calls):
        """[seconds of each call]"""
        cuda = array_module().cuda
        events = [(cuda.Event(), cuda.Event()) for _ in range(calls)]
        if self.back_to_back:
            keep_busy(min(1.3 * calls * self.queueing.get(function, 0.0), MOST_HOLD))
        start = time.perf_counter()
        for before, after in events:
            before.record()
            function()
            after.record()
        self.queueing[function] = (time.perf_counter() - start) / calls
        events[-1][1].synchronize()
        return [max(cuda.get_elapsed_time(before, after), 1e-6) / 1e3 for before, after in events]

    def warm_up(self, function, seconds):
        """One call: as many as can be queued in so many seconds might keep the device busy for much longer."""
        function()


def keep_busy(seconds):
    """Queue a kernel of one block that takes so long."""
    steps = int(seconds / seconds_of_a_step())
    if steps > 0:
        launch(SOURCE, "multiply_add", 1, 32, array_module().empty(32, np.float32), min(steps, 2**31 - 1))


def seconds_of_a_step(steps=20_000, known=[]):  # noqa: B006  the default is where it is kept
    """How long multiply_add takes for a step."""
    if not known:
        known.append(least_seconds(lambda out: launch(SOURCE, "multiply_add", 1, 32, out, steps), 32) / steps)
    return known[0]


def least_seconds(function, size, calls=5):
    """The least time of several calls of function(an array of `size` floats): a peak is what the device can do, not what it usually does."""
    out = array_module().empty(size, np.float32)
    timer = GpuTimer(back_to_back=False)
    timer.times(lambda: function(out), 1)
    return min(timer.times(lambda: function(out), calls))


# ---- inputs

def rotation(arrays, cold=True):
    """A function that gives the next tuple of device copies of these NumPy arrays (None stays None), which all lie as they do there, channels-last or contiguous."""
    first = tuple(to_device(array) for array in arrays)
    several = [first, *(tuple(copied(array) for array in first) for _ in range(copies(arrays, cold) - 1))]
    return cycle(several).__next__


def copies(arrays, cold=True):
    """How many copies of these arrays there must be."""
    nbytes = sum(array.nbytes for array in arrays if array is not None)
    return min(MOST_COPIES, -(-3 * l2_bytes() // max(nbytes, 1))) or 1 if cold else 1


def in_turn(prepare, arrays, cold=True):
    """The same for who brings arrays to the device in its own way: prepare() makes copies of its own and a function that uses them; the result calls these in turn."""
    following = cycle([prepare() for _ in range(copies(arrays, cold))]).__next__
    return lambda: following()()


def to_device(array):
    """A device array with the elements of a NumPy array, in the same order in memory (contiguous, or channels-last)."""
    xp = array_module()
    if array is None:
        return None
    if array.ndim == 4 and not array.flags.c_contiguous and array.transpose(0, 2, 3, 1).flags.c_contiguous:
        return xp.asarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return xp.asarray(np.ascontiguousarray(array))


def copied(array):
    """Another device array with the same elements in the same order."""
    if array is None or array.flags.c_contiguous:
        return None if array is None else array.copy()
    return array.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)


def l2_bytes():
    return array_module().cuda.Device().attributes.get("L2CacheSize", 0)


# ---- the device

def facts():
    """What somebody else would want to know about the device to judge the figures."""
    xp = array_module()
    device, simulated = xp.cuda.Device(), is_simulated()
    found = {"device": "CPU simulator: times say nothing about a GPU" if simulated else xp.cuda.runtime.getDeviceProperties(device.id)["name"].decode(),
             "simulated": simulated, "compute_capability": device.compute_capability, "multiprocessors": device.attributes["MultiProcessorCount"],
             "L2_MiB": l2_bytes() / 2**20, "cupy": xp.__version__}
    if not simulated:
        found |= {"memory_GiB": round(device.mem_info[1] / 2**30, 1), "driver": xp.cuda.runtime.driverGetVersion(), "runtime": xp.cuda.runtime.runtimeGetVersion(),
                  "clocks_before": clocks()}
    return found


def clocks():
    """{"clocks.sm": "1980 MHz", ...} at this moment, by nvidia-smi; nothing where that is not there or does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None or is_simulated():
        return {}
    command = [program, f"--query-gpu={','.join(CLOCKS)}", "--format=csv,noheader", f"--id={array_module().cuda.Device().pci_bus_id}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (subprocess.SubprocessError, OSError):
        return {}
    return dict(zip(CLOCKS, (value.strip() for value in answer.strip().split(","))))


def peaks(steps=None, copied=None):
    """[{"threads", "math", "gflops", "gbps", "by", and what the properties promise}], one for "fp32" and one for "tf32".

    steps, copied: of the measuring kernels and bytes of the array that is copied; by default as many as a GPU needs some milliseconds for, and few on the simulator.
    """
    simulated, device = is_simulated(), array_module().cuda.Device()
    steps, copied = steps or (20 if simulated else 20_000), copied or (1 << 12 if simulated else 512 << 20)
    blocks = 2 if simulated else 8 * device.attributes["MultiProcessorCount"]
    threads = blocks * BLOCK
    fma = least_seconds(lambda out: launch(SOURCE, "multiply_add", blocks, BLOCK, out, steps), threads)
    mma = least_seconds(lambda out: launch(SOURCE, "tensor_cores", blocks, BLOCK, out, steps), threads)
    target = array_module().empty(copied // 4, np.float32)
    moving = least_seconds(lambda out: launch(SOURCE, "copy", -(-copied // (16 * BLOCK)), BLOCK, target, out, copied // 4), copied // 4)
    gbps, by = round(2 * copied / moving / 1e9, 1), "own kernels (gpu.cu)"
    flops = {"fp32": 2 * CHAINS * steps * threads / fma, "tf32": 2 * 16 * 8 * 8 * CHAINS * steps * threads / 32 / mma}
    return [{"threads": 1, "math": math, "gflops": round(rate / 1e9, 1), "gbps": gbps, "by": by, "by_properties": promised(device)} for math, rate in flops.items()]


def promised(device):
    """{"fp32_gflops", "gbps"} from the device's properties, as far as it tells them: units * 2 * clock; bus width * 2 * clock."""
    of, found = device.attributes, {}
    lanes, clock = LANES.get(device.compute_capability), of.get("ClockRate")  # kHz
    if lanes and clock:
        found["fp32_gflops"] = round(2 * lanes * of["MultiProcessorCount"] * clock / 1e6, 1)
    if of.get("MemoryClockRate") and of.get("GlobalMemoryBusWidth"):
        found["gbps"] = round(2 * of["MemoryClockRate"] * 1e3 * of["GlobalMemoryBusWidth"] / 8 / 1e9, 1)
    return found
