"""Layers with their arguments, as in tinycnn.nn and in torch.nn."""

IMAGE = (2, 4, 7, 6)
# layer of the module m.nn, input shape
LAYERS = {
    "Linear": (lambda n: n.Linear(6, 3), (2, 5, 6)),
    "Linear, no bias": (lambda n: n.Linear(6, 3, bias=False), (2, 6)),
    "Conv2d": (lambda n: n.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), 2, 2, False), IMAGE),
    "Conv2d, same": (lambda n: n.Conv2d(4, 2, 4, padding="same", dilation=(1, 2)), IMAGE),
    "Conv2d, valid": (lambda n: n.Conv2d(4, 2, 3, padding="valid"), IMAGE),
    "ConvTranspose2d": (lambda n: n.ConvTranspose2d(4, 6, 3, (2, 3), 1, (1, 2), 2, True, 2), IMAGE),
    "MaxPool2d": (lambda n: n.MaxPool2d(3, 2, 1, 1, ceil_mode=True), IMAGE),
    "MaxPool2d, no stride": (lambda n: n.MaxPool2d((3, 2), dilation=(1, 2)), IMAGE),
    "AvgPool2d": (lambda n: n.AvgPool2d(3, 2, 1, True, False), IMAGE),
    "AvgPool2d, divisor": (lambda n: n.AvgPool2d(2, divisor_override=3), IMAGE),
    "AdaptiveAvgPool2d": (lambda n: n.AdaptiveAvgPool2d((None, 4)), IMAGE),
    "AdaptiveMaxPool2d": (lambda n: n.AdaptiveMaxPool2d((5, 3)), IMAGE),
    "BatchNorm1d": (lambda n: n.BatchNorm1d(6, 1e-3), (5, 6)),
    "BatchNorm1d of lines": (lambda n: n.BatchNorm1d(3, affine=False), (2, 3, 4)),
    "BatchNorm2d": (lambda n: n.BatchNorm2d(4), IMAGE),
    "LocalResponseNorm": (lambda n: n.LocalResponseNorm(3, 0.5, 0.6, 2.0), IMAGE),
    "ReLU": (lambda n: n.ReLU(), IMAGE),
    "ReLU in place": (lambda n: n.ReLU(inplace=True), IMAGE),
    "Tanh": (lambda n: n.Tanh(), IMAGE),
    "Sigmoid": (lambda n: n.Sigmoid(), IMAGE),
    "Softmax": (lambda n: n.Softmax(dim=1), IMAGE),
    "LogSoftmax": (lambda n: n.LogSoftmax(-1), IMAGE),
    "Flatten": (lambda n: n.Flatten(), IMAGE),
    "Flatten, two": (lambda n: n.Flatten(0, 1), IMAGE),
    "Unflatten": (lambda n: n.Unflatten(1, (2, 2)), IMAGE),
    "Identity": (lambda n: n.Identity(3, unused=True), IMAGE),
    "Unfold": (lambda n: n.Unfold(3, 2, 1, 2), IMAGE),
    "Fold": (lambda n: n.Fold((4, 3), 2, stride=1), (2, 8, 6)),
    "ConstantPad2d": (lambda n: n.ConstantPad2d((1, 2, 0, -1), 3.5), IMAGE),
    "ZeroPad2d": (lambda n: n.ZeroPad2d(2), IMAGE),
    "Dropout, evaluation": (lambda n: n.Dropout(0.4).eval(), IMAGE),
    "Dropout2d, evaluation": (lambda n: n.Dropout2d(0.4, inplace=True).eval(), IMAGE),
}

# what draws random numbers: held still while it is checked
RANDOM = {
    "Dropout": (lambda n: n.Dropout(0.4), IMAGE),
    "Dropout2d": (lambda n: n.Dropout2d(0.4), IMAGE),
}


def blocks():
    """What the networks are made of, and small whole networks: name -> (module, input shape)."""
    from ...models import build
    from ...models.googlenet import Inception
    from ...models.resnet import BasicBlock, Bottleneck
    return {
        "residual block": (lambda n: BasicBlock(4, 4, 1, "B"), IMAGE),
        "residual block, stride 2": (lambda n: BasicBlock(4, 6, 2, "B"), IMAGE),
        "bottleneck": (lambda n: Bottleneck(8, 2, 1, "B"), (2, 8, 5, 4)),
        "inception module": (lambda n: Inception(4, 2, 3, 4, 2, 3, 2, True), IMAGE),
        "lenet5": (lambda n: build("lenet5", width=0.5), (2, 1, 32, 32)),
        "lenet5_1998": (lambda n: build("lenet5_1998"), (2, 1, 32, 32)),
    }
