"""One measurement in a fresh process: `python -m tinycnn.bench.child '{"what": "memory", ...}'` prints its result as JSON, on the last line.

memory    the most memory that a few runs take above what is there when everything is prepared (and malloc has given back what that left over), and in all
startup   seconds until the first result (preparing the network in the library's form, compiling, running), and of a later run
"""
import gc
import json
import sys
import time


def resident(field):
    """VmRSS (memory now) or VmHWM (the most so far) of this process, in MiB; Linux only."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(f"{field}:")) / 1024


def forget_the_peak():
    """Let VmHWM begin again from what is there now."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def prepare(task):
    """(contestant, a function that prepares the run and returns it)"""
    from .graph import trace
    from .networks import build, inputs
    from .rivals import contestants
    model = build(task["network"], task["options"])
    x, target = inputs(task["network"], task["batch"], task["options"])
    graph = trace(model.train(task["level"] == "training"), x.shape)
    found, skipped = contestants([task["contestant"]], task["level"], task["threads"])
    if not found:
        raise ImportError(next(iter(skipped.values())))

    def ready():
        return found[0].inference(model, graph, x) if task["level"] == "inference" else found[0].training(model, graph, x, target)
    return found[0], ready


def memory(task):
    from ..kernels.runtime import give_back_freed_memory
    contestant, ready = prepare(task)
    with contestant.running():
        run = ready()
        gc.collect()
        give_back_freed_memory()  # else some runs would find memory that does not count
        before = resident("VmRSS")
        forget_the_peak()
        for _ in range(5):  # of a captured step the third is the first that is repeated
            run()
    return {"above": resident("VmHWM") - before, "in all": resident("VmHWM")}


def startup(task):
    contestant, ready = prepare(task)
    with contestant.running():
        start = time.perf_counter()
        run = ready()
        run()
        first = time.perf_counter()
        run()
        return {"first": first - start, "later": time.perf_counter() - first}


def main():
    task = json.loads(sys.argv[1])
    print(json.dumps({"memory": memory, "startup": startup}[task["what"]](task)))


if __name__ == "__main__":
    main()
