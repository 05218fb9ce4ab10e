"""Which convolutions are measured: sets of layers, each a file in benchmarks/layers.

    alexnet, vgg16, googlenet, resnet50, ...     every distinct convolution of a network, with how often it occurs; any batch
    deepbench_*, convnet_benchmarks              published benchmarks, with the batch that they were published for

A published batch that would take more memory or time than this machine should be asked for is cut, and every row says so.
"""
import json
from pathlib import Path
from typing import NamedTuple

from ..kernels.conv.geometry import Geometry
from ..names import nearest

FORMS = ("forward", "input_grad", "weight_grad")
MOST_BYTES, MOST_FLOPS = 256 << 20, 60e9  # of x and y together; of one pass
HERE = Path(__file__).parent
INSTALLED, CHECKOUT = HERE / "layer_sets", HERE.parents[1] / "benchmarks" / "layers"  # setup.py makes the one from the other


class Layer(NamedTuple):
    """One convolution: what it is called, its extents, how often it occurs in its network, and the batch that its benchmark was published for (None: any)."""

    name: str
    N: int
    C: int
    H: int
    W: int
    K: int
    R: int
    S: int
    stride: tuple = (1, 1)
    padding: tuple = (0, 0)
    dilation: tuple = (1, 1)
    groups: int = 1
    bias: bool = False
    count: int = 1
    published_N: int | None = None

    @property
    def geometry(self):
        return Geometry(self.stride, self.padding, self.dilation, self.groups)

    @property
    def x_shape(self):
        return self.N, self.C, self.H, self.W

    @property
    def w_shape(self):
        return self.K, self.C // self.groups, self.R, self.S

    @property
    def y_shape(self):
        return self.N, self.K, *self.geometry.output_size((self.H, self.W), (self.R, self.S))

    @property
    def macs(self):
        """Products that are added up, in any of the three passes."""
        return product(self.y_shape) * product(self.w_shape[1:])

    @property
    def flops(self):
        return 2 * self.macs

    @property
    def bytes(self):
        """Of x, w and y in float32, each once: two of them are read and the third is written, in any of the three passes."""
        return 4 * (product(self.x_shape) + product(self.w_shape) + product(self.y_shape))

    def length(self, form):
        """Terms in the sums of a pass."""
        P, Q = self.y_shape[2:]
        return {"forward": product(self.w_shape[1:]), "input_grad": self.K // self.groups * self.R * self.S, "weight_grad": self.N * P * Q}[form]

    def fitted(self, most_bytes=MOST_BYTES, most_flops=MOST_FLOPS):
        """This layer with its batch halved until it fits."""
        layer = self
        while layer.N > 1 and (4 * (product(layer.x_shape) + product(layer.y_shape)) > most_bytes or layer.flops > most_flops):
            layer = layer._replace(N=layer.N // 2)
        return layer

    def __str__(self):
        shape = f"{self.C}x{self.H}x{self.W} -> {self.K}, {self.R}x{self.S}"
        shape += "".join(f" {what} {value[0] if value[0] == value[1] else value}" for what, value, usual in (
            ("stride", self.stride, (1, 1)), ("padding", self.padding, (0, 0)), ("dilation", self.dilation, (1, 1))) if value != usual)
        return shape + (f" groups {self.groups}" if self.groups > 1 else "")


def product(numbers):
    total = 1
    for number in numbers:
        total *= number
    return total


def folder():
    """Where the sets are."""
    return INSTALLED if INSTALLED.is_dir() else CHECKOUT


def names():
    """The sets that there are."""
    return sorted(path.stem for path in folder().glob("*.json"))


def load(name, batch=16, fit=True):
    """[Layer] of the set called `name`, or of a file with this path. batch: for layers that were published without one."""
    path = Path(name) if str(name).endswith(".json") else folder() / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"no set of layers {name!r}{nearest(name, names())} (there are {', '.join(names())}; or give the path of a .json file)")
    layers = [parse(entry, batch, f"{path}, layer {i + 1}") for i, entry in enumerate(json.loads(path.read_text())["layers"])]
    return [layer.fitted() if fit and layer.published_N else layer for layer in layers]


def chosen(name, batch=16, only=None):
    """Those of the set's layers that have `only` in their name."""
    everything = load(name, batch)
    found = [layer for layer in everything if not only or only in layer.name]
    if not found:
        raise ValueError(f"no layer of {name} has {only!r} in its name: {', '.join(layer.name for layer in everything)}")
    return found


def parse(entry, batch, where):
    """A Layer from its entry in a file: only N, C, H, W, K, R, S and what is not the default."""
    try:
        pairs = {field: tuple(entry[field]) for field in ("stride", "padding", "dilation") if field in entry}
        layer = Layer(**{"name": "", "N": batch, **entry, **pairs, "published_N": entry.get("N")})
        layer.y_shape  # noqa: B018  raises where the filter does not fit
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error
    return layer if layer.name else layer._replace(name=str(layer))


def of_network(model):
    """The entries of the set of a network (of tinycnn.models): its distinct convolutions in the order in which they run."""
    from .. import models
    from .graph import trace
    C, H, W = models.default_input(model)
    options = {"aux_logits": False} if model.startswith("googlenet") else {}
    graph = trace(models.build(model, init=None, **options).eval(), (1, C, H, W))
    found = {}
    for node in graph.nodes:
        if node.op == "conv":
            (C, H, W), (K, _, R, S) = graph.shape(node.inputs[0]), graph.values[node.weights["weight"]].shape
            entry = {"C": C, "H": H, "W": W, "K": K, "R": R, "S": S}
            entry |= {field: node.options[field] for field in ("stride", "padding", "dilation") if node.options[field] != Layer._field_defaults[field]}
            entry |= {"groups": node.options["groups"]} if node.options["groups"] > 1 else {}
            entry |= {"bias": True} if "bias" in node.weights else {}
            first = found.setdefault(tuple(entry.items()), {"name": node.weights["weight"].removesuffix(".weight"), **entry, "count": 0})
            first["count"] += 1
    return list(found.values())
