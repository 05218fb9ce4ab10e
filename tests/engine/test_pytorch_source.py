"""PyTorch source runs when its import lines are changed: three programs as people write them, run here with `torch` replaced by `tinycnn`.

With PyTorch installed, the untouched program runs too, from the same weights on the same data, and must give the same numbers.
"""
import numpy as np
import pytest

import tinycnn

PLAIN = """
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.drop = nn.Dropout2d(p=0.0)
        self.fc1 = nn.Linear(16 * 4 * 4, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.drop(self.conv2(x))))
        x = x.view(-1, 16 * 4 * 4)
        x = F.relu(self.fc1(x))
        x = F.dropout(F.relu(self.fc2(x)), p=0.5, training=False)
        return self.fc3(x)
"""

RESIDUAL = """
import torch
from torch import nn


class Block(nn.Module):
    expansion = 1

    def __init__(self, inplanes, planes, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = None
        if stride != 1 or inplanes != planes:
            self.downsample = nn.Sequential(nn.Conv2d(inplanes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(True), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2, 1, ceil_mode=True))
        self.layers = nn.Sequential(*[Block(8 if i == 0 else 16, 16, 2 if i == 0 else 1) for i in range(2)])
        self.branches = nn.ModuleList([nn.Conv2d(16, 8, 1), nn.Conv2d(16, 8, 3, padding=1, groups=2)])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(16, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, (nn.BatchNorm2d, nn.GroupNorm) if hasattr(nn, "GroupNorm") else nn.BatchNorm2d):
                nn.init.constant_(m.weight, 1)
                nn.init.constant_(m.bias, 0)

    def forward(self, x):
        x = self.layers(self.stem(x))
        x = torch.cat([branch(x) for branch in self.branches], dim=1)
        return self.fc(torch.flatten(self.avgpool(x), 1))
"""

TRAINING = """
import torch
import torch.nn as nn
import torch.optim as optim


def train(net, images, labels, epochs=3):
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)
    losses = []
    net.train()
    for epoch in range(epochs):
        for i in range(0, len(images), 8):
            inputs, targets = images[i:i + 8], labels[i:i + 8]
            optimizer.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
    net.eval()
    with torch.no_grad():
        outputs = net(images)
        _, predicted = torch.max(outputs.data, 1)
        correct = (predicted == labels).sum().item()
        probabilities = torch.softmax(outputs, dim=1)
    return losses, correct, probabilities
"""


def run(source, module):
    """The names that a program defines when run with `module` in the place of torch."""
    names = {}
    exec(compile(source.replace("torch", module), "<program>", "exec"), names)
    return names


def program(source, module, weights, images, labels):
    """(losses, correct answers, probabilities, weights before and after) of training the program's Net."""
    package = __import__(module)
    net = run(source, module)["Net"]()
    if weights is not None:
        net.load_state_dict({name: package.as_tensor(value.copy()) for name, value in weights.items()})
    start = {name: np.array(value.detach().numpy()) for name, value in net.state_dict().items()}
    losses, correct, probabilities = run(TRAINING, module)["train"](net, package.as_tensor(images), package.as_tensor(labels))
    return losses, correct, np.asarray(probabilities.numpy()), start, {name: np.asarray(value.detach().numpy()) for name, value in net.state_dict().items()}


def draw():
    rng = np.random.default_rng(0)
    return rng.standard_normal((20, 1, 28, 28)).astype(np.float32), rng.integers(0, 10, 20)


@pytest.mark.parametrize("source", [PLAIN, RESIDUAL], ids=["plain", "residual"])
def test_a_pytorch_program_runs_when_its_import_is_changed(source):
    """Kills: a missing name, a renamed argument, another default."""
    tinycnn.manual_seed(0)
    losses, correct, probabilities, *_ = program(source, "tinycnn", None, *draw())
    assert losses[-1] < losses[0] and 0 <= correct <= 20
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("source", [PLAIN, RESIDUAL], ids=["plain", "residual"])
def test_and_gives_the_numbers_of_pytorch(source):
    """Nine steps of training from the same weights. Kills: another epsilon, momentum, reduction, weight decay, running variance."""
    images, labels = draw()
    ours = program(source, "tinycnn", None, images, labels)
    theirs = program(source, "torch", ours[3], images, labels)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=2e-4)  # float32, nine steps of amplification
    np.testing.assert_allclose(ours[2], theirs[2], rtol=5e-3, atol=2e-4)
    assert ours[4].keys() == theirs[4].keys()
    for name, value in theirs[4].items():
        np.testing.assert_allclose(ours[4][name], value, rtol=5e-3, atol=2e-4, err_msg=name)
