"""Checkpoint files: what goes in comes out, damage is named, and a full disk harms nothing."""
import json
import resource

import numpy as np
import pytest

import tinycnn
from tinycnn import nn, optim
from tinycnn.train import CheckpointError, checkpoint
from tinycnn.train.files import replacing

CONFIG = {"model": "tiny", "classes": ["a", "b"]}


@pytest.fixture(autouse=True)
def reference_kernels():
    with tinycnn.use_kernels("reference"):
        yield


def make(optimizer=optim.Adam, **options):
    """A model with parameters, buffers and a 0-dimensional entry, and an optimiser that has made a step."""
    tinycnn.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    trained = optimizer(model.parameters(), lr=0.1, **options)
    model(tinycnn.randn(4, 2, 5, 5)).sum().backward()
    trained.step()
    return model, trained


@pytest.mark.parametrize(("optimizer", "options"), [(optim.SGD, {"momentum": 0.9}), (optim.SGD, {}), (optim.Adam, {"amsgrad": True}),
                                                    (optim.RMSprop, {"centered": True})])
def test_round_trip(tmp_path, optimizer, options):
    """Kills: an entry left out or under another's name, numbers through decimal digits, integers turned into floats, views written in the order of their memory."""
    model, trained = make(optimizer, **options)
    model[0].weight.array = model[0].weight.array.copy(order="F")  # strides are not what is saved
    state = {"seconds": 0.1 + 0.2, "rng": tinycnn.get_rng_state()}
    checkpoint.save(tmp_path / "c.safetensors", CONFIG, model, trained, state, average=model)
    loaded = checkpoint.load(tmp_path / "c.safetensors")
    assert (loaded.config, loaded.state) == (CONFIG, state)
    for values in (loaded.model, loaded.average):
        assert values.keys() == model.state_dict().keys()
        for name, tensor in model.state_dict().items():
            assert values[name].dtype == tensor.dtype
            np.testing.assert_array_equal(values[name].array, tensor.array)
    expected = trained.state_dict()
    assert loaded.optimizer["param_groups"] == json.loads(json.dumps(expected["param_groups"]))
    assert loaded.optimizer["state"].keys() == expected["state"].keys()
    for index, entries in expected["state"].items():
        assert loaded.optimizer["state"][index].keys() == entries.keys()
        for name, value in entries.items():
            np.testing.assert_array_equal(np.asarray(getattr(loaded.optimizer["state"][index][name], "array", loaded.optimizer["state"][index][name])),
                                          np.asarray(getattr(value, "array", value)))


def test_a_network_alone(tmp_path):
    """Kills: a state made up for a file that has none; load_state_dict of half a network."""
    model, _ = make()
    checkpoint.save(tmp_path / "best.safetensors", CONFIG, model)
    loaded = checkpoint.load(tmp_path)
    assert loaded.path.name == "best.safetensors"
    assert (loaded.optimizer, loaded.state, loaded.average) == (None, None, {})
    other, _ = make()
    other[0].weight.array[...] = 0
    checkpoint.restore(other, loaded)
    np.testing.assert_array_equal(other[0].weight.array, model[0].weight.array)


def test_weights_in_a_file_of_their_own(tmp_path):
    """Kills: a buffer or a single number left out or in another shape; half a file, or anything but tensors, taken for weights."""
    model, trained = make()
    tinycnn.save(model.state_dict(), tmp_path / "net.safetensors")
    found = tinycnn.load(tmp_path / "net.safetensors")
    for name, tensor in model.state_dict().items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape and (found[name].numpy() == tensor.detach().numpy()).all(), name
    other = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    other.load_state_dict(found)
    for wrong, message in ((model, "such as net.state_dict.*Sequential"), (trained.state_dict(), "'state' is dict")):
        with pytest.raises(TypeError, match=message):
            tinycnn.save(wrong, tmp_path / "wrong.safetensors")
    with pytest.raises(FileNotFoundError, match="no file '.*nowhere'"):
        tinycnn.load(tmp_path / "nowhere")
    content = (tmp_path / "net.safetensors").read_bytes()
    (tmp_path / "half").write_bytes(content[:len(content) // 2])
    with pytest.raises(CheckpointError, match="cut in half"):
        tinycnn.load(tmp_path / "half")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["half", "net.safetensors"]


def test_which_file_of_a_run(tmp_path):
    """Kills: last before best; a folder taken for a file."""
    model, trained = make()
    with pytest.raises(FileNotFoundError, match="no checkpoint in this folder"):
        checkpoint.load(tmp_path)
    checkpoint.save(tmp_path / "last.safetensors", CONFIG, model, trained, {})
    assert checkpoint.locate(tmp_path).name == "last.safetensors"
    checkpoint.save(tmp_path / "best.safetensors", CONFIG, model)
    assert checkpoint.locate(tmp_path).name == "best.safetensors"
    with pytest.raises(FileNotFoundError, match="nowhere: no such checkpoint"):
        checkpoint.locate(tmp_path / "nowhere")


def test_cut_in_half_at_every_length(tmp_path):
    """Kills: an error of the library without the file's name, zeros for what is missing."""
    model, _ = make()
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, CONFIG, model)
    whole = path.read_bytes()
    for length in (9, 60, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=f"c.safetensors: this checkpoint is cut in half or damaged; the file has {length} bytes"):
            checkpoint.load(path)
    for content in (b"", b"short", b"PK\x03\x04 a zip file, as PyTorch writes", b"\x89PNG\r\n\x1a\n" + bytes(100)):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=f"c.safetensors: not a checkpoint: .* {len(content)} bytes"):
            checkpoint.load(path)


def test_of_another_program(tmp_path):
    """Kills: a safetensors file of somebody else's taken for an empty network."""
    from safetensors.numpy import save_file
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="not a checkpoint of tinycnn: its header says format None"):
        checkpoint.load(tmp_path / "other.safetensors")


def test_of_another_network(tmp_path):
    """Kills: a list that stops at the first difference; weights half replaced."""
    model, _ = make()
    checkpoint.save(tmp_path / "c.safetensors", CONFIG, model)
    other = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(3), nn.Linear(2, 2))
    before = other[1].weight.array.copy()
    other[1].weight.array[...] += 1
    with pytest.raises(CheckpointError) as caught:
        checkpoint.restore(other, checkpoint.load(tmp_path / "c.safetensors"))
    for part in ("c.safetensors: a checkpoint of another network", "missing: 2.weight", "missing: 2.bias", "unexpected: 0.bias", "shape of 0.weight: (3, 2, 3, 3)"):
        assert part in str(caught.value)
    np.testing.assert_array_equal(other[1].weight.array, before + 1)
    deep = nn.Sequential(*[nn.Linear(1, 1) for _ in range(50)])
    with pytest.raises(CheckpointError, match="and 8[0-9] more"):
        checkpoint.restore(deep, checkpoint.load(tmp_path / "c.safetensors"))


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
    """A real error of the system in the middle of a real file (a limit on the size of files stands for the disk). Kills: writing in place, a part left over,
    an error that does not say which file."""
    model, _ = make()
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, CONFIG, model)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(OSError, match=r"c.safetensors: could not be written: .*\(the file that was there before is untouched\)"):
            checkpoint.save(path, CONFIG, model)
        with pytest.raises(OSError, match=r"new.safetensors: could not be written: .*\(nothing was left behind\)"):
            checkpoint.save(tmp_path / "new.safetensors", CONFIG, model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["c.safetensors"]


def test_replacing_changes_a_file_at_once(tmp_path):
    """Kills: the new content visible before it is whole; permissions that shut others out; an exception of the writer swallowed."""
    path, seen = tmp_path / "file.txt", []
    with replacing(path) as part:
        part.write_text("one")
        seen.append(path.exists())
    with pytest.raises(KeyError), replacing(path) as part:
        part.write_text("two")
        seen.append(path.read_text())
        raise KeyError("stop")
    assert seen == [False, "one"]
    assert path.read_text() == "one"
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]
    plain = tmp_path / "plain"
    plain.touch()
    model, _ = make()
    checkpoint.save(tmp_path / "c.safetensors", CONFIG, model)
    assert (tmp_path / "c.safetensors").stat().st_mode == plain.stat().st_mode
    with pytest.raises(OSError, match="missing/file.txt: could not be written"), replacing(tmp_path / "missing" / "file.txt"):
        pass
