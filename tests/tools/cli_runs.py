"""What the tests of the command line share: a small data set in MNIST's format, and calling `tinycnn`."""
import numpy as np
import pytest

from tinycnn.cli import main
from tinycnn.data import write_idx

TRAIN, TEST = 60, 20
QUICK = ["--epochs", "2", "--batch-size", "16", "-o", "width=0.5", "--lr", "0.02"]


def write_data(folder, size=8):
    """Noise, brighter in row number `label`."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for prefix, count in (("train", TRAIN), ("t10k", TEST)):
        labels = rng.integers(0, 4, count).astype(np.uint8)
        images = rng.integers(0, 60, (count, size, size)).astype(np.uint8)
        for image, label in zip(images, labels):
            image[2 * label:2 * label + 2] += 190
        write_idx(folder / f"{prefix}-images-idx3-ubyte", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels)
    return folder


def failure(capsys, arguments, code):
    """What `tinycnn` says to these arguments, which must end with this exit status and no traceback."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == code
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message
