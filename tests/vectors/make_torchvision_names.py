"""Writes torchvision_names.txt: what the state dicts of torchvision's networks hold, so that tests know without torchvision. Run it where torchvision imports."""
from pathlib import Path

import torch
from torchvision import models

NETWORKS = {"alexnet": models.AlexNet, "googlenet": lambda: models.GoogLeNet(init_weights=False)}
NETWORKS |= {name: getattr(models, name) for name in ("vgg11", "vgg13", "vgg16", "vgg19", "resnet18", "resnet34", "resnet50")}

lines = ["# Parameters and buffers of torchvision's networks, in order: name, then shape. Written by make_torchvision_names.py."]
with torch.device("meta"):
    for network, make in NETWORKS.items():
        lines.append(f"[{network}]")
        lines += [" ".join(map(str, (name, *tensor.shape))) for name, tensor in make().state_dict().items()]
Path(__file__).with_name("torchvision_names.txt").write_text("\n".join(lines) + "\n")
