"""What a run of a description says (events of child.py, reports of the sanitizers, how it ended) as findings: in plain words, with lines of the source."""
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from tinycnn.kernels.cuda.simulator import trace

MARK = "tinycnn cuda check: launch"  # a line of standard error, with the seed and the number of the launch that comes

ADVICE = {
    "race between threads of a warp": "put __syncwarp() or __syncthreads() between the two, let each thread have a place of its own, or use an atomic operation",
    "race between threads of a block": "put __syncthreads() between the two, where all threads of the block reach it; or let each thread have a place of its own, or use "
                                       "an atomic operation",
    "race between blocks": "no barrier holds for all blocks of a launch: let each block have a place of its own, use an atomic operation, or make it two launches",
    "barrier": "every thread of the block must reach the same __syncthreads(), every lane of the mask the same warp operation: move it out of the branch or the loop, "
               "and let no thread return before it",
    "out of bounds": "compare the index with the size before the access",
    "misaligned": "a vector type is read from a multiple of its own size: float4 from multiples of 16 bytes",
    "uninitialised memory": "write it before (for shared memory: by some thread of the block, and a barrier), or do not read it",
    "depends on the order of threads": "the kernel gives other bits in another order of blocks, warps or threads",
}


GLOBAL_RACE = "let each thread have a place of its own, or use an atomic operation; a barrier between the two helps within a block only"


@dataclass
class Place:
    """A line of the source, and what happened there."""

    file: str | None
    line: int | None
    what: str


@dataclass
class Finding:
    """One thing that is wrong. found_by: {way of compiling: seed of the first time}."""

    kind: str
    message: str
    places: list = field(default_factory=list)
    advice: str | None = None
    found_by: dict = field(default_factory=dict)

    def __post_init__(self):
        self.advice = self.advice or ADVICE.get(self.kind)

    def key(self):
        return self.kind, *sorted((place.file or "", place.line or 0) for place in self.places), () if self.places else self.message

    def as_dict(self):
        return asdict(self)


class Launch:
    """The launch that was under way: which thread is which, which address is in which array."""

    def __init__(self, event):
        self.grid, self.block, self.arrays = event["grid"], event["block"], event["arrays"]

    def thread(self, block, thread):
        """"thread (3, 0, 0) of block (1, 0, 0)", from numbers counted through."""
        return f"thread {_three(thread, self.block)} of block {_three(block, self.grid)}"

    def element(self, address):
        """What lies at an address, or near it."""
        for array in self.arrays:
            if 0 <= address - array["address"] < array["bytes"]:
                return _element(array, address)
        near = [array for array in self.arrays if -65536 <= address - array["address"] < array["bytes"] + 65536]
        nearest = min(near, key=lambda array: min(abs(address - array["address"]), abs(address - array["address"] - array["bytes"])), default=None)
        return nearest and _element(nearest, address)


def _element(array, address):
    dtype = np.dtype(array["dtype"])
    index = (address - array["address"]) // dtype.itemsize
    size = array["bytes"] // dtype.itemsize
    return f"`{array['name']}`[{index}] ({'but ' if not 0 <= index < size else ''}`{array['name']}` has {size} elements of {dtype})"


def _three(number, size):
    return number % size[0], number // size[0] % size[1], number // (size[0] * size[1])


# ---- events of the child

def from_events(events, source):
    """Findings of one process, each with the seed at which it arose, and all launches."""
    found, seed, launches = [], None, []
    for event in events:
        kind = event["event"]
        if kind == "seed":
            seed = event["seed"]
        elif kind == "launch":
            launches.append(Launch(event))
        elif kind == "error":
            found.append((seed, _from_error(event, source)))
        elif kind == "order":
            arrays = " and ".join(f"`{name}`" for name in event["arrays"])
            found.append((seed, Finding("depends on the order of threads", f"{arrays}: other bits than in the order of seed {event['other_seed']}")))
        elif kind == "unset":
            found.append((seed, _from_unset(event, launches[-1])))
        elif kind == "not_kept":
            found.append((seed, Finding("not checked", f"{event['accesses']} accesses to memory are more than are kept: describe a smaller launch")))
    return found, launches


def _from_error(event, source):
    """An exception in the child: the simulator's, the launcher's, the compiler's, or the description's own."""
    message = event["message"].split(" (launched at ")[0]
    here = [Place(event["file"], event["line"], "launched here")] if event["line"] else []
    if event["type"] == "Wrong":
        return Finding("wrong result", message, [Place(event["file"], event["line"], "expected here")])
    if "the C++ compiler reports" in message:
        errors = re.findall(r"^(.*?):(\d+):\d+: (?:fatal )?error: (.*)$", message, re.M)
        return Finding("does not compile", errors[0][2] if errors else message, [Place(file, int(line), what) for file, line, what in errors[:5]])
    if event["type"] == "RuntimeError":
        places = [Place(str(source), int(line), "") for line in dict.fromkeys(re.findall(r"\bline (\d+)", message))]
        kinds = {"misaligned": ("cp.async",), "cannot be launched": ("no GPU can", "dynamic shared memory", "is not installed")}
        kind = next((kind for kind, words in kinds.items() if any(word in message for word in words)), "barrier" if places else "the kernel stopped")
        return Finding(kind, message, places or here)
    if event["launching"]:
        return Finding("wrong launch", message, here)
    return Finding("wrong description", f"{event['type']}: {message}", here)


def _from_unset(event, launch):
    who = launch.thread(event["block"], event["thread"])
    what = f"`{event['array']}`[{event['index']}]" if event["array"] else f"{event['bytes']} bytes of shared memory"
    return Finding("uninitialised memory", f"{who} reads {what}, which nobody has written", [Place(event["file"], event["line"], "read here")])


# ---- reports of the sanitizers

def from_text(text, launches, source):
    """Findings in what a process wrote to its standard error, each with the seed."""
    parts = re.split(rf"^{MARK} (\d+) (\d+)$", text, flags=re.M)[1:]
    return [(int(seed), finding) for seed, number, part in zip(parts[::3], parts[1::3], parts[2::3]) for finding in _in_one_launch(part, launches[int(number)], source)]


def _in_one_launch(text, launch, source):
    found = [_race(report, launch, source) for report in re.findall(r"WARNING: ThreadSanitizer: data race.*?^SUMMARY", text, re.M | re.S)]
    if match := re.search(r"ERROR: AddressSanitizer: .*", text, re.S):
        found.append(_address(match[0], launch, source))
    for match in re.finditer(r"^\S.*?:\d+:\d+: runtime error: .*", text, re.M):
        found.append(_undefined(match[0], text[match.start():], launch, source))
    return found


ACCESS = re.compile(r"^  (?:Previous )?((?:atomic )?(?:read|write)) of size (\d+) at (0x\w+) by (?:thread (T\d+)|main thread).*?:\n(.*?)(?=^\s*$)", re.M | re.S | re.I)


def _race(report, launch, source):
    """Two accesses, the later one first."""
    accesses = re.findall(ACCESS, report)
    threads = {name: ([int(n) for n in re.findall(r"\d+", block)], [int(n) for n in re.findall(r"\d+", thread)])
               for name, block, thread in re.findall(r"Thread (T\d+) 'block \((.*?)\) thread \((.*?)\)'", report)}
    address = int(accesses[0][2], 16)
    shared = re.search(r"Location is global '(.*?)'", report)
    in_array = any(0 <= address - array["address"] < array["bytes"] for array in launch.arrays)
    memory = f"shared `{shared[1].split('::')[-1]}`" if shared else launch.element(address) if in_array else "dynamic shared memory"
    places, who = [], []
    for what, size, _, name, stack in accesses:
        file, line = _place(stack, source)
        block, thread = threads.get(name, (None, None))
        person = f"thread {tuple(thread)} of block {tuple(block)}" if block else "a thread"
        places.append(Place(file, line, f"{person}: {what.lower()} of {size} bytes"))
        who.append((block, thread))
    return Finding(_kind_of_race(who, launch), f"two accesses to {memory} with nothing that orders them", places, GLOBAL_RACE if in_array else None)


def _kind_of_race(who, launch):
    if len(who) < 2 or None in (who[0][0], who[1][0]):
        return "race between threads of a block"
    if who[0][0] != who[1][0]:
        return "race between blocks"
    warps = {(x + launch.block[0] * (y + launch.block[1] * z)) // 32 for _, (x, y, z) in who}
    return "race between threads of a warp" if len(warps) == 1 else "race between threads of a block"


def _address(report, launch, source):
    """AddressSanitizer's."""
    access = re.search(r"^(READ|WRITE) of size (\d+) at (0x\w+)", report, re.M)
    fault = re.search(r"on (?:unknown )?address (0x\w+)", report)
    address = int((access[3] if access else fault[1]), 16) if access or fault else None
    variables = re.findall(r"is located (\d+) bytes (.*?) global variable '([\w:]+)' defined in .*? of size (\d+)", report)
    if variables:
        distance, side, name, size = min(variables, key=lambda variable: int(variable[0]))
        side = {"to the right of": "after", "to the left of": "before"}.get(side, side)  # newer compilers say after and before
        where = f"shared or static `{name.split('::')[-1]}`, which has {size} bytes: {distance} bytes {side} it"
    elif "in simulator::run" in report.split("allocated by")[-1] and "allocated by" in report:
        size = re.search(r"of (\d+)-byte region", report)
        where = f"dynamic shared memory, which has {size[1] if size else '?'} bytes"
    else:
        where = (address is not None and launch.element(address)) or "an address that belongs to no array"
    what = {"READ": "reads", "WRITE": "writes"}.get(access and access[1], "touches")
    if "stack-overflow" in report:
        return Finding("out of bounds", f"{_who(report)}: the stack of a thread is full", [Place(*_place(report, source), "here")])
    return Finding("out of bounds", f"{_who(report)} {what} {where}", [Place(*_place(report, source), f"{access[2]} bytes" if access else "here")])


def _undefined(first, report, launch, source):
    """UndefinedBehaviorSanitizer's."""
    file, line, what = re.match(r"(.*?):(\d+):\d+: runtime error: (.*)", first).groups()
    if _ours(file):
        file, line = _place(report, source)
    place = [Place(file, int(line) if line else None, "here")]
    if match := re.search(r"index (-?\d+) out of bounds for type '(.*?)'", what):
        return Finding("out of bounds", f"{_who(report)} uses the index {match[1]} of an array declared as {match[2]}", place)
    if match := re.search(r"misaligned address (0x\w+) for type '(.*?)', which requires (\d+) byte", what):
        kind = re.sub(r"\b(const|struct)\b ?", "", match[2])
        element = launch.element(int(match[1], 16))
        return Finding("misaligned", f"{_who(report)} takes a {kind} from {element or 'shared memory'}, at an address that is no multiple of {match[3]} bytes", place)
    return Finding("undefined behaviour", f"{_who(report)}: {what}", place)


def _who(report):
    match = re.search(r"simulator: in (thread \(.*?\) of block \(.*?\))", report)
    return match[1] if match else "a thread"


def _place(stack, source):
    """(file, line) of the first frame that is not the simulator's."""
    for file, line in re.findall(r"^\s*#\d+ .*? (/.*?):(\d+)", stack, re.M):
        if not _ours(file):
            return file, int(line)
    return str(source), None


def _ours(file):
    return trace.SIMULATOR in Path(file).parents
