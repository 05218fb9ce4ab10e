"""The claims that train networks: that they run, stop nowhere, and judge by what they found. What the networks learn is not asserted, save where theory says it."""
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tinycnn import models, nn
from tinycnn.data import open_dataset
from tinycnn.lecture import ablations, degradation, ensemble, fc7, gradients, runner, two_gpus, two_processes
from tinycnn.lecture.claim import DID_NOT_HOLD, HELD, IN_PART, NOT_SHOWN, CannotRun, Place, Plan
from tinycnn.lecture.plots import save
from tinycnn.train import Interrupted


@pytest.fixture
def tiny(tmp_path, monkeypatch, digits):
    """tiny(claim, change): rows of the claim's quick cells for two seeds on a few tiny images, each cell shortened by change(cell)."""
    def rows(claim, change):
        cells = [{**cell, **change} for cell in claim.cells(Plan("quick", digits, seeds=2))]
        monkeypatch.setattr(claim, "cells", lambda plan: cells)
        found = runner.run(claim, Plan(), tmp_path / "claim", runner.Bars(quiet=True))
        assert [path.name for path in (tmp_path / "claim").iterdir()] == ["results.jsonl"]
        assert runner.run(claim, Plan(), tmp_path / "claim", runner.Bars(quiet=True)) == found
        answer = claim.report(found)
        assert len({len(answer.header), *map(len, answer.table)}) == 1 and answer.verdict in (HELD, IN_PART, NOT_SHOWN, DID_NOT_HOLD) and answer.words
        save(tmp_path / "plot.png", lambda figure: claim.draw(figure, found))
        return found
    return rows


def test_ablations(tiny, reference_kernels):
    """Kills: a part that is not switched off, or another one with it; curves of training images shown as those of test images."""
    built = []
    original = models.NETWORKS["alexnet"]

    def noted(num_classes=1000, in_channels=3, width=1.0, image_size=227, groups=2, lrn="paper", pool_size=3, activation="relu", dropout=0.5, init="paper"):
        built.append((lrn, pool_size, dropout, width))
        return original(num_classes, in_channels, width, image_size, groups, lrn, pool_size, activation, dropout, init)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.NETWORKS, "alexnet", noted)
        rows = tiny(ablations, {"epochs": 1, "width": 0.05})
    assert built == [("paper", 3, 0.5, 0.05), (None, 3, 0.5, 0.05), ("paper", 2, 0.5, 0.05), ("paper", 3, 0.0, 0.05), ("paper", 3, 0.5, 0.05)] * 2
    assert all(len(row["train_error"]) == len(row["test_error"]) == 1 for row in rows)
    assert ablations.RECIPE.train_transforms != ablations.RECIPE.test_transforms


def ablated(**errors):
    """Rows of seeds 0, 1, 2 with these test errors."""
    return [{"without": without.replace("_", " "), "seed": seed, "width": 1, "epochs": 1, "data": "bundled", "train_error": [0.0], "test_error": [error]}
            for without, found in errors.items() for seed, error in enumerate(found)]


def test_ablations_are_judged_by_their_results():
    """Kills: a difference of the wrong sign, noise read as an effect, seeds that are not compared pair by pair."""
    answer = ablations.report(ablated(nothing=[0.1, 0.2, 0.3], LRN=[0.15, 0.25, 0.35], overlapping_pools=[0.05, 0.15, 0.25], dropout=[0.2, 0.1, 0.31],
                                      augmentation=[0.1, 0.2, 0.3]))
    assert [row[-1] for row in answer.table] == ["", HELD, DID_NOT_HOLD, NOT_SHOWN, NOT_SHOWN] and answer.verdict == IN_PART
    assert "Without LRN the test error is higher: +5.0 ± 0.0 points" in answer.words and "Without overlapping pools the test error is lower" in answer.words


def test_ensemble(tiny, reference_kernels):
    """Jensen: the loss of the average is at most the average of the losses. Kills: logits averaged for probabilities, the same network seven times."""
    rows = tiny(ensemble, {"members": 3, "epochs": 1})
    for row in rows:
        assert len(row["error"]) == len(row["loss"]) == 3 and row["loss"][0] > row["loss"][1] > row["loss"][2]
    assert rows[0]["loss"] != rows[1]["loss"]


def test_degradation(tiny, reference_kernels):
    """Kills: a plain network where a residual one should be."""
    rows = tiny(degradation, {"epochs": 1, "image_size": 8, "width": 0.1})
    assert [(row["kind"], row["layers"]) for row in rows] == [("plain", 20), ("plain", 56), ("resnet", 20), ("resnet", 56)] * 2
    assert len({json.dumps(row["train_error"] + row["test_error"] + row["train_loss"]) for row in rows}) == len(rows)


@pytest.mark.parametrize("plain, residual, verdict", [
    ((0.1, 0.3), (0.1, 0.05), HELD), ((0.3, 0.1), (0.1, 0.05), IN_PART), ((0.1, 0.3), (0.1, 0.1), IN_PART), ((0.1, 0.1), (0.1, 0.1), NOT_SHOWN),
    ((0.3, 0.1), (0.1, 0.3), DID_NOT_HOLD)])
def test_degradation_is_judged_by_its_results(plain, residual, verdict):
    """Kills: deeper and shallower mixed up, a verdict from one of the two kinds."""
    rows = [{"kind": kind, "layers": layers, "seed": seed, "epochs": 1, "width": 1, "image_size": None, "recipe": "", "data": "bundled",
             "train_error": [0.9, error + seed / 100], "test_error": [0.9, error + seed / 100]}
            for kind, errors in (("plain", plain), ("resnet", residual)) for layers, error in zip((20, 56), errors) for seed in range(3)]
    assert degradation.report(rows).verdict == verdict


def test_gradients(tiny, reference_kernels):
    """At initialisation theory is on our side: Glorot's weights shrink a gradient in each layer of ReLUs. Kills: BatchNorm that stays, a
    layer left out, norms of another pass."""
    rows = tiny(gradients, {"steps": 1, "layers": 20, "batch": 8, "image_size": 8, "width": 0.2})
    for row in rows:
        assert len(row["before"]) == len(row["after"]) == 19
        if "Glorot" in row["network"]:
            assert gradients.ratio(row["before"]) < 0.02  # a factor of about sqrt(1/2) for each of 18 layers would be 0.002
    assert {row["network"] for row in rows} == set(gradients.NETWORKS)


def test_without_batch_norm():
    """Kills: a BatchNorm that is left, a convolution that goes with it."""
    network = models.build("resnet20")
    before = sum(isinstance(module, nn.Conv2d) for module in network.modules())
    gradients.remove_batch_norm(network)
    kinds = [type(module) for module in network.modules()]
    assert nn.BatchNorm2d not in kinds and kinds.count(nn.Conv2d) == before == 19


@pytest.mark.parametrize("first, state", [(1e-4, "vanishing"), (1.0, "healthy"), (1e4, "exploding"), (None, "exploding"), (0.0, "vanishing")])
def test_what_gradients_are_called(first, state):
    """Kills: vanishing and exploding mixed up; an overflow that counts as healthy, or a gradient of zero that divides by zero."""
    assert gradients.state([gradients.ratio([first, 2.0, 1.0])] * 2) == state


def test_fc7_is_judged_by_its_results():
    """Kills: a difference of the wrong sign, noise read as an effect."""
    errors = {"fc7": [0.2, 0.3, 0.25], "random": [0.4, 0.5, 0.45], "pixels": [0.1, 0.2, 0.15], "from scratch": [0.1, 0.4, 0.25]}
    answer = fc7.report([{"seed": seed, "images": [10], "width": 1, "epochs": 1, "data": "bundled", "known": ["a"], "known_error": 0.1,
                          **{way: [errors[way][seed]] for way in fc7.WAYS}} for seed in range(3)])
    assert answer.verdict == IN_PART and "random network's features the error is higher: +20.0 ± 0.0 points; with raw pixels the error is lower: -10.0" in answer.words
    assert "from scratch the error changes by" in answer.words


def test_fc7(tiny, monkeypatch, reference_kernels):
    """Kills: a way to describe images that is missing, classes in both halves."""
    monkeypatch.setattr(fc7, "SCRATCH_STEPS", 1)
    monkeypatch.setattr(fc7, "LINEAR_STEPS", 3)
    rows = tiny(fc7, {"epochs": 1, "images": [2, 3], "width": 0.02})
    for row in rows:
        assert all(len(row[way]) == 2 and all(0 <= error <= 1 for error in row[way]) for way in fc7.WAYS)
        assert len(row["known"]) == 2
    assert rows[0]["known"] != rows[1]["known"] or rows[0]["pixels"] != rows[1]["pixels"]


def write_cifar(folder):
    """A few images of each class, in the binary version of CIFAR-10."""
    rng = np.random.default_rng(0)
    (folder / "batches.meta.txt").write_text("\n".join("abcdefghij"))
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        records = rng.integers(0, 256, (10, 3073), np.uint8)
        records[:, 0] = range(10)
        (folder / f"{name}.bin").write_bytes(records.tobytes())


def write_photographs(folder):
    """A few images of each class, in files and of different sizes."""
    for i in range(20):
        (folder / "abcd"[i % 4]).mkdir(exist_ok=True)
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (60 + i, 70, 3), np.uint8)).save(folder / "abcd"[i % 4] / f"{i}.png")


@pytest.mark.parametrize("write, classes", [(write_cifar, 10), (write_photographs, 4)])
@pytest.mark.parametrize("claim, change", [(fc7, {"epochs": 1, "images": [1], "width": 0.01}), (gradients, {"steps": 1, "layers": 20, "batch": 4, "image_size": 8})])
def test_other_data(tmp_path, monkeypatch, reference_kernels, write, classes, claim, change):
    """The two claims that do not leave all of their data to `tinycnn train`. Kills: an image's third channel left out, images needed in one array."""
    monkeypatch.setattr(fc7, "SCRATCH_STEPS", 1)
    monkeypatch.setattr(fc7, "LINEAR_STEPS", 3)
    (tmp_path / "data").mkdir()
    write(tmp_path / "data")
    cell = {**claim.cells(Plan("quick", str(tmp_path / "data")))[0], **change}
    row = claim.compute(cell, Place(tmp_path / "cell", runner.Bars(quiet=True)))
    assert len(row["known"]) == classes // 2 if claim is fc7 else len(row["before"]) == 19


@pytest.mark.parametrize("killed", [False, True])
def test_fc7_is_stopped_in_its_second_training(tmp_path, monkeypatch, digits, reference_kernels, killed):
    """A cell with two training runs, ended in the second by Ctrl-C or from one moment to the next. Kills: random numbers that depend on what was computed before the
    stop, a first run that is trained again, results that differ."""
    monkeypatch.setattr(fc7, "SCRATCH_STEPS", 10)
    monkeypatch.setattr(fc7, "LINEAR_STEPS", 3)
    cell = {**fc7.cells(Plan("quick", digits))[0], "epochs": 2, "images": [2], "width": 0.02}

    class Ending(runner.Bars):
        steps = 0

        def step(self, trainer, images):
            super().step(trainer, images)
            self.steps += 1
            if self.steps == 6:
                if killed:
                    raise SystemExit
                trainer.stop.requested = True
    ending, going_on = Ending(quiet=True), Ending(quiet=True)
    with pytest.raises(SystemExit if killed else Interrupted):
        fc7.compute(cell, Place(tmp_path / "cell", ending))
    assert (tmp_path / "cell" / "2" / "config.json").exists()
    going_on.steps = 100
    stopped = fc7.compute(cell, Place(tmp_path / "cell", going_on))
    whole = Ending(quiet=True)
    whole.steps = 100
    assert stopped == fc7.compute(cell, Place(tmp_path / "whole", whole))
    assert whole.steps - going_on.steps == (ending.steps if not killed else 4)


def test_the_data_of_fc7(digits):
    """Kills: labels that are not numbered anew, images of other classes, an image twice among the few."""
    data = open_dataset(digits)
    part = fc7.OfClasses(data, np.array([3, 0, 1]))
    assert part.classes == ["3", "0", "1"] and len(part) == np.isin(data.labels, (3, 0, 1)).sum()
    assert [(part.images[part.labels == new] == data.images[data.labels == old]).all() for new, old in enumerate((3, 0, 1))] == [True] * 3
    images, labels = part.take(np.arange(len(part)))
    assert (images == part.images).all() and (labels == part.labels).all() and [label for _, label in part] == part.labels.tolist()
    few = fc7.take(part, 4, np.random.default_rng(0))
    assert np.bincount(few.labels).tolist() == [4, 4, 4] and len({image.tobytes() for image in few.images}) == 12
    again = fc7.repeated(few, steps=10, batch_size=5)
    assert len(again) == 48 and np.bincount(again.take(np.arange(48))[1]).tolist() == [16, 16, 16]


def test_a_linear_classifier(monkeypatch, reference_kernels):
    """On what lines can separate, and on noise. Kills: labels of the wrong images, the training error for the test error."""
    monkeypatch.setattr(fc7, "LINEAR_STEPS", 100)
    rng = np.random.default_rng(0)
    labels, labels_test = rng.integers(0, 3, 60), rng.integers(0, 3, 300)
    centres = 5 * np.eye(3, 4)
    assert fc7.linear_error(centres[labels] + rng.normal(size=(60, 4)), labels, centres[labels_test] + rng.normal(size=(300, 4)), labels_test) < 0.05
    assert fc7.linear_error(rng.normal(size=(60, 4)), labels, rng.normal(size=(300, 4)), labels_test) > 0.5


def test_two_gpus(tmp_path, monkeypatch):
    """Where there is no MPI. Kills: halves of the wrong axis, a backward that is not compared, a verdict that does not look, a claim that fails without MPI."""
    monkeypatch.setattr(two_processes, "find_mpirun", lambda: None)
    rows = runner.run(two_gpus, Plan(), tmp_path, runner.Bars(quiet=True))
    assert [(row["layer"], row["groups"], row["weights"]) for row in rows[::2]] == [("conv2", 2, 307_200), ("conv4", 2, 663_552), ("conv5", 2, 442_368)]
    for row in rows:
        for part in ("y", "dx", "dw", "db"):
            assert row[part]["error"] < 1e-5 and (row["numbers"] == "ordinary" or row[part]["differ"] == 0)
    answer = two_gpus.report(rows)
    assert answer.verdict == HELD and answer.second is None and "needs MPI: pip install 'tinycnn[mpi]'" in " ".join(answer.different)
    save(tmp_path / "plot.png", lambda figure: two_gpus.draw(figure, rows))
    assert two_gpus.report([{**rows[0], "dw": {**rows[0]["dw"], "differ": 1}}, *rows[1:]]).verdict == DID_NOT_HOLD
    assert two_gpus.compared(np.array([1.0, 2.0]), np.array([1.0, 4.0])) == {"numbers": 2, "differ": 1, "error": 0.5}


@pytest.mark.mpi
def test_two_gpus_in_two_processes(tmp_path, monkeypatch):
    """Where there is MPI. Kills: bytes of the batch told as those of an image, a difference or a message too many that the verdict does not see."""
    monkeypatch.setattr(two_gpus, "LAYERS", {})
    monkeypatch.setattr(two_processes, "CELLS", [{**cell, "width": width} for cell, width in zip(two_processes.CELLS, (1 / 8, 1 / 16))])
    single, double = runner.run(two_gpus, Plan(), tmp_path, runner.Bars(quiet=True))
    found = {line[0]: line[1:] for line in two_processes.table(single, double)}
    assert found["conv2"][:3] == ("own maps", "0", "0") and found["conv3"][:3] == ("all maps", f"{16 * 13 * 13 * 4:,}", f"{16 * 13 * 13 * 4:,}")
    assert found["fc7"][:3] == ("all maps", "1,024", "1,024") and found["softmax"][:3] == ("all logits", "2,000", "0")
    assert two_processes.judge(single, double)[0]
    changed = json.loads(json.dumps(double))
    changed["layers"][4]["gradient"] = 1e-6
    assert not two_processes.judge(single, changed)[0]
    single["layers"][1]["forward_sent"] = 4
    assert not two_processes.judge(single, double)[0]


def split_rows(monkeypatch, sent):
    """What the second half of the claim makes of an mpirun that gives this."""
    monkeypatch.setattr(two_processes, "find_mpirun", lambda: "mpirun")
    monkeypatch.setattr(two_processes, "mpirun", lambda *command, environment: sent)
    return [two_processes.compute(cell) for cell in two_processes.CELLS]


def test_an_mpi_that_does_not_work(monkeypatch):
    """Kills: a claim that fails where mpirun does; two results of a process each (mpirun of one MPI, mpi4py of another) taken for one of two."""
    for sent, why in ((SimpleNamespace(stdout="", stderr="no slots\n"), "no slots"), (SimpleNamespace(stdout='{"rows": 1}\n{"rows": 1}', stderr=""), "find each other")):
        with pytest.raises(CannotRun, match=why):
            split_rows(monkeypatch, sent)


def test_two_gpus_judges_both_halves(tmp_path, monkeypatch):
    """Kills: a verdict that forgets the two processes, a table or plot without them."""
    layers = [{"layer": name, "reads": "all maps", "forward_sent": sent, "backward_sent": sent, "output": 0.0, "gradient": 1e-15}
              for name, sent in (("conv1", 0), ("conv2", 0), ("conv3", 80), ("conv4", 0), ("conv5", 0), ("fc6", 6))]
    split = [{**cell, **result} for cell, result in zip(two_processes.CELLS, split_rows(monkeypatch, SimpleNamespace(stdout=json.dumps({"rows": layers}), stderr="")))]
    same = {"numbers": 4, "differ": 0, "error": 0.0}
    rows = [{"layer": "conv2", "numbers": "whole", "groups": 2, "y": same, "dx": same, "dw": same, "db": same}, *split]
    answer = two_gpus.report(rows)
    assert answer.verdict == HELD and answer.second[1][2][:4] == ("conv3", "all maps", "40", "40") and "sends 86 bytes" in answer.words
    assert two_gpus.report([rows[0], split[0], {**split[1], "layers": [{**layers[0], "gradient": 1e-6}]}]).verdict == DID_NOT_HOLD
    assert two_gpus.report([rows[0], {**split[0], "layers": layers[1:]}, split[1]]).verdict == DID_NOT_HOLD
    save(tmp_path / "plot.png", lambda figure: two_gpus.draw(figure, rows))


def test_the_plot_of_a_run_that_blew_up(tmp_path):
    """Curves of different lengths, and of none. Kills: a plot that fails after hours of training."""
    rows = [{"kind": kind, "layers": layers, "seed": seed, "epochs": 2, "width": 1, "image_size": None, "recipe": "", "data": "bundled",
             "train_error": errors, "test_error": errors}
            for kind in ("plain", "resnet") for layers in (20, 56) for seed, errors in enumerate(([0.5, 0.4], [0.6] * (layers == 20)))]
    save(tmp_path / "plot.png", lambda figure: degradation.draw(figure, rows))
    assert degradation.final(rows, "plain", 56, "test") == [0.4, 1.0] and math.isfinite(sum(degradation.final(rows, "resnet", 20, "train")))
