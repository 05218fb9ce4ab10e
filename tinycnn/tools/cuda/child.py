"""The process in which a description runs: kernels compiled in one way, every order of threads in turn. It may crash; what it found until then is written already.

    python -m tinycnn.tools.cuda.child KERNELS.cu DESCRIPTION|- SEED,SEED,... EVENTS [TRACE]

EVENTS gets a line of JSON for everything that happens; TRACE (a .npz, in the mode "trace") all accesses. The way to compile is in the environment (build.environment).
"""
import hashlib
import json
import os
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tinycnn.kernels.cuda import array_module, launch, source
from tinycnn.kernels.cuda.simulator import build, trace
from tinycnn.kernels.cuda.simulator.module import Library

from . import description, reports


class Child:
    """Runs a description, and writes down what happens."""

    def __init__(self, path, events):
        self.path, self.events = Path(path).resolve(), events
        self.traced = build.mode() == "trace"
        self.number = 0  # of the next launch
        self.recordings = []  # of each launch

    def tell(self, event, **facts):
        self.events.write(json.dumps({"event": event, **facts}) + "\n")
        self.events.flush()

    def run(self, text, file, seeds):
        first = None
        for seed in seeds:
            os.environ["TINYCNN_CUDA_SEED"] = str(seed)
            self.seed = seed
            self.tell("seed", seed=seed)
            self.launching = False
            self.arrays = {}  # id of a NumPy array: OnDevice
            self.session = description.Session(self.launch)
            try:
                names = self.session.run(text, file)
            except Exception as error:
                self.tell("error", type=type(error).__name__, message=str(error), file=str(file), line=_line(error, str(file)), launching=self.launching)
                if not isinstance(error, (RuntimeError, description.Wrong)):
                    return  # another order of threads does not change it
                continue
            results = {name: hashlib.sha256(value.tobytes()).hexdigest() for name, value in names.items() if isinstance(value, np.ndarray)}
            first = first or (seed, results)
            different = [name for name in results if results[name] != first[1].get(name)]
            if different and not self.session.expectations:
                self.tell("order", arrays=different, other_seed=first[0])
        self.tell("end")

    def launch(self, kernel, grid, block, arguments, options):
        """Run one kernel of the file on NumPy arrays."""
        self.launching = True
        given = []
        for argument in arguments:
            if isinstance(argument, np.ndarray) and argument.dtype.kind != "V":
                if not argument.flags.c_contiguous:
                    raise ValueError(f"{kernel}: an array of shape {argument.shape} and strides {argument.strides} is not C-contiguous: give np.ascontiguousarray(x)")
                if id(argument) not in self.arrays:
                    self.arrays[id(argument)] = OnDevice(argument, any(argument is array for array in self.session.fresh))
                given.append(self.arrays[id(argument)])
            else:
                given.append(argument)
        for array in given:
            if isinstance(array, OnDevice):
                array.upload()
        self.given = given
        defines = {name: value if isinstance(value, (int, str)) else np.dtype(value) for name, value in options.items() if name != "shared"}
        self.types = {"index_t": np.dtype(np.int32), **defines}
        Library.watch = self.watch
        launch(str(self.path), kernel, grid, block, *(array.device if isinstance(array, OnDevice) else array for array in given), **options)
        array_module().cuda.Device().synchronize()
        for array in given:
            if isinstance(array, OnDevice):
                array.download()
        self.launching = False

    @contextmanager
    def watch(self, library, kernel, grid, block, values):
        """Around each launch: what it is given, in case that it is the last; and its trace."""
        parameters = source.kernels(self.path, self.types)[kernel].parameters
        arrays = {}
        for parameter, argument in zip(parameters, self.given):
            if isinstance(argument, OnDevice):
                arrays.setdefault(argument.address, (parameter.name, argument))
        facts = [{"name": name, "address": address, "bytes": array.host.nbytes, "dtype": str(array.host.dtype)} for address, (name, array) in arrays.items()]
        print(reports.MARK, self.seed, self.number, file=sys.stderr, flush=True)  # to which launch a sanitizer's report belongs
        self.number += 1
        self.tell("launch", kernel=kernel, grid=grid, block=block, arrays=facts, library=str(library.path))
        if not self.traced:
            yield
            return
        with trace.recorded(library, [(address, array.host.nbytes, array.written) for address, (_, array) in arrays.items()]) as recording:
            yield
        self.recordings.append(recording)
        self.tell_unset(recording, library, facts)
        if recording.not_kept:
            self.tell("not_kept", accesses=recording.not_kept)

    def tell_unset(self, recording, library, arrays):
        """The first read of each instruction that read what nobody has written."""
        unset = recording.accesses[recording.accesses["kind"] & trace.UNSET != 0]
        _, firsts = np.unique(unset["instruction"], return_index=True)
        lines = trace.lines(library.path, unset["instruction"][firsts])
        for access in unset[firsts]:
            file, line = lines.get(int(access["instruction"]), (None, None))
            array = None if access["memory"] >= trace.STATIC_SHARED else arrays[access["memory"]]
            index = int(access["offset"]) // np.dtype(array["dtype"]).itemsize if array else None
            self.tell("unset", file=file, line=line, block=int(access["block"]), thread=int(access["thread"]), bytes=int(access["bytes"]),
                      array=array and array["name"], index=index)

    def save(self, path):
        """All accesses of all launches."""
        np.savez(path, **{str(number): recording.accesses for number, recording in enumerate(self.recordings)})


class OnDevice:
    """A NumPy array and its counterpart on the simulated device, with what has been written (in the mode "trace" only known for arrays from empty())."""

    def __init__(self, host, fresh):
        self.host, self.device = host, array_module().asarray(host)
        self.seen = host.copy()
        self.written = np.zeros(host.nbytes, np.uint8) if fresh else None
        if fresh:
            self.written |= self._bytes(host) != 0xFF

    @property
    def address(self):
        return self.device.data.ptr

    def upload(self):
        changed = self._bytes(self.host) != self._bytes(self.seen)
        if changed.any():
            self.device.set(self.host)
            if self.written is not None:
                self.written |= changed

    def download(self):
        self.host[...] = self.device.get()
        self.seen = self.host.copy()

    @staticmethod
    def _bytes(array):
        return array.reshape(-1).view(np.uint8)


def _line(error, file):
    """The line of the description at which an error arose."""
    if isinstance(error, SyntaxError):
        return error.lineno
    frames = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return frames[-1] if frames else None


def main(path, described, seeds, events, saved=None):
    os.environ.pop("LD_PRELOAD", None)  # for this process alone, not for the compiler that it starts
    text, file = description.read(path, None if described == "-" else described)
    with open(events, "a") as stream:
        child = Child(path, stream)
        child.run(text, file, [int(seed) for seed in seeds.split(",")])
        if saved:
            child.save(saved)


if __name__ == "__main__":
    main(*sys.argv[1:])
