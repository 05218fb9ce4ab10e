"""A training loop in its steady state takes no new memory from the system: fresh pages have to be cleared, which costs as much as arithmetic. Nor much memory before."""
import sys
from functools import partial

import numpy as np
import pytest

import tinycnn
from tinycnn import nn, optim
from tinycnn.bench.child import forget_the_peak, resident
from tinycnn.kernels.runtime import give_back_freed_memory
from tinycnn.nn import functional as F
from tinycnn.train.captured import CapturedGradients, compute_gradients

PAGE, ALLOWED = 4096, 64 << 10  # bytes

network = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(inplace=True), nn.LocalResponseNorm(5), nn.MaxPool2d(4),
                        nn.Conv2d(16, 24, 3, stride=2), nn.ReLU(), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(216, 10))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts page faults so, and only glibc can be told to keep memory")
def test_nothing_large_is_freshly_mapped_in_the_steady_state():
    """Activations are 38 MB, more than malloc keeps by default. Kills: memory given back and taken again in every step; buffers that grow; results kept by a cycle."""
    import resource
    x, target = tinycnn.randn(16, 3, 192, 192), tinycnn.tensor(np.arange(16) % 10)
    optimizer = optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    faults = []
    for _ in range(12):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        optimizer.zero_grad()
        nn.CrossEntropyLoss()(network(x), target).backward()
        optimizer.step()
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    assert min(faults[4:]) * PAGE <= ALLOWED, f"page faults in each step: {faults}"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory there was at most")
def test_a_graph_takes_no_more_memory_than_the_passes_themselves():
    """Gradients are 100 MB, results 50. Kills: gradients of the step before, or of the graph, beside those of the passes that it is compared with; freed memory that is
    kept beside the graph's; results of both."""
    model = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(16), nn.Flatten(),
                          nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 2048))
    x, target = tinycnn.randn(1, 3, 128, 128), tinycnn.tensor(np.zeros(1, np.int64))

    def peak(compute, times):
        """MiB above what there was before."""
        model.zero_grad()
        give_back_freed_memory()
        before = resident("VmRSS")
        forget_the_peak()
        for _ in range(times):
            compute(x, target)
        return resident("VmHWM") - before
    passes = partial(compute_gradients, model, F.cross_entropy)
    passes(x, target)  # what is loaded once
    once, graphs = peak(passes, 1), peak(CapturedGradients(model, F.cross_entropy), 5)
    assert 90 < once and graphs < once + 20, (once, graphs)
