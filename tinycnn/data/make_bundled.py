"""Cut the bundled data out of the full Fashion-MNIST: as many images of each class, chosen at random but always the same, in their original order.

    python -m tinycnn.data.make_bundled FOLDER          the folder with the four files of the full set (docs/data.md says where to get them)

Running it again gives the same bytes.
"""
import argparse
from pathlib import Path

import numpy as np

from .idx import write_idx
from .mnist import BUNDLED, FashionMNIST
from .streams import shuffled

SEED = 1998


def stratified(labels, per_class, seed):
    """Indices of `per_class` samples of every class, ascending."""
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < per_class:
            raise ValueError(f"class {label} has {len(members)} images, {per_class} are wanted")
        chosen.append(members[shuffled(len(members), (seed, label))[:per_class]])
    return np.sort(np.concatenate(chosen))


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tinycnn.data.make_bundled", description="Make the bundled subset of Fashion-MNIST from the full set.")
    parser.add_argument("source", help="folder with the four IDX files of Fashion-MNIST, gzipped or not")
    parser.add_argument("--output", default=BUNDLED, help="folder to write to (default: %(default)s)")
    parser.add_argument("--train-per-class", type=int, default=600, help="training images of each class (default: %(default)s)")
    parser.add_argument("--test-per-class", type=int, default=100, help="test images of each class (default: %(default)s)")
    options = parser.parse_args(arguments)
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    for train, prefix, per_class in ((True, "train", options.train_per_class), (False, "t10k", options.test_per_class)):
        full = FashionMNIST(options.source, train)
        images, labels = full.take(stratified(full.labels, per_class, SEED))
        write_idx(output / f"{prefix}-images-idx3-ubyte.gz", images[..., 0])
        write_idx(output / f"{prefix}-labels-idx1-ubyte.gz", labels.astype(np.uint8))
        print(f"{output}: {len(labels):,} of {len(full):,} {prefix} images")


if __name__ == "__main__":
    main()
