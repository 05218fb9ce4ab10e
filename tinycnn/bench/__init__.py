"""The benchmark harness, run as `tinycnn bench`: our kernels and networks beside those of others, on the same machine, in the same minute.

    measure.py      alternating timing, medians with quartiles, noise
    machine.py      what this machine is, and the most that it can do
    layers.py       the convolution layers that are measured
    graph.py        a network as a list of operations, from which every rival's form of it is built
    truth.py        float64 answers; validate.py compares with them, and says what is wrong with a kernel
    rivals/         one file for each library, ours among them
    kernels.py      one convolution, the three passes            networks.py     a layer, a network's inference, a training step
    processes.py    memory and start-up, in processes of their own
    report.py       tables and JSON; plots.py draws

docs/benchmarks.md says what is measured and how, and what is done so that it is fair.
"""
