"""`tinycnn train`: what it leaves, that it can be repeated and resumed, and what it says to wrong input."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numba
import numpy as np
import pytest
from cli_runs import QUICK, TEST, TRAIN, failure
from cuda_device import needs_simulator

import tinycnn
from tinycnn.cli import main
from tinycnn.cli.train import key_value
from tinycnn.train import checkpoint, trainer


def weights(folder, file="last.safetensors"):
    return {name: tensor.array for name, tensor in checkpoint.load(folder / file).model.items()}


def assert_same_weights(first, second, file="last.safetensors"):
    ours, theirs = weights(first, file), weights(second, file)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


def test_a_run_leaves_everything(capsys, tmp_path, monkeypatch, digits, reference_kernels):
    """Kills: a file forgotten, an accuracy that is not that of the last epoch, runs that write into each other's folder."""
    monkeypatch.chdir(tmp_path)
    main(["train", "--data", digits, *QUICK])
    output = capsys.readouterr().out
    folder = tmp_path / "runs" / "lenet5-1"
    assert sorted(path.name for path in folder.iterdir()) == ["best.safetensors", "config.json", "curves.png", "last.safetensors", "metrics.jsonl"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if line["kind"] == "epoch"]
    assert [line["epoch"] for line in epochs] == [1, 2]
    assert epochs[-1]["step"] == 2 * -(-TRAIN // 16)
    assert f"test accuracy: {epochs[-1]['test_accuracy']:.2%}" in output
    assert "epoch 2/2" in output and f"{TRAIN} images to train on, {TEST} to test" in output
    assert {"test_loss", "train_loss", "train_accuracy", "test_top5", "lr", "seconds", "images_per_second"} <= epochs[0].keys()
    config = json.loads((folder / "config.json").read_text())
    assert (config["model"], config["epochs"], config["recipe"]["batch_size"], config["recipe"]["lr"]) == ("lenet5", 2, 16, 0.02)
    assert config["model_options"] == {"num_classes": 10, "in_channels": 1, "image_size": 8, "width": 0.5}
    main(["train", "--data", digits, *QUICK, "--quiet", "--epochs", "1"])
    assert (tmp_path / "runs" / "lenet5-2" / "best.safetensors").exists()
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one processor core only")
def test_same_seed_same_bits_on_one_thread_and_on_two(tmp_path, digits):
    """With the fast kernels. Kills: sums added in the order in which threads finish; a seed that is ignored."""
    threads = tinycnn.get_num_threads()
    try:
        for name, options in {"one": ["--threads", "1"], "two": ["--threads", "2"], "again": ["--threads", "2"], "other": ["--seed", "1"]}.items():
            main(["train", "--data", digits, "--out", str(tmp_path / name), "-q", *QUICK, "--epochs", "1", "--batch-size", "30", *options])
    finally:
        tinycnn.set_num_threads(threads)
    assert_same_weights(tmp_path / "one", tmp_path / "two")
    assert_same_weights(tmp_path / "two", tmp_path / "again")
    assert any((array != weights(tmp_path / "other")[name]).any() for name, array in weights(tmp_path / "one").items())


def test_killed_by_the_system_and_resumed(capsys, tmp_path, digits, finished_run, reference_kernels):
    """SIGKILL to a real process in the middle of things. Kills: a resume that starts anew, or from other settings."""
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "tinycnn.cli", "train", "--data", digits, "--out", str(folder), *QUICK, "--checkpoint-every", "1"]
    process = subprocess.Popen(command, env={**os.environ, "TINYCNN_KERNELS": "reference"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (folder / "last.safetensors").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    state = checkpoint.load(folder / "last.safetensors").state
    assert state["step"] >= 1
    main(["train", "--resume", str(folder)])
    assert f"resumed in epoch {state['epoch'] + 1} at batch {state['batch'] + 1}" in capsys.readouterr().out
    assert_same_weights(folder, finished_run)
    assert_same_weights(folder, finished_run, "best.safetensors")


def test_a_finished_run_says_so(capsys, finished_run, reference_kernels):
    """Kills: a newcomer who thinks that --resume has trained on."""
    main(["train", "--resume", str(finished_run)])
    assert "which is finished: all 2 epochs are done" in capsys.readouterr().out


def test_the_first_run_says_that_it_compiles(capsys, tmp_path, monkeypatch, digits, reference_kernels):
    """Kills: a first minute in which nothing seems to happen; the same words in every run."""
    monkeypatch.setenv("TINYCNN_CACHE", str(tmp_path / "none"))
    main(["train", "--data", digits, "--out", str(tmp_path / "first"), *QUICK])
    assert "first run: kernels are compiled" in capsys.readouterr().out
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "add.nbc").touch()
    main(["train", "--data", digits, "--out", str(tmp_path / "second"), *QUICK])
    assert "first run" not in capsys.readouterr().out


def test_options_are_values_of_json_or_python():
    """Kills: None as text, which no network takes."""
    assert key_value(None, None, ["a=None", "b=True", "c=false", "d=0.5", "e=he"]) == {"a": None, "b": True, "c": False, "d": 0.5, "e": "he"}


def test_killed_before_the_first_checkpoint(tmp_path, digits, finished_run, reference_kernels):
    """Kills: a run that cannot be resumed because it has not come far."""
    folder = tmp_path / "early"
    folder.mkdir()
    shutil.copy(finished_run / "config.json", folder)
    main(["train", "--resume", str(folder), "-q"])
    assert_same_weights(folder, finished_run)


@pytest.mark.parametrize(("arguments", "message"), [
    (["resnet21"], "unknown model 'resnet21'; did you mean 'resnet20'? (`tinycnn models` lists all"),
    (["--recipe", "quik"], "unknown recipe 'quik'; did you mean 'quick'? (`tinycnn recipes` lists all"),
    (["--optimizer", "Adm"], "unknown optimizer 'Adm'; did you mean 'Adam'? (SGD, Adam, AdamW, RMSprop)"),
    (["--epoch", "3"], "No such option"),
    (["--lr", "-1"], "-1"),
    (["-o", "dropout"], "'dropout' should be NAME=VALUE"),
])
def test_unknown_names(capsys, tmp_path, monkeypatch, arguments, message):
    """Kills: a traceback, a name without the nearest one, a folder made before the names were checked."""
    monkeypatch.chdir(tmp_path)
    assert message in failure(capsys, ["train", *arguments], 2)
    assert not list(tmp_path.iterdir())


def test_wrong_input(capsys, tmp_path, monkeypatch, digits, finished_run):
    """Kills: half a run left behind by an error, a run overwritten by another, settings of a run changed in its middle."""
    monkeypatch.chdir(tmp_path)
    assert "nowhere: no such folder" in failure(capsys, ["train", "--data", "nowhere"], 1)
    assert "lenet5 has no option 'pol'; did you mean 'pool'?" in failure(capsys, ["train", "--data", digits, "-o", "pol=avg"], 1)
    assert "optimizer Adam has no option 'momentum'" in failure(capsys, ["train", "--data", digits, "--optimizer", "Adam", "--momentum", "0.5"], 1)
    assert "pool is 'median'" in failure(capsys, ["train", "--data", digits, "-o", "pool=median"], 1)
    assert not any((tmp_path / "runs").iterdir()) if (tmp_path / "runs").exists() else True
    before = {path.name: path.read_bytes() for path in finished_run.iterdir()}
    assert "is not empty" in failure(capsys, ["train", "--data", digits, "--out", str(finished_run)], 1)
    assert "--lr, --epochs cannot be changed" in failure(capsys, ["train", "--resume", str(finished_run), "--lr", "1", "--epochs", "9"], 2)
    assert {path.name: path.read_bytes() for path in finished_run.iterdir()} == before
    assert "not the folder of a run" in failure(capsys, ["train", "--resume", str(tmp_path)], 1)


def test_resuming_what_does_not_fit(capsys, tmp_path, finished_run, digits, reference_kernels):
    """Kills: going on with another run's checkpoint, with other images, with half a file."""
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "seed": 1}))
    assert "belongs to another run" in failure(capsys, ["train", "--resume", str(folder)], 1)
    (folder / "config.json").write_text(json.dumps({**config, "images": {"train": 59, "test": TEST}}))
    assert "the train images have changed since the run began: 60 images" in failure(capsys, ["train", "--resume", str(folder)], 1)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "last.safetensors").write_bytes((folder / "last.safetensors").read_bytes()[:5000])
    assert "cut in half or damaged" in failure(capsys, ["train", "--resume", str(folder)], 1)


def test_a_learning_rate_that_blows_up(capsys, tmp_path, digits, reference_kernels):
    """Kills: training on with NaN, a message that does not say where and what to do."""
    message = failure(capsys, ["train", "--data", digits, "--out", str(tmp_path / "run"), *QUICK, "--lr", "1e30"], 1)
    assert "error: step " in message and "it first appears in the output of" in message and "a smaller learning rate (--lr 1e+29" in message


def test_a_network_with_auxiliary_classifiers_trains(tmp_path, digits, reference_kernels):
    """Kills: a tuple of outputs taken for logits, auxiliary classifiers without a gradient."""
    out = tmp_path / "run"
    main(["train", "googlenet", "--data", digits, "--out", str(out), "--epochs", "1", "--batch-size", "60", "--width", "0.05", "-q"])
    saved = checkpoint.load(out / "last.safetensors")
    assert saved.config["recipe"]["aux_weight"] == 0.3
    assert saved.config["model_options"] == {"num_classes": 10, "in_channels": 1, "image_size": 8, "init": "he", "width": 0.05}
    names = [name for name in saved.model if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    moved = [np.abs(entries["exp_avg"].array).max() > 0 for _, entries in sorted(saved.optimizer["state"].items())]
    assert len(moved) == len(names) and sum(name.startswith("aux") for name in names) == 12 and all(moved[-4:])


def test_checkpoints_within_an_epoch(tmp_path, monkeypatch, digits, reference_kernels):
    """Kills: --checkpoint-every forgotten."""
    written, save = [], trainer.save
    monkeypatch.setattr(trainer, "save", lambda path, *parts: (written.append(path.name), save(path, *parts)))
    main(["train", "--data", digits, "--out", str(tmp_path / "run"), "-q", *QUICK, "--checkpoint-every", "3"])
    assert written.count("last.safetensors") == 8 // 3 + 2


def test_the_run_may_be_resumed_from_elsewhere(tmp_path, monkeypatch, digits, reference_kernels):
    """Kills: a relative path of the data in the config."""
    monkeypatch.chdir(os.path.dirname(digits))
    main(["train", "--data", os.path.basename(digits), "--out", str(tmp_path / "run"), "-q", *QUICK, "--epochs", "1"])
    monkeypatch.chdir(tmp_path)
    main(["train", "--resume", "run", "-q"])


def test_recipes_and_options_reach_the_run(tmp_path, digits, reference_kernels):
    """Kills: an option that is read and forgotten."""
    out = tmp_path / "run"
    main(["train", "resnet20", "--data", digits, "--out", str(out), "--recipe", "resnet_cifar", "--epochs", "1", "--batch-size", "59", "--width", "0.2",
          "--image-size", "4", "--optimizer", "RMSprop", "--momentum", "0.5", "--label-smoothing", "0.1", "--no-augment", "-o", "shortcut=B", "--seed", "9", "-q"])
    config = json.loads((out / "config.json").read_text())
    recipe = config["recipe"]
    assert (recipe["name"], recipe["batch_size"], recipe["label_smoothing"], config["seed"]) == ("resnet_cifar", 59, 0.1, 9)
    assert (recipe["optimizer"], recipe["optimizer_options"], recipe["lr"]) == ("RMSprop", {"momentum": 0.5}, 0.01)
    assert recipe["train_transforms"] == recipe["test_transforms"]
    assert config["model_options"] == {"num_classes": 10, "in_channels": 1, "image_size": 4, "width": 0.2, "shortcut": "B"}
    saved = checkpoint.load(out / "last.safetensors")
    assert saved.state["step"] == 1  # the last batch would be a single image, which batch normalisation cannot use
    assert saved.optimizer["state"][0].keys() == {"step", "square_avg", "momentum_buffer"}


@needs_simulator
def test_a_run_on_the_simulated_device_is_the_run_of_the_cpu(capsys, tmp_path, digits, reference_kernels):
    """Weights, metrics and evaluation. Kills: a layer, a buffer or the optimiser's state left behind, a batch that comes too early, a checkpoint of another device."""
    for device in ("cpu", "cuda"):
        main(["train", "--data", digits, *QUICK, "--epochs", "1", "--batch-size", "30", "--device", device, "--out", str(tmp_path / device), "-q"])
    here, there = (weights(tmp_path / device) for device in ("cpu", "cuda"))
    assert here.keys() == there.keys() and all(isinstance(array, np.ndarray) for array in there.values())
    for name, array in here.items():
        np.testing.assert_allclose(there[name], array, rtol=0, atol=1e-5, err_msg=name)  # two steps of learning rate 0.02: rounding of float32 sums
    ours, theirs = (json.loads((tmp_path / device / "metrics.jsonl").read_text().splitlines()[-1]) for device in ("cpu", "cuda"))
    assert theirs["train_loss"] == pytest.approx(ours["train_loss"], rel=1e-5) and theirs["test_accuracy"] == ours["test_accuracy"]
    capsys.readouterr()
    main(["evaluate", str(tmp_path / "cuda"), "--device", "cuda", "--json"])
    assert json.loads(capsys.readouterr().out)["results"][0]["top1"] == theirs["test_accuracy"]
