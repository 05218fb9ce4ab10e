"""A plan's kernels as one call: written down once, and called again for other images.

A network is some sixty kernels. On a GPU Python takes longer to prepare one than the device to compute it, mostly; there they become one launch (kernels/cuda/graph.py).
On the CPU a list of calls (kernels/graph/cpu.py) saves what Python does in between: for one image of GoogLeNet about a tenth of 15 ms, for sixteen nothing that shows.
"""
import warnings

MOST_BYTES = 4 << 20  # on the CPU, of images that are worth it: they are copied to where the list reads them, and their kernels take far longer than Python in between
MOST_ORDERS = 2  # of images in memory for which there are graphs, each with memory of its own


class Captured:
    """function(images), from an array to a list of arrays, with the same results in memory of their own. Images have one shape and dtype in all calls.

    The first call is the function's: kernels are compiled, tables are copied. The second makes a graph. On the CPU work of NumPy's could be missing in it, so there the
    third call computes both ways and compares. Where there can be no graph (a warning says why), where the images are too large, or where the calls come from another
    thread than the one that made it, the function computes. Only one thread at a time may call it.
    """

    def __init__(self, function, device):
        self.function, self.device = function, device
        self.graphs = {}  # by strides of the images: None after the first call, then the graph, or False

    def __call__(self, images):
        order = images.strides
        if images.nbytes > MOST_BYTES and not self.device.queues:
            return self.function(images)
        if order not in self.graphs:
            while len(self.graphs) >= MOST_ORDERS:
                del self.graphs[next(iter(self.graphs))]
            self.graphs[order] = None
            return self.function(images)
        graph = self.graphs[order]
        if graph is None:
            return self._capture(order, images)
        if not (graph and graph.holds()):
            return self.function(images)
        return graph(images) if graph.certain else self._compare(order, images)

    def _capture(self, order, images):
        try:
            graph, results = self.device.graph(self.function, images)
        except Exception as error:  # whatever it is: the function itself has run before
            self._give_up(order, f"{type(error).__name__}: {error}")
            return self.function(images)
        self.graphs[order] = graph or False
        return results

    def _compare(self, order, images):
        graph = self.graphs[order]
        self.function(1 - images)  # the plan's buffers hold other numbers now: what the graph leaves out is missed
        results, expected = graph(images), self.function(images)
        graph.certain = all(a.tobytes() == b.tobytes() for a, b in zip(results, expected, strict=True))
        if not graph.certain:
            self._give_up(order, "when they were repeated, results were others. Is there a step that computes with NumPy?")
        return expected

    def _give_up(self, order, reason):
        self.graphs[order] = False
        warnings.warn(f"no graph, kernels are launched one by one: {reason}", RuntimeWarning, stacklevel=4)
