"""Running programs under mpirun, for tests with the mark `mpi`.

The programs are the functions of tests/engine/mpi_programs.py: in a process each, asserting what they see there. An assertion that fails in one process ends all.
"""
from pathlib import Path

from tinycnn.distributed import launch

PROGRAMS = Path(__file__).parent / "engine" / "mpi_programs.py"
ENVIRONMENT = {"NUMBA_NUM_THREADS": "1", "TINYCNN_KERNELS": "reference"}  # nothing to compile
HANGS = 120  # seconds after which a run that takes a few has surely lost a message


def mpirun(processes, *command):
    """Run `python COMMAND` in so many processes; returns the subprocess's result, with stdout and stderr as text."""
    return launch.mpirun(processes, *command, environment=ENVIRONMENT, timeout=HANGS)


def run_program(processes, name, *arguments):
    """Run a function of mpi_programs.py, which must end well in all processes. Returns what it printed."""
    result = mpirun(processes, PROGRAMS, name, *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
