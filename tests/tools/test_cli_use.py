"""The other commands: evaluate, predict, summary, models, recipes, info, and how `tinycnn` fails."""
import json
import subprocess
import sys

import click
import numpy as np
import pytest
from cli_runs import TEST, failure
from PIL import Image

import tinycnn
from tinycnn import cli, models
from tinycnn.cli import main
from tinycnn.cli.predict import _bar
from tinycnn.data import DataLoader, open_dataset
from tinycnn.train import checkpoint
from tinycnn.train.build import make_transform, trained_model
from tinycnn.train.evaluate import probabilities

COMMANDS = ("train", "evaluate", "predict", "summary", "models", "recipes", "info", "explain-algo", "gradcheck", "museum")


pytestmark = pytest.mark.usefixtures("reference_kernels")


def said(capsys, *arguments):
    main(list(arguments))
    return capsys.readouterr().out


def test_help_explains_every_command(capsys):
    """Kills: a command that is not there, an option without a word about it."""
    assert all(f"  {name} " in said(capsys, "--help") for name in COMMANDS)
    for name in COMMANDS:
        assert f"Usage: tinycnn {name}" in said(capsys, name, "--help")
        for option in cli.cli.commands[name].params:
            assert isinstance(option, click.Argument) or option.help, f"{name} {option.name}"
    assert "tinycnn train --resume runs/lenet5-1" in said(capsys, "train", "--help")
    assert tinycnn.__version__ in said(capsys, "--version")


def test_help_imports_nothing_heavy():
    """Kills: an import at the top that makes `tinycnn --help` slow."""
    heavy = "numba", "matplotlib", "PIL", "safetensors", "tqdm", "tinycnn.models", "tinycnn.data"
    code = f"import sys, tinycnn.cli; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_evaluate(capsys, finished_run):
    """Kills: another accuracy than training found, an ensemble that is not the average, crops that are not made."""
    result = json.loads(said(capsys, "evaluate", str(finished_run / "last.safetensors"), str(finished_run), "--json", "--batch-size", "7"))
    last = json.loads((finished_run / "metrics.jsonl").read_text().splitlines()[-1])
    assert (result["images"], result["crops"]) == (TEST, 1)
    first = result["results"][0]
    assert (first["top1"], first["top5"], first["model"]) == (last["test_accuracy"], last["test_top5"], "lenet5")
    assert first["loss"] == pytest.approx(last["test_loss"], rel=1e-5)
    assert result["results"][1]["checkpoint"].endswith("best.safetensors")
    assert result["results"][2]["checkpoint"] == "ensemble of 2"
    table = said(capsys, "evaluate", str(finished_run), "--ten-crop")
    assert "ten crops each" in table and "best.safetensors" in table
    cropped = json.loads(said(capsys, "evaluate", str(finished_run / "last.safetensors"), "--ten-crop", "--json"))
    assert cropped["crops"] == 10
    assert cropped["results"][0]["loss"] != pytest.approx(first["loss"], rel=1e-3)
    train = json.loads(said(capsys, "evaluate", str(finished_run), "--json", "--split", "train"))
    assert train["images"] == 60


def test_ten_crops_are_ten_views(finished_run, digits):
    """Kills: the centre ten times, crops as large as the image, no mirror images."""
    pixels, _ = open_dataset(digits, "test")[0]
    config = checkpoint.load(finished_run).config
    config["model_options"]["image_size"] = 16
    views = make_transform(config, ten_crop=True)(pixels)
    assert views.shape == (10, 16, 16, 1)
    assert len({view.tobytes() for view in views}) == 10
    np.testing.assert_array_equal(views[9], views[4][:, ::-1])


def test_an_ensemble_of_opposites(capsys, tmp_path, finished_run, digits):
    """Kills: an ensemble of the last network only."""
    other = tmp_path / "other"
    main(["train", "--data", digits, "--out", str(other), "-q", "--epochs", "1", "--batch-size", "60", "--seed", "3", "-o", "width=0.5"])
    capsys.readouterr()
    names = str(other), str(finished_run)
    losses = [row["loss"] for row in json.loads(said(capsys, "evaluate", *names, "--json"))["results"]]
    swapped = [row["loss"] for row in json.loads(said(capsys, "evaluate", *names[::-1], "--json"))["results"]]
    assert losses[:2] == swapped[1::-1]
    assert losses[2] == pytest.approx(swapped[2], rel=1e-6)
    assert min(losses[:2]) != losses[2] < max(losses[:2])


def test_predict_a_test_image(capsys, finished_run, digits):
    """Kills: another image than the one asked for, classes in ascending order, probabilities that are not the network's."""
    _, label = open_dataset(digits, "test")[3]
    text = said(capsys, "predict", "3", "-c", str(finished_run))
    assert text.startswith(f"3: the data says {label}\n")
    assert text.count("%") == 5
    result = json.loads(said(capsys, "predict", "3", "-c", str(finished_run), "--top", "10", "--json"))
    shares = [entry["probability"] for entry in result["top"]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    loaded = checkpoint.load(finished_run)
    p, labels = probabilities(trained_model(loaded), DataLoader(open_dataset(digits, "test"), 4, transform=make_transform(loaded.config)))
    assert int(label) == labels[3]
    assert {entry["label"]: entry["probability"] for entry in result["top"]} == pytest.approx(dict(enumerate(p[3].tolist())), rel=1e-4)


def test_predict_a_file(capsys, tmp_path, finished_run, digits):
    """Kills: colours that are not turned grey, an image that is not brought to size, inversion the wrong way round."""
    pixels, _ = open_dataset(digits, "test")[5]
    expected = json.loads(said(capsys, "predict", "5", "-c", str(finished_run), "--json"))["top"]
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    Image.fromarray(np.repeat(pixels, 3, axis=2)).save(tmp_path / "colour.png")
    Image.fromarray(255 - pixels[..., 0]).save(tmp_path / "negative.png")
    Image.fromarray(pixels[..., 0]).resize((16, 16), Image.Resampling.NEAREST).save(tmp_path / "large.png")
    for name, options in (("grey", []), ("colour", []), ("negative", ["--invert"])):
        assert json.loads(said(capsys, "predict", str(tmp_path / f"{name}.png"), "-c", str(finished_run), "--json", *options))["top"] == expected
    assert json.loads(said(capsys, "predict", str(tmp_path / "large.png"), "-c", str(finished_run), "--json"))["truth"] is None
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    assert "broken.jpg" in failure(capsys, ["predict", str(tmp_path / "broken.jpg"), "-c", str(finished_run)], 1)
    assert "no image file 'cat.jpg'" in failure(capsys, ["predict", "cat.jpg", "-c", str(finished_run)], 1)
    assert "there is no test image 20" in failure(capsys, ["predict", "20", "-c", str(finished_run)], 1)


def test_a_picture_on_white_gets_a_hint(capsys, tmp_path, finished_run):
    """Kills: the hint where the ground is dark, where the colours are inverted already, or among the JSON."""
    picture = np.full((40, 30), 250, np.uint8)
    picture[10:30, 10:20] = 0
    for name, pixels in (("white", picture), ("black", 255 - picture)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    for name, options, hint in (("white", [], True), ("white", ["--json"], True), ("white", ["--invert"], False), ("black", [], False)):
        main(["predict", str(tmp_path / f"{name}.png"), "-c", str(finished_run), *options])
        output = capsys.readouterr()
        assert ("try --invert" in output.err) == hint and "hint" not in output.out


def test_bars():
    """Kills: bars longer than 100%, eighths that jump."""
    assert (_bar(0.0), _bar(1.0), _bar(0.5)) == ("", "█" * 30, "█" * 15)
    assert _bar(1 / 240) == "▏" and _bar(7 / 240) == "▉" and _bar(9 / 240) == "█▏"


def test_evaluate_what_does_not_fit(capsys, tmp_path, finished_run):
    """Kills: accuracy of a network on data with other classes."""
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.new("RGB", (8, 8), (i, i, i)).save(tmp_path / name / f"{i}.png")
    assert "a network for 10 classes" in failure(capsys, ["evaluate", str(finished_run), "--data", str(tmp_path)], 1)
    assert "no such checkpoint" in failure(capsys, ["evaluate", "missing.safetensors"], 1)
    assert "not a checkpoint" in failure(capsys, ["evaluate", str(finished_run / "config.json")], 1)


def test_summary(capsys):
    """Kills: totals that are not the layers', options that do not reach the network, auxiliary classifiers always or never."""
    result = json.loads(said(capsys, "summary", "lenet5", "--json"))
    assert (result["params"], result["macs"]) == (61_706, 416_520)
    assert sum(layer["params"] for layer in result["layers"]) == 61_706
    assert "61,706" in said(capsys, "summary", "lenet5")
    options = "--num-classes 7 --in-channels 1 --image-size 16 --width 0.5 -o shortcut=B --json".split()
    small = json.loads(said(capsys, "summary", "resnet20", *options))
    assert small["input_size"] == [1, 16, 16]
    assert small["layers"][-1]["output_shape"] == [7]
    counts = [json.loads(said(capsys, "summary", "googlenet", "--width", "0.1", "--json", *training))["macs"] for training in ([], ["--training"])]
    assert counts[0] < counts[1]


def test_no_weights_are_drawn_that_nobody_uses(capsys, finished_run):
    """A summary needs none, a trained network brings its own. Kills: millions of random numbers drawn before a checkpoint takes their place."""
    before = tinycnn.random.get_rng_state()
    said(capsys, "summary", "resnet20")
    said(capsys, "evaluate", str(finished_run))
    said(capsys, "predict", "3", "-c", str(finished_run))
    assert tinycnn.random.get_rng_state() == before
    model = models.lenet5()
    assert tinycnn.random.get_rng_state() != before and model.features[0].weight.detach().numpy().any()  # and afterwards they are drawn as ever


def test_lists(capsys):
    """Kills: a network or a recipe that nobody can find."""
    listed = said(capsys, "models")
    assert all(line.split()[0] == name for line, name in zip(listed.splitlines(), models.names(), strict=True))
    assert "\n    shortcut='A'\n" in said(capsys, "models", "resnet20") and "unknown model 'resnet21'" in failure(capsys, ["models", "resnet21"], 2)
    recipes = said(capsys, "recipes")
    assert "\nresnet_cifar " in recipes
    assert "MultiStepLR(milestones=(32000, 48000), gamma=0.1) every step" in said(capsys, "recipes", "resnet_cifar")


def test_info(capsys):
    """Kills: facts that are missing, JSON that is none."""
    facts = json.loads(said(capsys, "info", "--json"))
    assert {"tinycnn", "python", "libraries", "processor", "threads", "threading_layer", "devices", "kernel_cache"} <= facts.keys()
    assert facts["libraries"]["numpy"] == np.__version__
    assert f"tinycnn           {tinycnn.__version__}\n" in said(capsys, "info")


def test_lists_of_commands_are_whole_sentences():
    """Kills: a line of `tinycnn --help` that ends in the middle of a sentence in a terminal of 80 columns; commands by alphabet, train among the last."""
    def groups(group):
        return [group, *(inner for command in group.commands.values() if isinstance(command, click.Group) for inner in groups(command))]
    for group in groups(cli.cli):
        room = 80 - 2 - 6 - max(map(len, group.commands))
        for command in group.commands.values():
            assert command.get_short_help_str(room) == command.get_short_help_str(1000), command.name
    assert cli.cli.list_commands(None)[:3] == ["train", "evaluate", "predict"]


def test_errors_are_one_message(capsys, monkeypatch):
    """Kills: a traceback for wrong input, a bug that is hidden, the wrong exit status, notes of the engine lost."""
    assert "no command 'trian'; did you mean 'train'?" in failure(capsys, ["trian"], 2)
    assert "no command 'chek'; did you mean 'check'?" in failure(capsys, ["cuda", "chek"], 2)

    def raises(error):
        monkeypatch.setattr(cli.cli.commands["info"], "callback", lambda **_: (_ for _ in ()).throw(error))

    wrong = ValueError("x is 3, it should be 4")
    wrong.add_note("in the forward of Conv2d")
    raises(wrong)
    assert failure(capsys, ["info"], 1) == "error: x is 3, it should be 4\n  in the forward of Conv2d\n"
    for debug in (["--debug", "info"], ["info", "--debug"]):
        with pytest.raises(ValueError, match="x is 3"):
            main(debug)
    monkeypatch.setenv("TINYCNN_DEBUG", "1")
    with pytest.raises(ValueError, match="x is 3"):
        main(["info"])
    monkeypatch.delenv("TINYCNN_DEBUG")
    raises(FileNotFoundError(2, "No such file or directory", "here.py"))
    assert failure(capsys, ["info"], 1) == "error: here.py: No such file or directory\n"
    raises(KeyError("a bug"))
    with pytest.raises(KeyError):
        main(["info"])
    raises(KeyboardInterrupt("stopped in epoch 2"))
    assert "stopped in epoch 2" in failure(capsys, ["info"], 130)
