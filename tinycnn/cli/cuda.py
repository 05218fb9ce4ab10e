"""`tinycnn cuda`: check, trace and debug CUDA kernels, without a GPU."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click

from .names import Commands

KERNELS = click.argument("kernels", type=click.Path(exists=True, dir_okay=False), metavar="KERNELS.cu")
LAUNCH = click.option("--launch", type=click.Path(exists=True, dir_okay=False), help="The Python file that launches the kernels. [default: the comment "
                      "/* check ... */ in KERNELS.cu, else the .py file beside it]")
TIMEOUT = click.option("--timeout", type=click.IntRange(1), default=300, show_default=True, help="Seconds for each process.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
WAYS = ("plain", "asan", "tsan", "trace")


@click.group(cls=Commands, short_help="Check, trace and debug CUDA kernels on the CPU.")
def cuda():
    """Check, trace and debug CUDA kernels (your own, too) on the CPU. Needs g++ or another C++ compiler, and no GPU.

    A .cu file says in a comment how it is launched, in lines of Python, for arrays of NumPy:

    \b
    /* check
    x = random(1000)                                         # float32, between -1 and 1
    y = empty(1000)                                          # NaN, until a kernel writes it
    launch("scale", blocks(1000), 256, x, y, 2.0, 1000)      # kernel, grid, block, arguments
    expect(y, 2 * x)
    */

    docs/cuda.md is the whole story, with five bugs to find.
    """


@cuda.command(short_help="Find what a GPU hides: races, accesses out of bounds, ...")
@KERNELS
@click.option("--seeds", type=click.IntRange(1), default=8, show_default=True, help="How many orders of threads to try; 0 is ascending, the others are drawn.")
@click.option("--seed", type=click.IntRange(0), help="Try only this one.")
@click.option("--mode", "ways", type=click.Choice(WAYS), multiple=True, help="Only in this way; may be given several times. [default: all]")
@LAUNCH
@TIMEOUT
@JSON
def check(kernels, seeds, seed, ways, launch, timeout, as_json):
    """Find what a GPU hides: accesses out of bounds, races, barriers that not all threads reach, memory read before it is written, misaligned vectors, wrong arguments.

    \b
    The kernels run in four ways:
      plain   in many orders of threads, shared memory full of NaN
      asan    with AddressSanitizer and UndefinedBehaviorSanitizer
      tsan    with ThreadSanitizer, each CUDA thread a thread of its own
      trace   with a record of every access

    Exit status 1 if anything is found.
    """
    from tqdm import tqdm

    from ..tools.cuda.checker import check as run
    chosen = ways or WAYS
    with tqdm(total=len(chosen), desc="checking", unit="way", leave=False, disable=not sys.stderr.isatty()) as bar:
        report = run(kernels, seeds, seed, chosen, launch, timeout, progress=lambda way: bar.update())
    click.echo(json.dumps(report.as_dict(), indent=2) if as_json else str(report))
    if not report:
        sys.exit(1)


@cuda.command(short_help="Count what each line moves: sectors, and turns of banks.")
@KERNELS
@click.option("--png", type=click.Path(dir_okay=False, writable=True), help="Also draw which lane touches what, into this file.")
@click.option("--kernel", metavar="NAME", help="Only this one of the kernels.")
@LAUNCH
@TIMEOUT
@JSON
def trace(kernels, png, kernel, launch, timeout, as_json):
    """Count what kernels move: for each line of the source the 32-byte sectors of global memory and the turns of shared memory's banks that a warp's request needs,
    and bytes moved against the bytes that must be.

    \b
    tinycnn cuda trace docs/cuda/transpose.cu --png transpose.png
    """
    from ..tools.cuda.picture import MOST_PANELS, draw
    from ..tools.cuda.tracer import table, to_json
    from ..tools.cuda.tracer import trace as run
    result = run(kernels, launch, timeout=timeout)
    result = result.only(kernel) if kernel else result
    click.echo(to_json(result) if as_json else table(result))
    if png:
        draw(result, png)
        click.echo(f"{png}: the first request of each line{'' if len(result.lines) <= MOST_PANELS else f' (of {MOST_PANELS} lines)'}", err=as_json)


@cuda.command(short_help="Stop in the debugger gdb where a thread reaches a line.")
@KERNELS
@click.argument("line", type=click.IntRange(1))
@click.option("--if", "condition", metavar="CONDITION", help="Stop only if this is true; any expression of the kernel's variables.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The order of threads.")
@LAUNCH
def debug(kernels, line, condition, seed, launch):
    """Run kernels in the debugger gdb (apt install gdb) until a thread reaches a LINE.

    Kernels are compiled without optimisation, so every line and every variable is there. `print simulator::here` says which block and thread it is, `next` goes on by a
    line, `continue` to the next thread that comes by.

    \b
    tinycnn cuda debug docs/cuda/bugs/3_sum.cu 16 --if "i == 70"
    """
    from ..kernels.cuda.simulator import build
    from ..tools.cuda import description
    description.read(kernels, launch)  # raises where it does not say how it is launched
    if shutil.which("gdb") is None:
        raise RuntimeError("the debugger gdb is not installed: apt install gdb")
    stop = f"break {Path(kernels).name}:{line}" + (f" if {condition}" if condition else "")
    child = [sys.executable, "-m", "tinycnn.tools.cuda.child", kernels, launch or "-", str(seed), os.devnull]
    told = ["set breakpoint pending on", "handle SIGSTOP SIGCONT nostop noprint", stop, "run"]  # pending: the kernels are loaded later
    command = ["gdb", "-q", "-iex", "set auto-load python-scripts off", *(word for order in told for word in ("-ex", order)), "--args", *child]
    subprocess.run(command, env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **build.environment("debug")}, check=False)
