"""Pieces that several networks are made of."""
from .. import flatten, nn


class FeaturesThenClassifier(nn.Module):
    """Convolutions and pools, then fully connected layers on the flattened maps: the plan of LeNet, AlexNet, ZFNet and VGG.

    Parameters are called features.0.weight, ..., classifier.6.bias, as in torchvision.
    """

    def __init__(self, features, classifier, avgpool=None):
        super().__init__()
        self.features = features
        self.avgpool = nn.Identity() if avgpool is None else avgpool
        self.classifier = classifier

    def forward(self, x):
        return self.classifier(flatten(self.avgpool(self.features(x)), 1))


def activation(name):
    """A fresh layer of the nonlinearity called `name`."""
    if name == "relu":
        return nn.ReLU(inplace=True)
    if name == "tanh":
        return nn.Tanh()
    raise ValueError(f"activation is {name!r}; it can be 'relu' or 'tanh'")


def then_relu(layer, relu, x, add=None):
    """relu(layer(x) + add); add may be None, and else `layer` a normalisation. As one operation where that can be (tinycnn/nn/activation.py: `together`)."""
    if hasattr(layer, "takes_over") and layer.takes_over(relu):  # PyTorch's layers, on which our networks run too, do not
        return layer.forward_relu(x) if add is None else layer.forward_relu(x, add)
    y = layer(x)
    return relu(y if add is None else y + add)


def response_norm(convention, k=2.0):
    """Local response normalisation as in AlexNet: n = 5, alpha = 1e-4, beta = 0.75.

    convention: "paper": b = a / (k + alpha * sum)^beta; "torch": as Caffe, ONNX and PyTorch understand alpha, b = a / (k + alpha/n * sum)^beta.
    None: no normalisation.
    """
    if convention is None:
        return nn.Identity()
    if convention not in ("paper", "torch"):
        raise ValueError(f"lrn is {convention!r}; it can be 'paper' (alpha multiplies the sum), 'torch' (alpha/n does), or None")
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=k, alpha_convention=convention)


def fully_connected(inputs, hidden, num_classes, dropout, nonlinearity="relu"):
    """fc - activation - dropout, twice, and the layer that scores the classes: the end of AlexNet, ZFNet and VGG."""
    return nn.Sequential(
        nn.Linear(inputs, hidden), activation(nonlinearity), nn.Dropout(dropout),
        nn.Linear(hidden, hidden), activation(nonlinearity), nn.Dropout(dropout),
        nn.Linear(hidden, num_classes))
