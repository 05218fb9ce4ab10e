"""Write the sets of the networks' convolutions, benchmarks/layers/NETWORK.json, from the networks themselves.

    python benchmarks/make_layers.py

The other sets in that folder are published ones: DeepBench's (Baidu Research) and those of convnet-benchmarks (Soumith Chintala). A test compares all with the networks.
"""
import json
from pathlib import Path

from tinycnn.bench.layers import of_network

NETWORKS = {
    "alexnet": "AlexNet as published: two towers",
    "alexnet_owt": "AlexNet in one tower (2014), the form that torchvision ships",
    "vgg16": "VGG-16 (configuration D)",
    "googlenet": "GoogLeNet as published, without the auxiliary classifiers",
    "googlenet_torchvision": "GoogLeNet in torchvision's form, without the auxiliary classifiers",
    "resnet50": "ResNet-50, strides in the 3x3 (the form that torchvision ships)",
}


def text(about, layers):
    """JSON with a line for each layer."""
    lines = ",\n  ".join(json.dumps(layer) for layer in layers)
    return f'{{\n "about": {json.dumps(about)},\n "layers": [\n  {lines}\n ]\n}}\n'


def main():
    for name, about in NETWORKS.items():
        (Path(__file__).parent / "layers" / f"{name}.json").write_text(text(f"{about}: the distinct convolutions, with how often each occurs", of_network(name)))


if __name__ == "__main__":
    main()
