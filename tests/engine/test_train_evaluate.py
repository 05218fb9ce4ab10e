"""Accuracy, averages of views and networks, the numbers of an epoch, the log."""
import json
import math
import resource

import numpy as np
import pytest
from tolerance import close

import tinycnn
from tinycnn import nn, tensor
from tinycnn.data import ArrayDataset, DataLoader
from tinycnn.data.transforms import Compose, TenCrop, ToFloat
from tinycnn.train.averaging import WeightAverage
from tinycnn.train.evaluate import ensemble, probabilities, score
from tinycnn.train.loss import ClassificationLoss
from tinycnn.train.metrics import Average, Log
from tinycnn.train.plot import plot_curves


@pytest.fixture(autouse=True)
def reference_kernels():
    with tinycnn.use_kernels("reference"):
        yield


def test_score_by_hand():
    """Kills: top-5 for top-1, six for five, a loss of the wrong class or in the wrong base."""
    p = np.array([[0.4, 0.2, 0.15, 0.1, 0.08, 0.07], [0.4, 0.2, 0.15, 0.1, 0.08, 0.07], [0.07, 0.08, 0.1, 0.15, 0.2, 0.4], [0.4, 0.2, 0.15, 0.1, 0.08, 0.07]], np.float32)
    result = score(p, np.array([0, 4, 0, 5]))
    assert (result.top1, result.top5) == (0.25, 0.5)
    close(result.loss, -math.log(0.4 * 0.08 * 0.07 * 0.07) / 4, dtype=np.float32)


def test_a_network_that_knows_nothing_scores_nothing():
    """Kills: ties that count as right (equal probabilities would give 100%), NaN that counts as right."""
    labels = np.arange(10)
    assert score(np.full((10, 10), 0.1, np.float32), labels)[:2] == (0.1, 0.5)
    assert score(np.full((10, 10), np.nan, np.float32), labels)[:2] == (0.0, 0.0)
    assert math.isfinite(score(np.eye(10, dtype=np.float32)[::-1], labels).loss)


def test_fewer_classes_than_five():
    """Kills: top-5 that needs five classes."""
    assert score(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]))[:2] == (0.5, 1.0)


def test_probabilities_are_those_of_evaluation(tmp_path):
    """Kills: dropout while testing, the mode of training left off, the last batch left out, images in another order than labels."""
    pixels = np.arange(7 * 16, dtype=np.uint8).reshape(7, 4, 4, 1)
    loader = DataLoader(ArrayDataset(pixels, np.arange(7) % 3, ["a", "b", "c"]), 3)
    tinycnn.manual_seed(0)
    model, seen = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 3)), []
    p, labels = probabilities(model, loader, seen.append)
    assert model.training
    assert seen == [3, 3, 1]
    assert labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    w, b = model[2].weight.array, model[2].bias.array
    logits = pixels.reshape(7, 16) / np.float32(255) @ w.T + b
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    close(p, expected, length=16)


def test_views_are_averaged_after_the_softmax():
    """Kills: averaged logits, views of different images mixed up."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 6, 6, 1)).astype(np.uint8)
    dataset = ArrayDataset(pixels, [0, 1, 0], ["a", "b"])
    tinycnn.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    model[1].weight.array *= 20
    crops = TenCrop(4)(pixels)
    expected = np.stack([probabilities(model, DataLoader(ArrayDataset(views, [0] * 10), 10, transform=ToFloat()))[0].mean(axis=0) for views in crops])
    p, _ = probabilities(model, DataLoader(dataset, 2, transform=Compose([TenCrop(4), ToFloat()])))
    close(p, expected, length=160)
    close(ensemble([p, np.zeros_like(p)]), p / 2, dtype=np.float32)


def test_average_of_an_epoch():
    """Kills: the mean of batch means, which gives a small last batch too much weight."""
    average = Average()
    average.add(Average.of_batch(tensor(1.0), tensor([[1.0, 0], [1, 0], [0, 1]]), tensor([0, 0, 0])))
    average.add(Average.of_batch(tensor(4.0), tensor([[0.0, 1]]), tensor([1])))
    assert (average.images, average.mean_loss, average.accuracy) == (4, 1.75, 0.75)
    assert vars(Average(**vars(average))) == vars(average)


def test_log_is_cut_to_its_length_and_has_no_nan(tmp_path):
    """Kills: a line written twice after a resume, lines that only Python's JSON reader takes."""
    log = Log(tmp_path / "metrics.jsonl")
    assert (log.read(), log.length()) == ([], 0)
    log.write(step=1, loss=0.1 + 0.2)
    length = log.length()
    log.write(step=2, loss=float("nan"))
    text = (tmp_path / "metrics.jsonl").read_text()
    assert [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()] == [{"step": 1, "loss": 0.1 + 0.2}, {"step": 2, "loss": None}]
    again = Log(tmp_path / "metrics.jsonl", length)
    again.write(step=2, loss=0.5)
    assert again.read() == [{"step": 1, "loss": 0.1 + 0.2}, {"step": 2, "loss": 0.5}]
    assert Log(tmp_path / "metrics.jsonl", 10**6).read() == again.read()


def test_a_full_disk_while_logging(tmp_path):
    """Kills: an error that does not name the file; half a line that stays after a resume."""
    log = Log(tmp_path / "metrics.jsonl")
    log.write(step=1, loss=1.0)
    length = log.length()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length + 5, hard))
    try:
        with pytest.raises(OSError, match=r"metrics.jsonl: could not be written: .*"):
            log.write(step=2, loss=2.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert Log(tmp_path / "metrics.jsonl", length).read() == [{"step": 1, "loss": 1.0}]


def test_plot(tmp_path):
    """Kills: a plot that needs a finished epoch, or a display."""
    epoch = {"kind": "epoch", "epoch": 1, "step": 4, "train_loss": 1.0, "train_accuracy": 0.5, "test_loss": None, "test_accuracy": 0.4}
    for lines in ([], [{"kind": "step", "step": 2, "loss": 1.0}], [epoch], [epoch, {**epoch, "epoch": 2, "step": 8, "test_loss": 0.5}]):
        plot_curves(lines, tmp_path / "curves.png", "a run")
        assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_auxiliary_classifiers_count_by_their_weight():
    """Kills: auxiliary losses that count fully or not at all, their logits taken for the network's."""
    tinycnn.manual_seed(0)
    logits, first, second = (tinycnn.randn(4, 3) for _ in range(3))
    labels = tinycnn.tensor([0, 2, 1, 1])
    plain = ClassificationLoss(label_smoothing=0.1)
    losses = [plain(x, labels)[0].item() for x in (logits, first, second)]
    loss, main = ClassificationLoss(label_smoothing=0.1, aux_weight=0.3)((logits, first, second), labels)
    assert main is logits
    close(loss.item(), losses[0] + 0.3 * (losses[1] + losses[2]), dtype=np.float32, length=3)
    assert losses[0] != ClassificationLoss()(logits, labels)[0].item()


def test_average_of_weights():
    """Kills: averaging from the start, a moving average, counters averaged, the trained network changed."""
    model = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm2d(1))
    average = WeightAverage(model, start=2)
    assert average.best_guess() is model
    for step in range(1, 6):
        model[0].weight.array[...] = step**2
        model[1].num_batches_tracked.array[...] = step
        average.update(step)
    np.testing.assert_array_equal(model[0].weight.array, [[25, 25]])
    close(average.best_guess()[0].weight.array, np.full((1, 2), (9 + 16 + 25) / 3, np.float32))
    assert average.best_guess()[1].num_batches_tracked.item() == 5
