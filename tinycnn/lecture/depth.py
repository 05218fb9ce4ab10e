"""How deep a network is, as the papers count: the layers with weights on the longest way from the image to the scores."""
from .. import models, nn
from ..tools.graph import IMAGE_NAME, trace


def depth(name):
    """Of the network called `name`, as published. Counted on its graph, so that branches side by side count once."""
    C, H, W = models.default_input(name)
    with nn.init.skip():  # only shapes are looked at
        network = models.build(name).eval()
    longest = {IMAGE_NAME: 0}
    for node in trace(network, (1, C, H, W)).nodes:
        longest[node.name] = max(longest[before] for before in node.inputs) + (node.op in ("conv", "linear"))
    return max(longest.values())
