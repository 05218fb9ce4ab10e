"""Numbers of a run: averages over an epoch, and the log of them as JSON lines, which pandas, jq and spreadsheets read.

    {"kind": "step", "epoch": 1, "step": 50, "loss": 0.71, "lr": 0.1}
    {"kind": "epoch", "epoch": 1, "step": 94, "train_loss": 0.66, "train_accuracy": 0.75, "test_loss": 0.52, "test_accuracy": 0.81, "lr": 0.1, "seconds": 2.1, ...}

Epochs and steps count from 1 here, as people do. A line is written when it is known, and a checkpoint remembers how long the file was: to resume, the file is cut back
to that length, so that no line is there twice.
"""
import json
import math
import os
from pathlib import Path


class Average:
    """Loss and accuracy over the images seen so far. Its three numbers are all there is to save."""

    def __init__(self, images=0, loss=0.0, correct=0):
        self.images, self.loss, self.correct = images, loss, correct

    @classmethod
    def of_batch(cls, loss, logits, labels):
        """Of one batch: its mean loss, logits (N, classes) and labels (N,), tensors on one device."""
        return cls(len(labels), loss.item() * len(labels), int((logits.argmax(1) == labels).sum().item()))

    def add(self, other):
        """The images of another average as well."""
        self.images, self.loss, self.correct = self.images + other.images, self.loss + other.loss, self.correct + other.correct

    @property
    def mean_loss(self):
        return self.loss / max(self.images, 1)

    @property
    def accuracy(self):
        return self.correct / max(self.images, 1)


class Log:
    """A file of JSON lines that grows."""

    def __init__(self, path, length=0):
        """Continue the file `path` after its first `length` bytes: what follows was written after the checkpoint that says so, and goes. None: keep nothing."""
        self.path = None if path is None else Path(path)
        if path is not None and self.path.exists():
            os.truncate(self.path, min(length, self.path.stat().st_size))

    def write(self, **values):
        """Add a line. JSON has no NaN and no infinity: they become null."""
        if self.path is None:
            return
        known = {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()}
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(known, allow_nan=False) + "\n")
        except OSError as error:  # half a line may be there: it goes when the run resumes
            raise OSError(f"{self.path}: could not be written: {error.strerror}; what the last checkpoint knows of is whole") from error

    def length(self):
        """The length of the file, once all of it is on the disk."""
        if not self.path.exists():
            return 0
        with open(self.path, "rb") as file:
            os.fsync(file.fileno())
        return self.path.stat().st_size

    def read(self):
        """What was written, as a list of dicts."""
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()] if self.path.exists() else []
