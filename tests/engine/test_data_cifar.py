"""CIFAR-10 and -100, on small files made in the real formats: Python 2's pickles and the binary records."""
import pickle

import numpy as np
import pytest
from data_files import CIFAR10_NAMES, draw_cifar, python2_pickle, write_cifar10

from tinycnn.data import CIFAR10, CIFAR100
from tinycnn.data.cifar import load_pickle


@pytest.mark.parametrize("binary", [False, True], ids=["python", "binary"])
@pytest.mark.parametrize("inside", [False, True], ids=["around", "inside"])
def test_cifar10(tmp_path, binary, inside):
    """Kills: a batch left out or out of order, planes read as interleaved, rows and columns exchanged, labels shifted by a byte."""
    folder, train, test = write_cifar10(tmp_path, binary)
    for (planes, labels), dataset in ((train, CIFAR10(folder if inside else tmp_path)), (test, CIFAR10(folder if inside else tmp_path, train=False))):
        assert dataset.labels.tolist() == labels and dataset.classes == CIFAR10_NAMES and len(dataset) == len(labels)
        image, label = dataset[2]
        assert image.shape == (32, 32, 3) and image.dtype == np.uint8 and label == labels[2]
        assert all(image[h, w, c] == planes[2, c, h, w] for h, w, c in ((0, 0, 0), (3, 17, 1), (31, 5, 2)))
        np.testing.assert_array_equal(dataset.images.transpose(0, 3, 1, 2), planes)


@pytest.mark.parametrize("binary", [False, True], ids=["python", "binary"])
def test_cifar100_has_fine_labels(tmp_path, binary):
    """Kills: the coarse label read for the fine one, a record of the wrong length."""
    folder = tmp_path / ("cifar-100-binary" if binary else "cifar-100-python")
    folder.mkdir()
    names = [f"class_{i}" for i in range(100)]
    for name, n in (("train", 5), ("test", 4)):
        planes, coarse = draw_cifar(n, n)
        fine = [90 + i for i in range(n)]
        if binary:
            (folder / f"{name}.bin").write_bytes(b"".join(bytes(pair) + image.tobytes() for *pair, image in zip(coarse, fine, planes)))
        else:
            batch = {"filenames": ["a"] * n, "batch_label": name, "fine_labels": fine, "coarse_labels": coarse, "data": planes.reshape(n, 3072)}
            (folder / name).write_bytes(python2_pickle(batch))
    if binary:
        (folder / "fine_label_names.txt").write_text("\n".join(names))
    else:
        (folder / "meta").write_bytes(python2_pickle({"fine_label_names": names, "coarse_label_names": ["x"] * 20}))
    train, test = CIFAR100(tmp_path), CIFAR100(tmp_path, train=False)
    assert train.labels.tolist() == [90, 91, 92, 93, 94] and len(test) == 4 and train.classes == names
    np.testing.assert_array_equal(test.images.transpose(0, 3, 1, 2), draw_cifar(4, 4)[0])


def test_a_pickle_may_not_run_anything(tmp_path):
    """Kills: an ordinary pickle.load; a list of what is forbidden instead of what is allowed."""
    class Trap:
        def __reduce__(self):
            return open, (str(tmp_path / "was run"), "w")

    for trap in (Trap(), np.random.default_rng(0), {b"data": [Trap()]}):
        (tmp_path / "trap").write_bytes(pickle.dumps(trap, protocol=2))
        with pytest.raises(ValueError, match=r"trap: .*asks for .*not run"):
            load_pickle(tmp_path / "trap")
    assert not (tmp_path / "was run").exists()


def test_a_pickle_written_by_python_3_is_read(tmp_path):
    """Kills: only one of NumPy's two module names allowed."""
    images = np.arange(6, dtype=np.uint8).reshape(2, 3)
    (tmp_path / "new").write_bytes(pickle.dumps({b"data": images}, protocol=3))
    np.testing.assert_array_equal(load_pickle(tmp_path / "new")[b"data"], images)


def test_damaged_and_missing_files_are_named(tmp_path):
    """Kills: any of the checks left out; a message without the file."""
    binary, python = tmp_path / "b", tmp_path / "p"
    binary.mkdir(), python.mkdir()
    folder, _, _ = write_cifar10(binary, binary=True)
    batch = folder / "data_batch_3.bin"
    whole = batch.read_bytes()
    for content, message in ((whole[:-1], r"data_batch_3.bin: truncated .* 15,364 bytes .* records of 3073"), (b"", "data_batch_3.bin: truncated"),
                             (bytes([10]) + whole[1:], "has the label 10; with 10 classes")):
        batch.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            CIFAR10(binary)
    batch.unlink()
    with pytest.raises(FileNotFoundError, match=r"data_batch_3.bin: missing; there are batches.meta.txt, data_batch_1.bin"):
        CIFAR10(binary)

    folder, _, _ = write_cifar10(python, binary=False)
    batch = folder / "data_batch_2"
    whole, rows = batch.read_bytes(), np.zeros((2, 3072), np.uint8)
    for content, message in ((whole[:-1], "not a whole"), (whole[:2000], "not a whole"), (b"", "not a whole"), (b"hello", "not a whole"),
                             (python2_pickle([1, 2]), "list"), (python2_pickle(5), "it is int"),
                             (python2_pickle({"data": rows}), "b'labels'"), (python2_pickle({"data": rows, "labels": [1]}), "2 images but 1 labels"),
                             (python2_pickle({"data": rows[:, 1:], "labels": [1, 2]}), r"shape \(2, 3071\)"), (python2_pickle({"data": "x", "labels": [1, 2]}), "bytes"),
                             (python2_pickle({"data": rows, "labels": ["a", "b"]}), "list of integers")):
        batch.write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            CIFAR10(python)
        assert str(batch) in str(caught.value)
    batch.unlink()
    with pytest.raises(FileNotFoundError, match="data_batch_2: missing"):
        CIFAR10(python)
    with pytest.raises(FileNotFoundError, match=r"no CIFAR100 there: neither meta .* nor fine_label_names.txt"):
        CIFAR100(python)
