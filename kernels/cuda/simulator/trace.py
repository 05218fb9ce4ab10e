"""What a launch reads and writes, access by access: kernels compiled in the mode "trace" (trace.h), and their source lines."""
import ctypes
import subprocess
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np

ACCESS = np.dtype([("offset", np.uint64), ("instruction", np.uint64), ("block", np.uint32), ("thread", np.uint32), ("bytes", np.uint16), ("kind", np.uint8),
                   ("memory", np.uint8)], align=True)
READ, WRITE, ATOMIC, UNSET = 0, 1, 2, 4  # UNSET is added to a read of bytes that nobody wrote
STATIC_SHARED, DYNAMIC_SHARED = 254, 255  # in place of an array's number
SIMULATOR = Path(__file__).parent


class Recording:
    """The accesses of one launch: a structured array of ACCESS in the order in which they happened. offset: bytes from the beginning of the array, or of shared memory;
    memory: number of the array, or STATIC_SHARED or DYNAMIC_SHARED; instruction: see lines()."""

    accesses = np.empty(0, ACCESS)
    not_kept = 0  # accesses beyond what memory allows


@contextmanager
def recorded(library, arrays):
    """Record what launches of `library` (compiled in the mode "trace") do inside `with`. arrays: (address, bytes, written) of each; `written` is a uint8 array with an
    element for each byte, 0 where nobody has written yet, or None where all is. More than 250 arrays are too many. Accesses that lie in none of them, nor in shared
    memory, are not recorded."""
    recording, handle = Recording(), library.library
    handle.simulator_accesses.restype = ctypes.c_void_p
    handle.simulator_record(True)
    for address, size, written in arrays:
        handle.simulator_watch(ctypes.c_void_p(address), ctypes.c_size_t(size), ctypes.c_void_p(None if written is None else written.ctypes.data))
    try:
        yield recording
    finally:
        count, not_kept = ctypes.c_size_t(), ctypes.c_size_t()
        first = handle.simulator_accesses(ctypes.byref(count), ctypes.byref(not_kept))
        if count.value:
            memory = (ctypes.c_char * (count.value * ACCESS.itemsize)).from_address(first)
            recording.accesses = np.frombuffer(memory, ACCESS).copy()
        recording.not_kept = not_kept.value
        handle.simulator_record(False)


def lines(library, instructions):
    """{instruction: (file, line)}: where the source says so, outside the simulator's own headers. addr2line comes with every compiler."""
    wanted = sorted({int(instruction) for instruction in instructions})
    if not wanted:
        return {}
    text = subprocess.run(["addr2line", "-a", "-i", "-e", str(library)], input="\n".join(map(hex, wanted)), capture_output=True, text=True, check=True).stdout
    found, at = {}, None
    for line in text.splitlines():
        if line.startswith("0x"):
            at = int(line, 16)
            continue
        file, _, number = line.split(" (")[0].rpartition(":")
        if at not in found and number.isdigit() and not _is_ours(file):
            found[at] = file, int(number)
    return found


@lru_cache
def _is_ours(file):
    return file == "??" or SIMULATOR in Path(file).resolve().parents
