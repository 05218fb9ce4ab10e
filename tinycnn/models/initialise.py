"""Initial weights, as the papers draw them. Every network takes init=

    "paper"         what its own paper says (the default; each network's docstring says what that is)
    "he"            N(0, 2 / fan_in): keeps the size of the signal through ReLUs, at any depth and width (He et al. 2015)
    "glorot"        U(-a, a), a^2 = 6 / (fan_in + fan_out): the same for layers without ReLU (Glorot, Bengio 2010)
    "normal_0.01"   N(0, 0.01^2) whatever the fan (Krizhevsky et al. 2012)
    "normal_0.1"    N(0, 0.1^2) whatever the fan (Simonyan, Zisserman 2015, configuration A)
    None            as the layers come, PyTorch's defaults

and biases are 0, except where a paper says otherwise. Fixed deviations suit the published widths: narrow networks want "he".
"""
from functools import partial

from .. import nn
from ..nn import init

SCHEMES = {
    "he": partial(init.kaiming_normal_, nonlinearity="relu"),
    "glorot": init.xavier_uniform_,
    "normal_0.01": partial(init.normal_, std=0.01),
    "normal_0.1": partial(init.normal_, std=0.1),
}


def initialise(model, scheme, paper):
    """Draw the weights of `model` by `scheme`, a key of SCHEMES; "paper" stands for the function paper(model)."""
    if scheme == "paper":
        paper(model)
    elif scheme in SCHEMES:
        draw(model, SCHEMES[scheme])
    elif scheme is not None:
        raise ValueError(f"init is {scheme!r}; it can be 'paper', {', '.join(map(repr, SCHEMES))}, or None for the layers' own defaults")
    return model


def draw(model, weight, bias=0.0):
    """weight(tensor) for the weights of every convolution and fully connected layer, the constant `bias` for their biases."""
    for layer in weighted(model):
        weight(layer.weight)
        if layer.bias is not None:
            init.constant_(layer.bias, bias)


def weighted(model):
    """The layers of `model` that the papers count: convolutions and fully connected ones, in order."""
    return [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
