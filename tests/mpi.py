"""Running programs under mpirun, for tests with the mark `mpi`.

The programs are the functions of tests/engine/mpi_programs.py: in a process each, asserting what they see there. An assertion that fails in one process ends all.
"""
import os
import shutil
import subprocess
import sys
from pathlib import Path

MPIRUN = shutil.which("mpirun", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
PROGRAMS = Path(__file__).parent / "engine" / "mpi_programs.py"
ENVIRONMENT = {
    "NUMBA_NUM_THREADS": "1", "TINYCNN_KERNELS": "reference",  # nothing to compile
    # Open MPI asks for permission to run as root, and to start more processes than there are cores; MPICH does not
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
}
HANGS = 120  # seconds after which a run that takes a few has surely lost a message


def mpirun(processes, *command):
    """Run a command in so many processes; returns the subprocess's result, with stdout and stderr as text."""
    return subprocess.run([MPIRUN, "-n", str(processes), sys.executable, *map(str, command)], env=os.environ | ENVIRONMENT, capture_output=True, text=True,
                          timeout=HANGS, check=False)


def run_program(processes, name, *arguments):
    """Run a function of mpi_programs.py, which must end well in all processes. Returns what it printed."""
    result = mpirun(processes, PROGRAMS, name, *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
