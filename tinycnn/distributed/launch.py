"""How processes find each other, and how they end together.

`mpirun -n 2 program` starts two processes that run the same program; each learns from its communicator which one it is (`rank`, from 0) and how many there are
(`size`). Whoever waits for a message from a process that is no more waits for ever, so an error in one process has to end all.
"""
import os
import shutil
import subprocess
import sys
import traceback
from contextlib import contextmanager
from importlib.util import find_spec

# Open MPI asks for permission to run as root, as one is in a container, and to start more processes than there are cores; MPICH does not.
ALLOWED = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
           "PRTE_MCA_hwloc_default_binding_policy": "none"}


def communicator():
    """All processes that mpirun started, as mpi4py's communicator; this process alone if it was started without mpirun. ImportError where MPI is missing."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # no mpi4py; or no MPI for it to load
        raise ImportError(f"several processes need MPI, and it cannot be loaded ({error}): pip install 'tinycnn[mpi]' installs mpi4py and MPICH") from error
    return MPI.COMM_WORLD


def find_mpirun():
    """The path of mpirun, beside this Python or on the PATH; None where it or mpi4py is missing."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    return shutil.which("mpirun", path=path) if find_spec("mpi4py") else None


def mpirun(processes, *command, environment=None, timeout=None):
    """Start so many processes of `python COMMAND`, with these variables besides the present ones, and wait for their end. Returns subprocess's result, with stdout and
    stderr as text."""
    return subprocess.run([find_mpirun(), "-n", str(processes), sys.executable, *map(str, command)], env=os.environ | ALLOWED | (environment or {}),
                          capture_output=True, text=True, timeout=timeout, check=False)


@contextmanager
def ending_together(comm, agreed=()):
    """Within this block an error in one process ends all of them, after a message that names its rank. agreed: exceptions that all processes raise together.

    A process that is killed cannot say anything: there mpirun ends the others, and says which one it was.
    """
    try:
        yield
    except agreed:
        raise
    except (Exception, KeyboardInterrupt) as error:
        if comm.size == 1:
            raise
        whole = os.environ.get("TINYCNN_DEBUG", "0") not in ("", "0")
        text = "".join(traceback.format_exception(error) if whole else traceback.format_exception_only(error))
        print(f"error in process {comm.rank} of {comm.size}, which ends all: {text.rstrip()}", file=sys.stderr, flush=True)
        comm.Abort(1)


def share_threads(comm):
    """Have each process use its part of the threads of the machine it runs on, at least one."""
    from mpi4py import MPI

    from ..kernels.runtime import get_num_threads, set_num_threads
    here = comm.Split_type(MPI.COMM_TYPE_SHARED)
    set_num_threads(max(1, min(get_num_threads(), (os.cpu_count() or 1) // here.size)))
    here.Free()
