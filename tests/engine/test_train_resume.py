"""A run that stops at any moment goes on as if it had not: the same bits in every weight, the same metrics."""
import math
import os
import signal

import numpy as np
import pytest
from tiny_run import BATCHES, EPOCHS, make_trainer, timeless

import tinycnn
from tinycnn import nn
from tinycnn.train import Interrupted, checkpoint, trainer
from tinycnn.train.progress import Progress


@pytest.fixture(autouse=True)
def reference_kernels():
    with tinycnn.use_kernels("reference"):
        yield


class Killed(BaseException):
    """The program dies: nothing in it may catch this."""


class DiesAfter(Progress):
    """Kills the run after a number of steps, or sends it a signal."""

    def __init__(self, steps, signal_number=None):
        super().__init__(quiet=True)
        self.steps, self.signal_number = steps, signal_number

    def step(self, run, images):
        super().step(run, images)
        if run.step == self.steps:
            if self.signal_number is None:
                raise Killed
            os.kill(os.getpid(), self.signal_number)


class DiesInTest(Progress):
    """Ctrl-C while testing after the second epoch."""

    def begin_test(self, run):
        tick = super().begin_test(run)

        def tick_and_interrupt(images):
            tick(images)
            if run.epoch == 1:
                os.kill(os.getpid(), signal.SIGINT)
        return tick_and_interrupt


def outcome(run):
    """All that a run leaves: every array of its last and its best checkpoint, the rest of its state, its metrics."""
    last, best = checkpoint.load(run.folder / "last.safetensors"), checkpoint.load(run.folder / "best.safetensors")
    arrays = {f"model.{name}": tensor.array for name, tensor in last.model.items()} | {f"best.{name}": tensor.array for name, tensor in best.model.items()}
    arrays |= {f"average.{name}": tensor.array for name, tensor in last.average.items()}
    for index, entries in last.optimizer["state"].items():
        arrays |= {f"{index}.{name}": np.asarray(getattr(value, "array", value)) for name, value in entries.items()}
    plain = {name: value for name, value in last.state.items() if name not in ("seconds", "metrics_length")}
    return arrays, (plain, last.optimizer["param_groups"]), timeless(run.log.read())


def assert_same(first, second):
    arrays, plain, lines = outcome(first)
    other_arrays, other_plain, other_lines = outcome(second)
    assert arrays.keys() == other_arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, other_arrays[name], err_msg=name)
    assert plain == other_plain
    assert lines == other_lines


def resumed(folder, **options):
    run = make_trainer(folder, **options)
    run.resume(checkpoint.load(folder / "last.safetensors"))
    return run


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    with tinycnn.use_kernels("reference"):
        run = make_trainer(tmp_path_factory.mktemp("runs") / "whole")
        run.run()
    return run


def test_the_same_run_twice_is_the_same_run(uninterrupted, tmp_path):
    """Kills: a seed that is not used, an order of images or a crop that depends on the moment, a checkpoint with times in its weights."""
    again = make_trainer(tmp_path / "again")
    again.model.eval()  # somebody looked at it before
    again.run()
    assert_same(uninterrupted, again)
    lines = again.log.read()
    assert [line["step"] for line in lines if line["kind"] == "step"] == list(range(2, EPOCHS * BATCHES + 1, 2))
    assert [line["epoch"] for line in lines if line["kind"] == "epoch"] == [1, 2, 3]


def test_schedules_by_step_by_epoch_and_by_score(tmp_path):
    """The learning rates of the log by the formulas. Kills: a schedule that is not stepped, or at the wrong time, or without the score; the rate of the next step
    in the line of this one."""
    run = make_trainer(tmp_path / "run", lr=0.02, epochs=5, log_every=1)
    run.run()
    factor, best = 1.0, 0.0
    for line in run.log.read():
        epochs_done = line["epoch"] - 1
        cosine = (1 + math.cos(math.pi * (line["step"] - 1) / (2 * EPOCHS * BATCHES))) / 2
        assert line["lr"] == pytest.approx(0.02 * cosine * 0.5 ** (epochs_done // 2) * factor, rel=1e-9)
        if line["kind"] == "epoch" and line["test_accuracy"] > best:
            best = line["test_accuracy"]
        elif line["kind"] == "epoch":
            factor /= 2
    assert 0.5**5 < factor < 1  # both happened


def test_the_best_epoch_is_the_first_of_equals(tmp_path, monkeypatch):
    """Kills: the last of equals as the best."""
    written = []
    monkeypatch.setattr(trainer, "save", lambda path, *_: written.append(path.name))
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    run = make_trainer(tmp_path / "run", model=model, lr=0.0, checkpoint_every=1000)
    run.run()
    assert written == ["best.safetensors"] + ["last.safetensors"] * EPOCHS


def test_workers_change_nothing(uninterrupted, tmp_path):
    """Kills: random numbers drawn in the order in which threads happen to run."""
    threaded = make_trainer(tmp_path / "threaded", workers=2)
    threaded.run()
    assert_same(uninterrupted, threaded)


@pytest.mark.parametrize("steps", [1, BATCHES - 1, BATCHES, BATCHES + 2, EPOCHS * BATCHES])
def test_killed_and_resumed(uninterrupted, tmp_path, steps):
    """Kills: momentum, learning rate, schedule, dropout's call count, batch statistics, running accuracy, the average of the weights, the best accuracy or the
    place in the epoch missing from the checkpoint; metrics written twice."""
    folder = tmp_path / "killed"
    with pytest.raises(Killed):
        make_trainer(folder, progress=DiesAfter(steps), checkpoint_every=2).run()
    saved = (folder / "last.safetensors").exists()
    assert saved == (steps > 1)
    run = resumed(folder) if saved else make_trainer(folder)
    assert 0 < steps - run.step <= 2
    run.run()
    assert_same(uninterrupted, run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_says_how_to_go_on(uninterrupted, tmp_path, number):
    """Kills: a step half done in the checkpoint, a handler that stays installed, work lost between the last checkpoint and the signal."""
    before = signal.getsignal(number)
    stopped = make_trainer(tmp_path / "stopped", progress=DiesAfter(6, number), checkpoint_every=1000)
    with pytest.raises(Interrupted, match=r"epoch 2 after batch 2 of 4.*\n.*tinycnn train --resume .*stopped"):
        stopped.run()
    assert signal.getsignal(number) is before
    run = resumed(tmp_path / "stopped", checkpoint_every=1000)
    assert run.step == 6
    run.run()
    assert_same(uninterrupted, run)


def test_ctrl_c_while_testing(uninterrupted, tmp_path):
    """Kills: an epoch trained twice, or never tested, after a stop between its training and its line."""
    with pytest.raises(Interrupted, match="epoch 2 after batch 4 of 4"):
        make_trainer(tmp_path / "stopped", progress=DiesInTest(quiet=True)).run()
    run = resumed(tmp_path / "stopped")
    assert (run.epoch, run.batch) == (1, BATCHES)
    run.run()
    assert_same(uninterrupted, run)


def test_killed_while_saving_leaves_the_last_checkpoint_whole(uninterrupted, tmp_path, monkeypatch):
    """Kills: writing in place; tripping over what the dead left lying about."""
    save_file, saves = checkpoint.save_file, []

    def dies_half_way(arrays, path, header):
        saves.append(path)
        if len(saves) < 7:
            return save_file(arrays, path, header)
        path.write_bytes(b"half a file")
        monkeypatch.setattr(type(path), "unlink", lambda *_, **__: None)  # the dead do not tidy up
        raise Killed
    monkeypatch.setattr(checkpoint, "save_file", dies_half_way)
    with pytest.raises(Killed):
        make_trainer(tmp_path / "killed").run()
    monkeypatch.undo()
    assert any(path.suffix == ".part" for path in (tmp_path / "killed").iterdir())
    run = resumed(tmp_path / "killed")
    assert run.step == 4
    run.run()
    assert_same(uninterrupted, run)
    assert not any(path.suffix == ".part" for path in run.folder.iterdir())


def test_adam_counts_its_steps_on(tmp_path):
    """Kills: Adam's step count lost, or turned into a tensor, between checkpoint and resume."""
    whole = make_trainer(tmp_path / "whole", optimizer="Adam", lr=0.01)
    whole.run()
    with pytest.raises(Killed):
        make_trainer(tmp_path / "killed", optimizer="Adam", lr=0.01, progress=DiesAfter(7)).run()
    run = resumed(tmp_path / "killed", optimizer="Adam", lr=0.01)
    run.run()
    assert_same(whole, run)


def test_a_finished_run_resumes_to_its_score(uninterrupted):
    """Kills: training on after the last epoch, cutting the metrics of a run that is done."""
    lines = uninterrupted.log.read()
    run = resumed(uninterrupted.folder)
    score = run.run()
    assert run.log.read() == lines
    assert score.top1 == lines[-1]["test_accuracy"]
    assert run.best == max(line["test_accuracy"] for line in lines if line["kind"] == "epoch")


def test_the_loop_learns(tmp_path):
    """Kills: a step in the wrong direction, gradients that pile up from step to step, labels of another batch."""
    run = make_trainer(tmp_path / "run", lr=0.02, epochs=12)
    run.schedule.schedulers = []
    before = run.test()
    run.run()
    lines = [line for line in run.log.read() if line["kind"] == "epoch"]
    assert before.top1 < 0.7
    assert lines[-1]["train_accuracy"] > 0.85
    assert lines[-1]["test_accuracy"] > 0.9
