"""Several processes, one network. MPI carries the messages (`pip install 'tinycnn[mpi]'`, then `mpirun -n 2 ...`); nothing else in tinycnn needs it.

There are two ways to share the work, and they exchange different things:

    the data        each process has the whole network and a part of every batch; they exchange gradients       data_parallel.py, buckets.py
    the network     each process has a part of every layer and the whole batch; they exchange maps              split.py, split_alexnet.py

shares.py says what is whose, collectives.py is the exchange as differentiable operations, launch.py how processes find each other and end together.
"""
